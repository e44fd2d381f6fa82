//! Table files as hosts really have them (`collection/`, written for this; tabs, CRs, 8-bit, no last newline, hundreds of lists): each is
//! read as makemap and newaliases read it, whatever else stands in it (issue 3, must show 4). `golden/collection.txt` is theirs.

use crate::check::{Format, check_text};
use crate::{access, aliases::Aliases, class, forward};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use table::Words;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("collection")
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap()
}

fn golden(kind: &str) -> Vec<Vec<String>> {
    let text = include_str!("golden/collection.txt");
    let rows = text.lines().map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    rows.filter(|row| row[0] == kind).collect()
}

fn fnv(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[test]
fn maps_hold_what_makemap_puts_into_them() {
    for row in golden("map") {
        let text = file(&row[1]);
        let (mut found, mut told) = (BTreeMap::new(), Vec::new());
        for line in table::text::rows(&text) {
            match line {
                Ok(line) if !found.contains_key(&line.key.to_ascii_lowercase()) => {
                    found.insert(line.key.to_ascii_lowercase(), line.value);
                }
                Ok(line) => told.push(line.line.to_string()),
                Err(fault) => told.push(fault.line.to_string()),
            }
        }
        let mut rows: Vec<Vec<u8>> = found.iter().map(|(key, value)| [key, *value].join(&b'\t')).collect();
        rows.sort();
        let all: Vec<u8> = rows.iter().flat_map(|row| [row, &b"\n"[..]].concat()).collect();
        assert_eq!(
            (rows.len().to_string(), format!("{:016x}", fnv(&all))),
            (row[2].clone(), row[3].clone()),
            "{}",
            row[1]
        );
        let told = if told.is_empty() { "-".to_owned() } else { told.join(",") };
        assert_eq!(told, row[4], "{}", row[1]);
    }
}

#[test]
fn aliases_are_counted_as_newaliases_counts_them() {
    for row in golden("aliases") {
        let table = Aliases::read(&row[1], &file(&row[1]), None).unwrap();
        let counts = table.counts();
        let ours = [counts.aliases, counts.longest, counts.total].map(|n| n.to_string());
        // sendmail keeps the CRs of such a file in its values, counts them, and takes an empty line for an entry; here they end
        // lines. It counts the quotes of a name, and a name that is not UTF-8 as the bytes it was written in.
        let crlf = row[1].ends_with("crlf");
        let compared = match &row[1][..] {
            "aliases.crlf" => 1,
            "aliases.latin1" | "aliases.odd" => 2,
            _ => 3,
        };
        assert_eq!(ours[..compared], row[2..2 + compared], "{}", row[1]);
        let told: Vec<String> = table.problems().iter().map(|problem| problem.line.to_string()).collect();
        let told = if told.is_empty() { "-".to_owned() } else { told.join(",") };
        assert!(crlf || told == row[5], "{}: {told}", row[1]);
    }
}

fn format(name: &str) -> Option<Format> {
    Some(match name.split('.').next()? {
        "access" => Format::Access(access::Options { skip: true, ..access::Options::default() }),
        "virtusertable" => Format::VirtualUsers,
        "mailertable" => Format::Mailers,
        "genericstable" => Format::Generics,
        "domaintable" | "bitdomain" | "uudomain" => Format::Domains,
        "authinfo" => Format::AuthInfo,
        _ => return None,
    })
}

/// Nothing is told about stock files, and something about each mistake in the files of mistakes.
#[test]
fn what_the_checks_tell() {
    for name in [
        "access.debian",
        "access.redhat",
        "access.freebsd",
        "access.crlf",
        "access.tls",
        "access.utf8",
        "access.latin1",
    ] {
        let told = check_text(format(name).unwrap(), name, &file(name));
        // What is right and not built yet is told as well.
        let stock = |text: &str| text.contains("leading space") || text.contains(" yet");
        let faults = told.iter().filter(|problem| !stock(&problem.text)).count();
        assert_eq!(faults, 0, "{name}: {told:?}");
    }
    for name in ["access.mistakes", "virtusertable.mistakes", "mailertable.mistakes"] {
        let text = file(name);
        let mut told: Vec<u32> =
            check_text(format(name).unwrap(), name, &text).iter().map(|problem| problem.line).collect();
        told.dedup();
        // `discard:` is a mistake for sendmail only.
        let known = |line: &str| line.to_lowercase().contains("dup.example") || line.ends_with("discard:");
        let silent: Vec<String> = String::from_utf8_lossy(&text)
            .lines()
            .zip(1u32..)
            .filter(|(line, n)| !told.contains(n) && !known(line))
            .map(|(line, _)| line.to_owned())
            .collect();
        assert_eq!(silent, [""; 0], "{name}");
    }
}

#[test]
fn every_file_is_one_of_ours_and_is_read() {
    let mut count = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let text = file(&name);
        count += 1;
        match (format(&name), name.split('.').next().unwrap()) {
            (Some(format), _) => drop(check_text(format, &name, &text)),
            (None, "aliases") => drop(Aliases::read(&name, &text, None).unwrap()),
            (None, "forward" | "include") => {
                assert!(!forward::lines(&text).is_empty(), "{name}");
                drop(forward::check(&name, &text));
            }
            (
                None,
                "local-host-names" | "relay-domains" | "trusted-users" | "virtuser-domains" | "generics-domains",
            ) => {}
            (None, other) => panic!("{other}: what is that?"),
        }
    }
    assert!(count >= 50, "{count} files");
}

#[test]
fn lists_of_members_and_words() {
    let entries = |name: &str| forward::lines(&file(name)).iter().map(|line| line.entries.len()).collect::<Vec<_>>();
    assert_eq!(entries("include.members"), [1; 91]);
    assert_eq!(entries("forward.vacation"), [2]);
    assert_eq!(entries("forward.procmail"), [1]);
    assert_eq!(entries("forward.commented"), [1, 1]);
    assert_eq!(entries("forward.crlf"), [1, 1]);
    let words =
        |name: &str, which| class::read(&file(name), which).into_iter().map(|word| word.text).collect::<Vec<_>>();
    let all = ["localhost", "mail.example.org", "example.org", "www.example.org", "example.net", "example.com"];
    assert_eq!(words("local-host-names", Words::All), all);
    let first = ["localhost", "mail.example.org", "example.org", "example.com"];
    assert_eq!(words("local-host-names", Words::First), first);
    assert_eq!(words("relay-domains", Words::All).len(), 5);
    assert_eq!(words("trusted-users", Words::First).last().unwrap(), "www-data");
    assert_eq!((words("virtuser-domains", Words::All).len(), words("generics-domains", Words::All).len()), (169, 0));
}
