//! The arrows between the crates, judged against DESIGN §1: what a crate may link is what its process may reach.
//! Reads `cargo metadata`, so it also catches an arrow that nobody uses yet. Development dependencies count too:
//! a unit test of `mail` that needs the queue is in the wrong room.

use serde_json::Value;
use std::process::Command;

/// One row of the table: the crate, and what of ours it may use. `*` means everything.
const ALLOWED: &[(&str, &str)] = &[
    ("mail", ""),
    ("durable", ""),
    ("call", "mail"),
    // New with the sandbox (src/README.md): used by two roles, so in neither's crate.
    ("confine", ""),
    // Certificates, for both sides of SMTP: in neither's crate.
    ("tls", "mail"),
    ("table", "mail durable"),
    ("queue", "mail durable"),
    ("route", "mail table"),
    ("mailbox", "mail durable call confine"),
    ("receive", "mail table route queue call durable tls"),
    ("deliver", "mail route queue call durable tls"),
    ("control", "mail table queue route receive deliver call"),
    ("keeper", "call"),
    ("users", "call"),
    ("config", "mail durable call table queue route mailbox receive deliver control"),
    ("compat-command", "mail durable call"),
    ("compat-table", "mail table durable"),
    ("compat-import", "config compat-table queue"),
    ("daemon", "*"),
    ("testsuite", ""),
];

/// Crates of others that must not be found anywhere below a small program.
const FORBIDDEN_BELOW: &[(&str, &[&str])] = &[
    // The process that runs as root parses neither mail, nor network data, nor KDL, and has no runtime.
    ("keeper", &["tokio", "rustls", "hickory-resolver", "hickory-proto", "hickory-net", "nom", "kdl"]),
    ("users", &["tokio", "rustls", "hickory-resolver", "nom", "kdl"]),
    ("mailbox", &["tokio", "rustls", "hickory-resolver", "kdl"]),
    // `sendmail` is started for each message; a runtime would cost more than its work.
    ("compat-command", &["tokio", "rustls", "hickory-resolver", "kdl"]),
    ("mail", &["tokio", "rustix", "nix", "socket2"]),
];

fn cargo(arguments: &[&str]) -> Vec<u8> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let out = Command::new(cargo).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    assert!(out.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// `(from, to)` for each dependency of a workspace member on another one.
fn arrows() -> Vec<(String, String)> {
    let text = cargo(&["metadata", "--format-version", "1", "--no-deps", "--locked"]);
    let metadata: Value = serde_json::from_slice(&text).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let name = |v: &Value| v["name"].as_str().expect("a name").to_owned();
    let mut found: Vec<(String, String)> = Vec::new();
    for package in packages {
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            if !dependency["path"].is_null() {
                found.push((name(package), name(dependency)));
            }
        }
        found.push((name(package), String::new()));
    }
    found
}

#[test]
fn every_arrow_is_in_the_table() {
    let mut wrong = Vec::new();
    for (from, to) in arrows() {
        match ALLOWED.iter().find(|(name, _)| *name == from) {
            None => wrong.push(format!("crate {from} has no row in DESIGN §1's table")),
            Some((_, "*")) => {}
            Some((_, may)) if to.is_empty() || may.split(' ').any(|m| m == to) => {}
            Some((_, may)) => wrong.push(format!("{from} -> {to}: {from} may use only [{may}]")),
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "arrows DESIGN §1 does not allow:\n{}", wrong.join("\n"));
}

#[test]
fn small_programs_stay_small() {
    let mut wrong = Vec::new();
    for (package, forbidden) in FORBIDDEN_BELOW {
        let text = cargo(&["tree", "-p", package, "-e", "normal", "--prefix", "none", "--locked"]);
        for line in String::from_utf8_lossy(&text).lines() {
            let name = line.split(' ').next().unwrap_or_default();
            if forbidden.contains(&name) {
                wrong.push(format!("{package} links {line}"));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
