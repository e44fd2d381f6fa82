//! What the real programs of 8.17.1.9 (Debian 12) said of the same commands, run in a scratch root where `/w` was the folder.
//! Standard error is marked `E: `. Known differences: a map is listed in the order of its text, not of its hashes; warnings come once.

use super::*;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

struct Room(TempDir);

impl Room {
    fn new() -> Self {
        let room = Self(tempfile::tempdir().unwrap());
        std::fs::set_permissions(room.0.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        room
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn put(&self, name: &str, text: &[u8]) {
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    /// Runs a command; `/w/` in it is the room. Returns what it said and its exit code.
    fn run(&self, command: &str, stdin: &[u8]) -> String {
        self.put("stdin", stdin);
        let input = File::open(self.path("stdin")).unwrap();
        let words: Vec<&str> = command.split(' ').collect();
        let folder = format!("{}/", self.0.path().display());
        let arguments: Vec<OsString> = words[1..].iter().map(|word| word.replace("/w/", &folder).into()).collect();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = match words[0] {
            "makemap" => makemap(&arguments, &input, &mut out, &mut err),
            "editmap" => editmap(&arguments, &mut out, &mut err),
            "praliases" => praliases(&arguments, &[], &mut out, &mut err),
            "newaliases" => {
                let named = arguments.iter().filter(|word| *word != "-on");
                let files: Vec<AliasFile> = named.map(|word| AliasFile::parse(word.to_str().unwrap())).collect();
                let is_local = |domain: &str| domain == "this.example";
                let rebuild = Rebuild {
                    files: &files,
                    is_local: &is_local,
                    group_writable: false,
                    world_writable: false,
                    distrust: &|path| path.ends_with("ww/al").then(|| "World writable directory /w/ww".to_owned()),
                    check: words.contains(&"-on"),
                };
                newaliases(&rebuild, &mut out, &mut err)
            }
            other => panic!("{other}"),
        };
        let mut said = String::from_utf8_lossy(&out).into_owned();
        for line in String::from_utf8_lossy(&err).lines() {
            said += &format!("E: {line}\n");
        }
        format!("{}rc={code}", said.replace(&folder, "/w/"))
    }
}

const TEXT: &[u8] =
    b"Key1 v1\nkey1 dup\n\n  lead\nnoval\nnoval2 \t\r\n\tx\n# c\nKEY3\t\tv3  # not comment  \ncr\tval\r\n\r\na b";
const USAGE: &str = "E: Usage: makemap [-C cffile] [-N] [-c cachesize] [-D commentchar]
E:                [-d] [-e] [-f] [-i type] [-l] [-o] [-r] [-s] [-t delimiter]
E:                [-u] [-v] type mapname
rc=64";

#[test]
fn makemap_reads_as_the_real_one() {
    let room = Room::new();
    let said = room.run("makemap hash /w/m1", TEXT);
    let expected = "E: makemap: /w/m1: line 2: key key1: duplicate key
E: makemap: /w/m1: line 4: syntax error (leading space)
E: makemap: /w/m1: line 5: no RHS for LHS noval
E: makemap: /w/m1: line 6: no RHS for LHS noval2
E: makemap: /w/m1: line 7: syntax error (leading space)
E: makemap: /w/m1: line 11: syntax error (leading space)
rc=65";
    assert_eq!(said, expected);
    assert_eq!(room.run("makemap -u hash /w/m1", b""), "key1\tv1\nkey3\tv3  # not comment  \ncr\tval\r\na\tb\nrc=0");
    let mode = room.path("m1.db").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o137, 0, "0640 or less");
    let said = room.run("makemap -r -e -v hash /w/m2", b"Key1 v1\nkey1 dup\nnoval\n");
    let note = "E: makemap: /w/m2.db is Postrider's compiled table, not hash";
    assert_eq!(said, format!("key=`key1', val=`v1'\nkey=`key1', val=`dup'\nkey=`noval', val=`'\n{note}\nrc=0"));
    assert_eq!(room.run("makemap -u hash /w/m2", b""), "key1\tdup\nnoval\t\nrc=0");
    assert_eq!(room.run("makemap -N -f hash /w/m4", b"Key1 v1\nkey1 dup\n"), "rc=0");
    assert_eq!(room.run("makemap -u hash /w/m4", b""), "Key1\tv1\nkey1\tdup\nrc=0");
    assert_eq!(room.run("makemap -d btree /w/m9", b"a 1\na 2\nb 3\na 0\n"), "rc=0");
    assert_eq!(room.run("editmap -q btree /w/m9 a", b""), "1\nrc=0");
    assert_eq!(room.run("makemap hash /w/e8", b"TEST 1\n\xc4\xd6 8bit\n"), "rc=0");
    // No last newline; an empty text.
    assert_eq!(room.run("makemap hash /w/e", b""), "rc=0");
    assert_eq!(room.run("makemap -u hash /w/e", b""), "rc=0");
}

#[test]
fn makemaps_delimiters_and_comments() {
    let room = Room::new();
    let text = b"a:b c\n d e:f\nx::y\n#q:1\n";
    assert_eq!(room.run("makemap -t : hash /w/m6", text), "rc=0");
    assert_eq!(room.run("makemap -u hash /w/m6", b""), "a\tb c\n d e\tf\nx\ty\nrc=0");
    let expected = "E: Invalid separator
E: makemap: /w/m6: line 2: syntax error (leading space)
E: makemap: /w/m6: line 3: no RHS for LHS x::y
rc=65";
    assert_eq!(room.run("makemap -t  hash /w/m6", text), expected);
    assert_eq!(room.run("makemap -u hash /w/m6", b""), "a:b\tc\nrc=0");
    assert_eq!(room.run("makemap -D ; hash /w/m6", b"; c\n# v\n"), "rc=0");
    assert_eq!(room.run("makemap -u hash /w/m6", b""), "#\tv\nrc=0");
    assert_eq!(room.run("makemap -o hash /w/m6", b"new one\n# dup\n"), "rc=0");
    assert_eq!(
        room.run("makemap -o hash /w/m6.db", b"new two\n"),
        "E: makemap: /w/m6.db: line 1: key new: duplicate key\nrc=65"
    );
    assert_eq!(room.run("makemap -o -r -D; hash /w/m6", b"# replaced\nz z\n"), "rc=0");
    assert_eq!(room.run("makemap -u hash /w/m6", b""), "new\tone\n#\treplaced\nz\tz\nrc=0");
}

#[test]
fn makemaps_other_ends() {
    let room = Room::new();
    assert_eq!(room.run("makemap", b""), USAGE.trim_end());
    for command in ["makemap hash", "makemap hash /w/m1 extra", "makemap -vo"] {
        assert_eq!(room.run(command, b""), USAGE);
    }
    assert_eq!(room.run("makemap -Z hash /w/m1", b""), format!("E: makemap: invalid option -- 'Z'\n{USAGE}"));
    assert_eq!(room.run("makemap -C", b""), format!("E: makemap: option requires an argument -- 'C'\n{USAGE}"));
    assert_eq!(room.run("makemap -l foo bar", b""), "hash\nbtree\nimplicit\ncdb\ndbm\nrc=0");
    let cases = [
        ("makemap -C /nope hash /w/m1", "makemap: /nope: No such file or directory\nrc=66"),
        ("makemap foo /w/m1", "makemap: error opening type foo map /w/m1: Unknown database type\nrc=73"),
        ("makemap HASH /w/up", "makemap: error opening type HASH map /w/up: Unknown database type\nrc=73"),
        ("makemap -u hash /w/none", "makemap: error opening type hash map /w/none: No such file or directory\nrc=73"),
        ("makemap -o hash /w/m7", "makemap: error opening type hash map /w/m7: No such file or directory\nrc=73"),
        (
            "makemap hash /w/nodir/m",
            "makemap: error opening type hash map /w/nodir/m: No such file or directory\nrc=73",
        ),
    ];
    for (command, said) in cases {
        assert_eq!(room.run(command, b"a b\n"), format!("E: {said}"));
    }
    assert_eq!(std::fs::read_dir(room.0.path()).unwrap().count(), 1, "no map, and nothing left behind");
    assert_eq!(room.run("makemap -i 2 -c abc -s hash -- /w/m8", b"a b\n"), "rc=0");
    std::os::unix::fs::symlink("m8.db", room.path("sym.db")).unwrap();
    let expected = "E: makemap: error opening type hash map /w/sym: Symbolic links not allowed\nrc=73";
    assert_eq!(room.run("makemap hash /w/sym", b"a b\n"), expected);
    std::fs::hard_link(room.path("m8.db"), room.path("hard.db")).unwrap();
    let expected = "E: makemap: error opening type hash map /w/hard: Hard links not allowed\nrc=73";
    assert_eq!(room.run("makemap hash /w/hard", b"a b\n"), expected);
    std::fs::create_dir(room.path("ww")).unwrap();
    std::fs::set_permissions(room.path("ww"), std::fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(room.run("makemap hash /w/ww/x", b"a b\n"), "E: WARNING: World writable directory /w/ww\nrc=0");
}

#[test]
fn long_lines_are_left_out_whole() {
    let room = Room::new();
    let text = format!("k {}\nk {}\nb c\n", "x".repeat(1_021), "x".repeat(9_000_000));
    let expected = "E: makemap: /w/ml: line 1: line too long (1024 bytes max)
E: makemap: /w/ml: line 2: line too long (1024 bytes max)
rc=65";
    assert_eq!(room.run("makemap hash /w/ml", text.as_bytes()), expected);
    assert_eq!(room.run("makemap -u hash /w/ml", b""), "b\tc\nrc=0");
}

#[test]
fn a_berkeley_file_is_listed_appended_to_and_kept() {
    let room = Room::new();
    let old = include_bytes!("../../../src/mail/database/golden/terminated.db");
    room.put("m.db", old);
    assert_eq!(room.run("makemap -u hash /w/m", b"").lines().count(), 65);
    assert_eq!(room.run("editmap -q hash /w/m Alice", b""), "value one # no comment \nrc=0");
    let said = room.run("makemap -v -o hash /w/m", b"new one\n");
    assert!(said.contains("E: makemap: the old /w/m.db is kept as /w/m.db.sendmail\n"), "{said}");
    assert_eq!(room.run("makemap -u hash /w/m", b"").lines().count(), 66);
    assert_eq!(std::fs::read(room.path("m.db.sendmail")).unwrap(), old);
    room.put("g.db", b"garbage");
    let expected = "E: makemap: error opening type hash map /w/g: /w/g.db: of no known format; make it again with makemap or newaliases\nrc=73";
    assert_eq!(room.run("makemap -u hash /w/g", b""), expected);
}

#[test]
fn editmap_asks_changes_and_removes() {
    let room = Room::new();
    room.run("makemap hash /w/m1", b"Key1 v1\nk2 v2\nk3 v3\n");
    let usage = "E: Usage: editmap [-C cffile] [-N] [-f] [-q|-u|-x] maptype mapname key [ \"value ...\" ]\nrc=64";
    for wrong in [
        "",
        " -q hash /w/m1",
        " -q hash /w/m1 key1 extra",
        " hash /w/m1 key1",
        " -u hash /w/m1 k",
        " -x hash /w/m1 k v",
        " -q -x hash /w/m1 k",
    ] {
        assert_eq!(room.run(&format!("editmap{wrong}"), b""), usage);
    }
    let cases = [
        (
            "-X",
            "E: editmap: invalid option -- 'X'\nE: Usage: editmap [-C cffile] [-N] [-f] [-q|-u|-x] maptype mapname key [ \"value ...\" ]\nrc=64",
        ),
        ("-q hash /w/m1 KEY1", "v1\nrc=0"),
        ("-f -q hash /w/m1 KEY1", "E: editmap: couldn't find key KEY1 in map /w/m1\nrc=69"),
        ("-q hash /w/m1 nokey", "E: editmap: couldn't find key nokey in map /w/m1\nrc=69"),
        ("-u hash /w/m1 K2 new", "rc=0"),
        ("-q hash /w/m1 k2", "new\nrc=0"),
        ("-u hash /w/m1 k9 a b", "rc=0"),
        ("-q hash /w/m1 k9", "a\nrc=0"),
        ("-u hash /w/m1 k9 ", "rc=0"),
        ("-q hash /w/m1 k9", "\nrc=0"),
        ("-x hash /w/m1 k9", "rc=0"),
        ("-x hash /w/m1 k9", "E: editmap: key k9 doesn't exist in map /w/m1\nrc=0"),
        ("-q foo /w/m1 k2", "E: editmap: error opening type foo map /w/m1: Unknown database type\nrc=73"),
        ("-q hash /w/none k2", "E: editmap: error opening type hash map /w/none: No such file or directory\nrc=73"),
        ("-x hash /w/none k2", "E: editmap: key k2 doesn't exist in map /w/none\nrc=0"),
        ("-u hash /w/none k2 v2", "rc=0"),
        ("-q hash /w/none k2", "v2\nrc=0"),
        ("-C /nope -q hash /w/m1 k2", "E: editmap: /nope: No such file or directory\nrc=66"),
    ];
    for (arguments, said) in cases {
        assert_eq!(room.run(&format!("editmap {arguments}"), b""), said, "{arguments}");
    }
    assert_eq!(room.run("makemap -u hash /w/m1", b""), "key1\tv1\nk3\tv3\nk2\tnew\nrc=0");
}

/// The text decides, so an edit of the map would have no effect; and if it had, what is new in the text would be lost.
#[test]
fn editmap_beside_a_newer_text() {
    let room = Room::new();
    let (long_ago, now) = (Duration::from_secs(1_000_000_000), std::time::SystemTime::now());
    let date = |name: &str, time| File::open(room.path(name)).unwrap().set_modified(time).unwrap();
    room.put("m", b"k text\n");
    date("m", std::time::SystemTime::UNIX_EPOCH + long_ago);
    room.run("makemap hash /w/m", b"k old\n");
    assert_eq!(room.run("editmap -u hash /w/m k new", b""), "rc=0");
    date("m", now + Duration::from_secs(9));
    for (arguments, what) in
        [("-u hash /w/m k newer", "error updating (k, newer)"), ("-x hash /w/m k", "couldn't remove key k")]
    {
        let said = format!("E: editmap: {what} in map /w/m: /w/m is newer and decides: run makemap first\nrc=74");
        assert_eq!(room.run(&format!("editmap {arguments}"), b""), said);
    }
    assert_eq!(room.run("makemap -u hash /w/m", b""), "k\tnew\nrc=0");
}

/// All values of a key stay, and go through an edit.
#[test]
fn an_old_map_with_many_values_is_listed_whole() {
    let room = Room::new();
    room.put("m.db", include_bytes!("../../../src/mail/database/golden/many-hash.db"));
    assert_eq!(room.run("editmap -u hash /w/m k new", b""), "rc=0");
    let listed = room.run("makemap -u hash /w/m", b"");
    assert_eq!(listed.lines().filter(|line| line.starts_with("dup\tu")).count(), 1_500);
    assert!(listed.contains("k\tnew\n") && listed.ends_with("rc=0"));
}

/// An editor's byte order mark is no part of the first key.
#[test]
fn a_byte_order_mark_is_left_out() {
    let room = Room::new();
    assert_eq!(room.run("makemap hash /w/m", "\u{feff}k v\n".as_bytes()), "rc=0");
    assert_eq!(room.run("editmap -q hash /w/m k", b""), "v\nrc=0");
    room.put("al", "\u{feff}bob: u01\n".as_bytes());
    assert_eq!(room.run("newaliases /w/al", b""), "/w/al: 1 aliases, longest 3 bytes, 6 bytes total\nrc=0");
    assert_eq!(room.run("praliases -f /w/al bob", b""), "bob:u01\nrc=0");
}

#[test]
fn newaliases_compiles_and_praliases_prints() {
    let room = Room::new();
    assert_eq!(room.run("newaliases /w/al", b""), "newaliases: cannot open /w/al: No such file or directory\nrc=0");
    room.put("al", b"a: b\nPostmaster: root\nlist: a,\n  b , c\nM@this.example: x\n");
    assert_eq!(room.run("newaliases /w/al", b""), "/w/al: 4 aliases, longest 9 bytes, 31 bytes total\nrc=0");
    let all = "a:b\nlist:a,  b , c\nm:x\npostmaster:root\n@:@\nrc=0";
    assert_eq!(room.run("praliases -f /w/al", b""), all);
    assert_eq!(room.run("praliases -f hash:/w/al.db", b""), all);
    assert_eq!(
        room.run("praliases -f /w/al nosuch a Postmaster", b""),
        "nosuch: No such key\na:b\nPostmaster: No such key\nrc=0"
    );
    // From the text, once that is newer.
    room.put("al", b"a: c\n");
    assert_eq!(room.run("praliases -f /w/al", b""), "a:c\nrc=0");
    room.put("al6", b"self: \\self\nx: \"|/bin/cat a\"\n bad\ndup:1\ndup:2\n");
    let expected = "/w/al6: line 5: dup... Warning: duplicate alias name dup\n/w/al6: 4 aliases, longest 17 bytes, 35 bytes total\nrc=0";
    assert_eq!(room.run("newaliases hash:/w/al6", b""), expected);
    assert_eq!(room.run("praliases -f /w/al6", b""), "dup:2\nself:\\self\nx:\"|/bin/cat a\" bad\n@:@\nrc=0");
    room.put("m1", b"k1 v\n");
    let expected = "/w/m1: line 1: missing colon\n/w/m1: 0 aliases, longest 0 bytes, 0 bytes total\nrc=70";
    assert_eq!(room.run("newaliases /w/m1", b""), expected);
    room.put("cf", format!("O AliasFile={0}/al, {0}/m1\nO AliasWait=10\n", room.0.path().display()).as_bytes());
    assert_eq!(room.run("praliases -C /w/cf", b""), "a:c\n@:@\nrc=0");
}

#[test]
fn aliases_that_are_unsafe_or_cannot_be_made() {
    let room = Room::new();
    room.put("al", b"a: b\n");
    for (mode, said) in [(0o666, "Group writable file"), (0o602, "World writable file")] {
        std::fs::set_permissions(room.path("al"), std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(room.run("newaliases /w/al", b""), format!("newaliases: cannot open /w/al: {said}\nrc=0"));
    }
    std::fs::create_dir(room.path("dir")).unwrap();
    assert_eq!(room.run("newaliases /w/dir", b""), "newaliases: cannot open /w/dir: Regular files only\nrc=0");
    assert_eq!(room.run("newaliases foo:/w/al", b""), "setalias: unknown alias class foo\nrc=70");
    room.put("t", b"a: b\n");
    std::fs::create_dir(room.path("t.db")).unwrap();
    let expected = "WARNING: cannot open alias database /w/t\nCannot create database for alias file /w/t\nE: newaliases: /w/t.db: Regular files only\nrc=70";
    assert_eq!(room.run("newaliases /w/t", b""), expected);
    let skipping = |class: &str| format!("E: praliases: Skipping non-file based alias type {class}\nrc=0");
    assert_eq!(room.run("praliases -f foo:/w/al", b""), skipping("foo"));
    assert_eq!(room.run("praliases -f nis:mail.aliases", b""), skipping("nis"));
    assert_eq!(room.run("praliases -f /w/none", b""), "E: praliases: /w/none: open: No such file or directory\nrc=0");
    assert_eq!(room.run("praliases -C /nope", b""), "E: praliases: /nope: No such file or directory\nrc=66");
    let usage = "E: usage: praliases [-C cffile] [-f aliasfile] [key ...]\nrc=64";
    assert_eq!(room.run("praliases -Z", b""), format!("E: praliases: invalid option -- 'Z'\n{usage}"));
}

/// As 8.17.1.9 said it of the same file.
#[test]
fn newaliases_looks_at_the_right_hand_sides_if_asked() {
    let room = Room::new();
    room.put(
        "al",
        b"good: alice, <bob@x>\na: <alice\nb: alice@\nc: b@c@d, <x, (y\nbad\nz: a)b\nz: x, dup\nn: b@ ,\n  x\xe4@\n",
    );
    let expected = "/w/al: line 2: <alice... Unbalanced '<'
/w/al: line 3: alice@... Hostname required
/w/al: line 4: b@c@d, <x, (y... Invalid route address
/w/al: line 4: <x, (y... Unbalanced '<'
/w/al: line 4: (y... Unbalanced '('
/w/al: line 4: (y... (y... bad address
/w/al: line 5: missing colon
/w/al: line 6: a)b... Unbalanced ')'
/w/al: line 7: dup... Warning: duplicate alias name z
/w/al: line 9: b@ ,  x\u{fffd}@... Hostname required
/w/al: line 9: x\u{fffd}@... Hostname required
/w/al: 7 aliases, longest 14 bytes, 67 bytes total
rc=64";
    assert_eq!(room.run("newaliases -on /w/al", b""), expected);
    room.put("al", b"b: alice@\n");
    let expected =
        "/w/al: line 1: alice@... Hostname required\n/w/al: 1 aliases, longest 6 bytes, 7 bytes total\nrc=64";
    assert_eq!(room.run("newaliases -on /w/al", b""), expected);
    assert!(room.run("newaliases /w/al", b"").ends_with("total\nrc=0"));
}

#[test]
fn no_aliases_are_made_where_others_may_write() {
    let room = Room::new();
    std::fs::create_dir(room.path("ww")).unwrap();
    room.put("ww/al", b"a: b\n");
    let expected = "WARNING: World writable directory /w/ww
WARNING: cannot open alias database /w/ww/al
Cannot create database for alias file /w/ww/al
rc=70";
    assert_eq!(room.run("newaliases /w/ww/al", b""), expected);
    assert!(!room.path("ww/al.db").exists());
}

#[test]
fn a_map_with_two_names_is_not_read() {
    let room = Room::new();
    room.run("makemap hash /w/m", b"k v\n");
    std::fs::hard_link(room.path("m.db"), room.path("other.db")).unwrap();
    let expected =
        |program: &str| format!("E: {program}: error opening type hash map /w/m: Hard links not allowed\nrc=73");
    assert_eq!(room.run("makemap -u hash /w/m", b""), expected("makemap"));
    assert_eq!(room.run("editmap -q hash /w/m k", b""), expected("editmap"));
}

/// Bytes of any character set, but no control characters.
#[test]
fn messages_have_the_bytes_of_the_text() {
    let room = Room::new();
    let input = b"a\xe4 1\nA\xe4 2\n\xfc\nx\x01y\n";
    room.put("stdin", input);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments = [OsString::from("hash"), room.path("m").into()];
    makemap(&arguments, &File::open(room.path("stdin")).unwrap(), &mut out, &mut err);
    let has = |said: &[u8], part: &[u8]| said.windows(part.len()).any(|found| found == part);
    assert!(has(&err, b"line 2: key a\xe4: duplicate key\n") && has(&err, b"no RHS for LHS \xfc\n"));
    assert!(has(&err, b"no RHS for LHS x\\x01y\n"));
    room.put("al", b"\xe4: x\n\xe4: y\n\xfc@far: x\n");
    let files = [AliasFile::File { path: room.path("al"), optional: false }];
    let rebuild = Rebuild {
        files: &files,
        is_local: &|_| false,
        group_writable: false,
        world_writable: false,
        distrust: &|_| None,
        check: false,
    };
    newaliases(&rebuild, &mut out, &mut err);
    assert!(has(&out, b"line 2: \xe4... Warning: duplicate alias name \xe4\n"), "{}", out.escape_ascii());
    assert!(has(&out, b"line 3: \xfc@far... cannot alias non-local names\n"));
}

/// What was written this moment is looked at again, not refused.
#[test]
fn a_berkeley_file_of_this_moment_is_waited_for() {
    let room = Room::new();
    room.put("m.db", include_bytes!("../../../src/mail/database/golden/terminated.db"));
    assert_eq!(room.run("makemap -u hash /w/m", b"").lines().count(), 65);
}

#[test]
fn alias_file_members() {
    let file = |path: &str, optional| AliasFile::File { path: path.into(), optional };
    let cf = "O AliasFile=hash: /etc/a , -o /etc/b,nis:mail.aliases@x\nOA/etc/c,files:/d\nO AliasWait=10\nOK\n";
    let expected = [
        file("/etc/a", false),
        file("/etc/b", true),
        AliasFile::Elsewhere("nis".into()),
        file("/etc/c", false),
        AliasFile::Unknown("files".into()),
    ];
    assert_eq!(AliasFile::of_configuration(cf), expected);
}

/// `cargo test -p compat-table --lib -- --ignored --nocapture speed`: a million virtual users, a hundred thousand aliases (w7).
#[test]
#[ignore = "a measurement"]
fn speed() {
    let room = Room::new();
    let memory = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let users: String = (0..1_000_000).map(|n| format!("user{n}@virt.test\tu{:03}@bench.test\n", n % 100)).collect();
    room.put("stdin", users.as_bytes());
    drop(users);
    room.put("al", (0..100_000).map(|n| format!("alias{n}: u{:03}\n", n % 100)).collect::<String>().as_bytes());
    let stdin = File::open(room.path("stdin")).unwrap();
    let arguments = [OsString::from("hash"), room.path("m").into()];
    let start = std::time::Instant::now();
    assert_eq!(makemap(&arguments, &stdin, &mut std::io::stdout(), &mut std::io::stderr()), 0);
    println!("makemap of 1,000,000: {:?}, {} MB", start.elapsed(), room.path("m.db").metadata().unwrap().len() >> 20);
    let start = std::time::Instant::now();
    println!("{}", room.run("newaliases /w/al", b""));
    println!("newaliases of 100,000: {:?}", start.elapsed());
    let before = memory();
    let table = open_map(room.path("m").as_os_str()).unwrap();
    for (what, stored) in [("hits", true), ("misses", false)] {
        let start = std::time::Instant::now();
        for n in (0..1_000_000u64).map(|n| n * 7_919 % 1_000_000) {
            let key = if stored { format!("user{n}@virt.test") } else { format!("nouser{n}@virt.test") };
            assert_eq!(table.get(key.as_bytes()).unwrap().is_some(), stored);
        }
        println!("1,000,000 {what}: {:?}", start.elapsed());
    }
    println!("memory: {} KB more", memory().saturating_sub(before));
}

/// Nobody will ever write to the other end.
#[test]
fn a_fifo_is_refused_at_once() {
    let room = Room::new();
    for name in ["f.db", "a", "a.db", "cf"] {
        let made = std::process::Command::new("mkfifo").arg(room.path(name)).status().unwrap();
        assert!(made.success());
    }
    let refused = |program: &str, map: &str| {
        format!("E: {program}: error opening type hash map {map}: Regular files only\nrc=73")
    };
    assert_eq!(room.run("makemap -u hash /w/f", b""), refused("makemap", "/w/f"));
    assert_eq!(room.run("makemap hash /w/f", b"k v\n"), refused("makemap", "/w/f"));
    assert_eq!(room.run("editmap -q hash /w/f k", b""), refused("editmap", "/w/f"));
    assert_eq!(room.run("praliases -f /w/a", b""), "E: praliases: /w/a: open: Regular files only\nrc=0");
    assert_eq!(room.run("makemap -C /w/cf hash /w/m", b"k v\n"), "rc=0");
    assert!(room.run("newaliases /w/a", b"").contains("Regular files only"));
}
