//! A whole session against its golden file. The lines were compared with those of sendmail 8.17.1 for the same tables: they are the same
//! but for the rules inside `canonify` and `parse`, which do not exist here.

use super::*;
use std::path::Path;

/// A configuration with tables, in a folder of its own.
fn session(folder: &Path) -> Session {
    let files = [
        ("aliases", "staff: daemon, games\nprog: \"|/bin/cat\"\n"),
        ("virtusertable", "info@v.example daemon\nx@v.example u@far.example\nno@v.example error:5.1.1:550 gone\n"),
        (
            "mailertable",
            "hub.example esmtp:[mail.hub.example]\ntwo.example smtp:a.example:b.example\nerr.example error:5.7.1:550 no\nloc.example local:daemon\n",
        ),
        ("access", "bad.example REJECT\n"),
        ("genericstable", "daemon d@g.example\n"),
        ("domaintable", "old.example new.example\n"),
        (
            "postrider.kdl",
            "host \"mx.test\"\nlocal-domains \"local.test\"\naliases \"@F@/aliases\"\nvirtual-users \"@F@/virtusertable\" { domains \"v.example\" }\n\
             mailers \"@F@/mailertable\"\naccess \"@F@/access\"\ndomains \"@F@/domaintable\"\n\
             generics \"@F@/genericstable\" { domains \"g.example\" }\nmasquerade { domains \"m.example\" }\nrelay-domains \"r.example\"\n\
             dns { servers \"127.0.0.1:9\" }\ntrust \"TrustStickyBit\"\n",
        ),
    ];
    for (name, text) in files {
        std::fs::write(folder.join(name), text.replace("@F@", &folder.to_string_lossy())).unwrap();
    }
    Session::new(Snapshot::read(&folder.join("postrider.kdl"), false).unwrap()).unwrap()
}

#[test]
fn a_session_as_administrators_know_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut out = Vec::new();
    session(folder.path()).serve(&mut &include_bytes!("golden/questions.txt")[..], &mut out).unwrap();
    let said = String::from_utf8(out).unwrap().replace(&*folder.path().to_string_lossy(), "@F@");
    assert_eq!(said, include_str!("golden/answers.txt"));
}

#[test]
fn class_w_has_the_hosts_own_names() {
    let folder = tempfile::tempdir().unwrap();
    let mut out = Vec::new();
    session(folder.path()).serve(&mut &b"$=w\n"[..], &mut out).unwrap();
    let said = String::from_utf8(out).unwrap();
    for name in ["local.test", "localhost", "mx", "mx.test", "[127.0.0.1]"] {
        assert!(said.lines().any(|line| line.trim_start_matches("> ") == name), "{name}: {said}");
    }
    assert!(said.ends_with("\n> "), "the end of input is the end");
}
