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

/// Every line counts: code, comments and blank ones. Tests are in files of their own, `*_test.rs`.
const KEEPER_LINES: usize = 800;

/// The process that stays root can be read in one sitting.
#[test]
fn the_keeper_is_small() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/keeper");
    let (mut lines, mut odd) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).expect("the keeper's folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match name.as_str() {
            "Cargo.toml" | "README.md" => {}
            _ if name.ends_with("_test.rs") => {}
            _ if name.ends_with(".rs") => {
                let text = std::fs::read_to_string(&path).expect("UTF-8");
                lines += text.lines().count();
                odd.extend(
                    text.lines().filter(|line| line.chars().count() > 120).map(|line| format!("{name}: long: {line}")),
                );
                // Nothing of it is somewhere else.
                odd.extend(text.lines().filter(|line| line.contains("include!")).map(|line| format!("{name}: {line}")));
                let mut paths = text.lines().filter(|line| line.contains("#[path"));
                odd.extend(paths.find(|line| !line.contains("_test.rs\"]")).map(|line| format!("{name}: {line}")));
            }
            _ => odd.push(format!("{name} is not expected here")),
        }
    }
    println!("the keeper has {lines} lines");
    assert!(lines < KEEPER_LINES && lines > 100, "{lines} lines");
    assert!(odd.is_empty(), "{}", odd.join("\n"));
}

/// Everything that the keeper's program links, by name: a new one is a decision.
#[test]
fn the_keeper_links_little() {
    const LINKED: &[&str] = &[
        "bitflags",
        "call",
        "cfg-if",
        "cobs",
        "crc32fast",
        "keeper",
        "libc",
        "linux-raw-sys",
        "memoffset",
        "nix",
        "postcard",
        "rustix",
        "serde",
        "serde_core",
        "thiserror",
    ];
    let text = cargo(&["tree", "-p", "keeper", "-e", "normal,no-proc-macro", "--prefix", "none", "--locked"]);
    let text = String::from_utf8_lossy(&text);
    let names = text.lines().map(|line| line.split(' ').next().unwrap_or_default());
    let mut more: Vec<&str> = names.filter(|name| !name.is_empty() && !LINKED.contains(name)).collect();
    more.sort_unstable();
    more.dedup();
    assert!(more.is_empty(), "{more:?}");
}
