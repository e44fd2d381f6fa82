//! What sendmail.md 3.1 and 2.3 say about aliases files, one test for each trap.

use super::*;

const FILE: &str = "/etc/mail/aliases";

fn read(text: &str) -> Aliases {
    Aliases::read(FILE, text.as_bytes(), Some(&|domain: &str| domain == "this.example")).unwrap()
}

fn value(table: &Aliases, key: &str) -> Option<String> {
    table.find(key).map(|hit| hit.value)
}

fn told(table: &Aliases) -> Vec<String> {
    table.problems().iter().map(ToString::to_string).collect()
}

#[test]
fn entries_continuations_and_comments() {
    let table = read(concat!(
        "# comment\n",
        "list: alice,\n bob,\n\tcarol\n",
        "back: al\\\nice, b\\\n  ob\n",
        "number: alice # note\n",
        "\n",
        " stray continuation\n",
        "Blanks  :  x \n",
        "crlf: a,\r\n b\r\n",
        "last: y"
    ));
    assert_eq!(value(&table, "list").as_deref(), Some("alice\nbob\ncarol"));
    assert_eq!(value(&table, "back").as_deref(), Some("alice\nb.ob"));
    assert_eq!(value(&table, "number").as_deref(), Some("alice.#.note"));
    assert_eq!(value(&table, "blanks").as_deref(), Some("x"));
    assert_eq!(value(&table, "crlf").as_deref(), Some("a\nb"));
    assert_eq!(value(&table, "last").as_deref(), Some("y"));
    assert_eq!(told(&table), [format!("{FILE}: line 10: Non-continuation line starts with space")]);
}

#[test]
fn a_comment_or_an_empty_line_ends_an_entry() {
    let table = read("a: x,\n# not a member\n y\nb: x\n\n z\n");
    assert_eq!(value(&table, "a").as_deref(), Some("x"));
    assert_eq!(value(&table, "b").as_deref(), Some("x"));
    // The comment goes on in its next line, as in sendmail; what follows an empty line is told.
    assert_eq!(told(&table), [format!("{FILE}: line 6: Non-continuation line starts with space")]);
}

/// Files and what sendmail 8.17.1.9 said of them: the last line of an entry is named, stray lines once in a row.
#[test]
fn lines_in_messages_are_sendmails() {
    let stray = |line: u32| format!("line {line}: Non-continuation line starts with space");
    let duplicate = |line: u32| format!("line {line}: a... Warning: duplicate alias name a");
    for (text, expected, counts) in [
        ("a: x\n\n s1\n s2\n s3\nb: y\n", vec![stray(5)], "2 aliases, longest 1 bytes, 4 bytes total"),
        ("# c\n s1\nb: y\n", vec![], "1 aliases, longest 1 bytes, 2 bytes total"),
        ("a: x\n   \nb: y\n", vec![], "2 aliases, longest 4 bytes, 7 bytes total"),
        ("a: x\n\n   \nb: y\n", vec![stray(3)], "2 aliases, longest 1 bytes, 4 bytes total"),
        ("a: x\n s\n\n s\n\n s\n", vec![stray(4)], "1 aliases, longest 3 bytes, 4 bytes total"),
        (
            "a: x\n\n s\n# c\n\n s\nb: y\n\n s\n",
            vec![stray(3), stray(6), stray(9)],
            "2 aliases, longest 1 bytes, 4 bytes total",
        ),
        ("a: x\na: x,\n b,\n c\nd: e\n", vec![duplicate(4)], "3 aliases, longest 7 bytes, 12 bytes total"),
        ("a: b\\\nc: d\n e\na: q\n", vec![duplicate(4)], "2 aliases, longest 7 bytes, 10 bytes total"),
        ("x:\n y\nz: \n  \n  w\n", vec![], "2 aliases, longest 1 bytes, 4 bytes total"),
        ("a: x\\\n\n s\nb: y\n", vec![], "2 aliases, longest 3 bytes, 6 bytes total"),
    ] {
        let table = read(text);
        let expected: Vec<String> = expected.iter().map(|line| format!("{FILE}: {line}")).collect();
        assert_eq!(told(&table), expected, "{text:?}");
        assert_eq!(table.counts().to_string(), counts, "{text:?}");
    }
    assert_eq!(read("a: x,\n b\n").find("a").unwrap().why.line, 1);
}

#[test]
fn names() {
    let table = read(concat!(
        "PostMaster: root\n",
        "\"Quoted: User\": a\n",
        "dotted.user: b\n",
        "u@this.example: c\n",
        "Full Name <d>: e\n",
        "user+detail: f\n",
        "owner-list: g\n",
        "MAILER-DAEMON: postmaster\n",
    ));
    for (key, expected) in [
        ("postmaster", "root"),
        ("quoted: user", "a"),
        ("dotted.user", "b"),
        ("u", "c"),
        ("d", "e"),
        ("user+detail", "f"),
        ("owner-list", "g"),
        ("mailer-daemon", "postmaster"),
    ] {
        assert_eq!(value(&table, key).as_deref(), Some(expected), "{key}");
    }
    assert_eq!(told(&table), [""; 0]);
    // The caller folds.
    assert_eq!(value(&table, "PostMaster"), None);
}

#[test]
fn problems_read_as_newaliases_prints_them() {
    let table = read(concat!(
        "good: a\n",
        "# 2\n",
        "# 3\n",
        "good: b\n",
        "remote@elsewhere.com: x\n",
        "\n",
        "no colon here\n",
        "empty:\n",
        "blank:   \n",
        "\"unclosed: x\n",
        "a, b: x\n",
    ));
    assert_eq!(
        told(&table),
        [
            "/etc/mail/aliases: line 4: good... Warning: duplicate alias name good",
            "/etc/mail/aliases: line 5: remote@elsewhere.com... cannot alias non-local names",
            "/etc/mail/aliases: line 7: missing colon",
            "/etc/mail/aliases: line 8: empty:... missing value for alias",
            "/etc/mail/aliases: line 9: blank:   ... missing value for alias",
            "/etc/mail/aliases: line 10: \"unclosed: x... Unbalanced '\"'",
            "/etc/mail/aliases: line 11: a, b... Invalid route address",
            "/etc/mail/aliases: line 11: a, b... cannot alias non-local names",
        ]
    );
    let hit = table.find("good").unwrap();
    assert_eq!((hit.value.as_str(), hit.why.to_string().as_str()), ("b", "/etc/mail/aliases:4: good"));
    assert_eq!(table.warnings(), told(&table));
}

#[test]
fn names_at_other_hosts_never_answer_for_local_ones() {
    let table = Aliases::read(FILE, b"root@other.example: eve\n", None).unwrap();
    assert_eq!(value(&table, "root"), None);
    assert_eq!(value(&table, "root@other.example").as_deref(), Some("eve"));
}

#[test]
fn counts_as_newaliases() {
    let table = read("a: bob\nlist: alice,\n carol\n");
    assert_eq!(table.counts().to_string(), "2 aliases, longest 12 bytes, 20 bytes total");
    let all: Vec<String> = table.iter().map(|(key, value)| format!("{key}:{value}")).collect();
    assert_eq!(all, ["a:bob", "list:alice, carol"]);
}

#[test]
fn values_reach_the_engine_in_canonical_form() {
    let table = read("x: \"|/bin/p a\", \\x, /dev/null, :include:/l, bob (Bob)\n");
    let value = value(&table, "x").unwrap();
    assert_eq!(value, "|/bin/p a\n\\x\n/dev/null\n:include:/l\nbob");
    assert_eq!(table::alias_entries(&value).len(), 5);
}

#[test]
fn odd_bytes_and_hostile_files() {
    let table = Aliases::read(FILE, b"caf\xe9: bob\nnul\0: x\nok: a\xff\n", None).unwrap();
    assert_eq!(value(&table, "ok").as_deref(), Some("a\u{fffd}"));
    assert_eq!(
        told(&table),
        [
            "/etc/mail/aliases: line 2: nul\\x00... Illegal character in address",
            "/etc/mail/aliases: line 2: nul\\x00... cannot alias non-local names",
        ]
    );
    for piece in ["\"", "\\", ":", "a\n", " \n", "\\\n", "a:b\n", "#\\\n", "(:\n"] {
        let text = piece.repeat(100_000 / piece.len());
        let table = read(&text);
        assert!(table.problems().len() <= PROBLEMS);
        assert!(table.iter().count() <= 2, "{piece:?}");
    }
}

#[test]
fn many_aliases_stay_compact() {
    let text: String = (0..50_000).map(|n| format!("user{n}: box{n}\n")).collect();
    let table = read(&text);
    assert_eq!(value(&table, "user49999").as_deref(), Some("box49999"));
    assert_eq!(table.find("user777").unwrap().why.line, 778);
    assert!(size_of::<Alias>() <= 24);
}

/// `golden/`: what Debian 12's sendmail 8.17.1.9 said of the same file (`-bi`, `praliases`), run in a scratch folder with
/// `$j` = this.example.
#[test]
fn as_the_real_newaliases() {
    let text = include_bytes!("golden/oracle.aliases");
    let table = Aliases::read(FILE, text, Some(&|domain: &str| domain == "this.example")).unwrap();
    let (expected, counts) = include_str!("golden/newaliases.txt").trim_end().rsplit_once('\n').unwrap();
    assert_eq!(told(&table).join("\n"), expected);
    let mut entries: Vec<String> = table.iter().map(|(key, value)| format!("{key}:{value}")).collect();
    let mut praliases: Vec<String> = include_str!("golden/praliases.txt").lines().map(str::to_owned).collect();
    entries.sort();
    praliases.sort();
    assert_eq!(entries, praliases);
    assert_eq!(format!("{FILE}: {}", table.counts()), counts);
}

/// `sendmail -bi` and `praliases` 8.17.1.9 on the same names (in its `mx.test`, with the counts and words shown).
#[test]
fn names_as_sendmail_stores_them() {
    let text = concat!(
        "\"a,b\": bob\n\"a(b\": bob\n\"a\\\"b\": bob\n\"a b\"@this.example: bob\n\"A B\" : bob\na.b c: bob\n\"x<y\": bob\n",
        "\"\": bob\n\"a@b\": bob\n<ang>: bob\nFull Name <full>: bob\n(c) comm (d): x\na\\,b: bob\nq!u: bob\nu%h: bob\n",
        "x+*: bob\n\\bs: bob\n"
    );
    let table = read(text);
    let keys: Vec<String> = table.iter().map(|(key, _)| key).collect();
    let expected =
        ["\"a b\"", "\"a(b\"", "\"x<y\"", "\\bs", "a,b", "a.b.c", "a\\\"b", "a\\,b", "ang", "comm", "full", "x+*"];
    assert_eq!(keys, expected);
    let says = |line: u32, text: &str| format!("{FILE}: line {line}: {text}");
    let expected = [
        says(5, "\"A B\" ... Warning: duplicate alias name \"a b\""),
        says(8, "\"\"... User address required"),
        says(8, "\"\"... cannot alias non-local names"),
        says(9, "\"a@b\"... cannot alias non-local names"),
        says(14, "q!u... cannot alias non-local names"),
        says(15, "u%h... cannot alias non-local names"),
    ];
    assert_eq!(told(&table), expected);
    // The engine asks for users without quotes and backslashes.
    for user in ["a b", "a(b", "x<y", "a,b", "a\"b", "x+*"] {
        assert_eq!(value(&table, user).as_deref(), Some("bob"), "{user}");
    }
    assert_eq!(value(&table, "bs"), None);
}

#[test]
fn bytes_that_are_no_ascii_and_cr() {
    let table = read("caf\u{e0}: bob\nx: y\r\nl: a,\r\n b\r\n\r\nd: e \n");
    assert_eq!(value(&table, "caf\u{e0}").as_deref(), Some("bob"));
    assert_eq!(value(&table, "l").as_deref(), Some("a\nb"));
    assert_eq!(told(&table), [format!("{FILE}: line 5: missing colon")]);
    assert_eq!(table.counts().to_string(), "4 aliases, longest 6 bytes, 21 bytes total");
    let rows = Aliases::read(FILE, b"M\xfcller: J\xfcrgen\r\n", None).unwrap();
    let row = rows.row(b"m\xfcller").unwrap();
    assert_eq!((row.key, row.value.as_slice()), (&b"m\xfcller"[..], &b"J\xfcrgen\r"[..]));
}

mod forms {
    //! Text or compiled: which decides, and what comes out.
    use super::*;
    use crate::program::{AliasFile, Rebuild, newaliases};
    use std::fs::File;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    fn open(folder: &Path) -> Source {
        let file = |name| File::open(folder.join(name)).ok();
        Source { name: folder.join("a").to_string_lossy().into(), text: file("a"), compiled: file("a.db") }
    }

    fn ask(table: &Arc<dyn Table>, key: &str) -> Option<String> {
        let waker = std::task::Waker::noop();
        match table.look_up(key).as_mut().poll(&mut std::task::Context::from_waker(waker)) {
            std::task::Poll::Ready(Ok(hit)) => hit.map(|hit| format!("{}={}", hit.why.line, hit.value)),
            other => panic!("{other:?}"),
        }
    }

    fn build(folder: &Path) {
        let files = [AliasFile::File { path: folder.join("a"), optional: false }];
        let is_local = |domain: &str| domain == "this.example";
        let rebuild = Rebuild {
            files: &files,
            is_local: &is_local,
            group_writable: true,
            world_writable: true,
            distrust: &|_| None,
            check: false,
        };
        assert_eq!(newaliases(&rebuild, &mut Vec::new(), &mut Vec::new()), 0);
    }

    #[test]
    fn both_answer_alike() {
        let folder = tempfile::tempdir().unwrap();
        let text = "# c\nList: a,\n \\b, \"|cmd x\"\nm@this.example: x\ndup: 1\ndup: 2\n\"quoted user\": q\n";
        std::fs::write(folder.path().join("a"), text).unwrap();
        let is_local = |domain: &str| domain == "this.example";
        let from_text = load_for(open(folder.path()), Some(&is_local)).unwrap();
        build(folder.path());
        std::fs::remove_file(folder.path().join("a")).unwrap();
        let compiled = load(open(folder.path())).unwrap();
        for table in [&from_text, &compiled] {
            assert_eq!(ask(table, "list").as_deref(), Some("2=a\n\\b\n|cmd x"));
            assert_eq!(ask(table, "m").as_deref(), Some("4=x"));
            assert_eq!(ask(table, "dup").as_deref(), Some("6=2"));
            assert_eq!(ask(table, "quoted user").as_deref(), Some("7=q"));
            for none in ["@", "List", "m@this.example", "none"] {
                assert_eq!(ask(table, none), None, "{none}");
            }
        }
    }

    #[test]
    fn a_newer_text_decides() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "x: old\n").unwrap();
        build(folder.path());
        assert_eq!(ask(&load(open(folder.path())).unwrap(), "x").as_deref(), Some("1=old"));
        std::fs::write(folder.path().join("a"), "\nx: new\n").unwrap();
        let later = SystemTime::now() + Duration::from_secs(5);
        File::options().write(true).open(folder.path().join("a")).unwrap().set_modified(later).unwrap();
        assert_eq!(ask(&load(open(folder.path())).unwrap(), "x").as_deref(), Some("2=new"));
    }

    /// `golden/oracle.aliases` as `sendmail -bi` 8.17.1.9 made it (m4-made `.cf`, `Cwthis.example`): keys and values end in NUL.
    #[test]
    fn sendmails_own_database() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = include_bytes!("golden/aliases.db");
        std::fs::write(folder.path().join("a.db"), bytes).unwrap();
        std::thread::sleep(Duration::from_millis(40));
        let table = load(open(folder.path())).unwrap();
        assert_eq!(ask(&table, "back").as_deref(), Some("0=alice\nb.ob"));
        assert_eq!(ask(&table, "list").as_deref(), Some("0=alice\nbob\ncarol"));
        assert_eq!(ask(&table, "u").as_deref(), Some("0=c"));
        assert_eq!((ask(&table, "@"), ask(&table, "nosuch")), (None, None));
    }
}
