//! The private host as sendmail.md §7 had it: name `mx.example.test`, users alice, bob and carol with their full names and some more, all
//! homes below /home (root's too: the machine's own /root is not private).

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

/// Name, uid and gecos of the users.
pub const USERS: &[(&str, u32, &str)] = &[
    ("alice", 2001, "Alice A. Liddell,Room 1,555"),
    ("bob", 2002, "Bob Q. & Public"),
    ("carol", 2003, ""),
    ("dave", 2004, "Dave"),
    ("erin", 2005, "Erin Müller"),
    ("frank", 2006, "Frank %x"),
    ("grace", 2007, "Grace (the) Hopper; x"),
    ("judy", 2010, "Judy \"J\" Doe"),
];
/// The host's name.
pub const NAME: &str = "mx.example.test";
/// Both servers' aliases.
pub const ALIASES: &str = "postmaster: alice\nmailer-daemon: postmaster\nmulti: alice, bob, carol\nboth: bob, far@away.example\nloop1: loop2\nloop2: loop1\nnobody-there: nosuch1\n";

/// Accounts, names, homes.
pub fn furnish() {
    let mut passwd = String::new();
    let mut group = fs::read_to_string("/etc/group").unwrap();
    for line in fs::read_to_string("/etc/passwd").unwrap().lines() {
        let name = line.split(':').next().unwrap_or_default();
        match name {
            "root" => passwd.push_str("root:x:0:0:root:/home/root:/bin/bash\n"),
            _ if USERS.iter().any(|(user, ..)| *user == name) => {}
            _ => drop(writeln!(passwd, "{line}")),
        }
    }
    let system = [("smmsp", 19_993), ("smmta", 19_994)].map(|(name, id)| (name, id, "", "/nonexistent".to_owned()));
    for (name, id, gecos, home) in
        USERS.iter().map(|(n, id, gecos)| (*n, *id, *gecos, format!("/home/{n}"))).chain(system)
    {
        let _ = writeln!(passwd, "{name}:x:{id}:{id}:{gecos}:{home}:/bin/sh");
        if !group.contains(&format!("\n{name}:")) {
            let _ = writeln!(group, "{name}:x:{id}:");
        }
    }
    fs::write("/etc/passwd", passwd).unwrap();
    fs::write("/etc/group", group).unwrap();
    fs::write("/etc/hosts", format!("127.0.0.1 localhost {NAME} mx\n")).unwrap();
    fs::write("/etc/mailname", format!("{NAME}\n")).unwrap();
    fs::write("/etc/aliases", ALIASES).unwrap();
    assert!(Command::new("hostname").arg(NAME).status().unwrap().success());
    homes("/home");
}

/// The homes below a folder, root's too.
pub fn homes(folder: &str) {
    for (name, id) in USERS.iter().map(|u| (u.0, u.1)).chain([("root", 0)]) {
        let home = format!("{folder}/{name}");
        fs::create_dir_all(&home).unwrap();
        chown(&home, Some(id), Some(id)).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Uid of a user.
pub fn uid(user: &str) -> u32 {
    USERS.iter().find(|u| u.0 == user).map_or(0, |u| u.1)
}
