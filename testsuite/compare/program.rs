//! `newaliases`, `makemap`, `praliases` and `editmap` beside sendmail's, on generated texts and on the collection of table files in
//! `compat/table/collection`: what they print, how they exit, what is in the table afterwards.

use crate::oracle::Oracle;
use crate::pattern::matches;
use crate::random::Random;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use testsuite::server;

/// What a run said: exit code, and lines with the folder's name taken out.
type Said = (i32, Vec<String>);

/// One pair of folders with the same files.
pub struct Pair<'a> {
    oracle: &'a Oracle,
    ours: PathBuf,
    theirs: PathBuf,
}

impl<'a> Pair<'a> {
    /// Fresh folders with these files.
    pub fn new(oracle: &'a Oracle, name: &str, files: &[(&str, Vec<u8>)]) -> Self {
        let base = Path::new("/run/compare/programs").join(name);
        let _ = fs::remove_dir_all(&base);
        let pair = Self { oracle, ours: base.join("ours"), theirs: base.join("theirs") };
        for folder in [&pair.ours, &pair.theirs] {
            fs::create_dir_all(folder).unwrap();
            for (name, text) in files {
                fs::write(folder.join(name), text).unwrap();
            }
        }
        fs::write(pair.theirs.join("mc"), mc(&pair.theirs)).unwrap();
        fs::write(pair.theirs.join("cf"), oracle.m4(&pair.theirs.join("mc"))).unwrap();
        let kdl =
            format!("host \"mx.test\"\naliases \"{}/aliases\"\nlocal-domains \"local.test\"\n", pair.ours.display());
        fs::write(pair.ours.join("postrider.kdl"), kdl).unwrap();
        pair
    }
    /// Runs a program of both with these arguments, in which `@F@` is the folder; `stdin` is a file of it.
    pub fn run(&self, program: &str, arguments: &[&str], stdin: Option<&str>) -> (Said, Said) {
        let input = |folder: &Path| stdin.map_or_else(Vec::new, |f| fs::read(folder.join(f)).unwrap());
        let fill = |folder: &Path| -> Vec<String> {
            arguments.iter().map(|a| a.replace("@F@", &folder.to_string_lossy())).collect()
        };
        let cf = self.theirs.join("cf");
        let mut theirs = match program {
            "newaliases" => {
                let mut command = self.oracle.command("/usr/libexec/sendmail/sendmail");
                command.arg(format!("-C{}", cf.display())).arg("-bi");
                command
            }
            program => {
                let mut command = self.oracle.command(&format!("/usr/libexec/sendmail/{program}"));
                command.arg("-C").arg(&cf);
                command
            }
        };
        theirs.args(fill(&self.theirs));
        let mut ours = Command::new(server::programs().join("postrider"));
        ours.arg(program).env("POSTRIDER_CONFIG", self.ours.join("postrider.kdl"));
        ours.args(fill(&self.ours));
        (
            said(&server::run(theirs, &input(&self.theirs)), &self.theirs),
            said(&server::run(ours, &input(&self.ours)), &self.ours),
        )
    }
}

fn mc(folder: &Path) -> String {
    format!(
        "OSTYPE(`linux')dnl\ndefine(`confDOMAIN_NAME', `mx.test')dnl\ndefine(`ALIAS_FILE', `{}/aliases')dnl\n\
         define(`confDONT_PROBE_INTERFACES', `true')dnl\ndefine(`confSERVICE_SWITCH_FILE', `/etc/mail/service.switch')dnl\n\
         FEATURE(`nocanonify')dnl\nLOCAL_DOMAIN(`local.test')dnl\nMAILER(`local')dnl\nMAILER(`smtp')dnl\n",
        folder.display()
    )
}

fn said(output: &Output, folder: &Path) -> Said {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text)
        .replace(&*folder.to_string_lossy(), "@F@")
        // getopt prints the program as it was called.
        .replace("/usr/libexec/sendmail/", "");
    (output.status.code().unwrap_or(-1), text.lines().map(str::to_owned).collect())
}

/// Lines of a listing in one order: a hash table has none that means anything.
fn sorted(mut said: Said) -> Said {
    said.1.sort();
    said
}

/// Texts for makemap with everything that its reading rules know.
fn map_text(random: &mut Random) -> Vec<u8> {
    let mut text = Vec::new();
    for n in 0..5 + random.below(20) {
        let line: Vec<u8> = match random.below(14) {
            0 => b"# comment\n".to_vec(),
            1 => b"\n".to_vec(),
            2 => format!(" leading{n}\tvalue\n").into_bytes(),
            3 => format!("nokey{n}\n").into_bytes(),
            4 => format!("Mixed{n}@Case.Example\tValue {n}\n").into_bytes(),
            5 => format!("k{}\tdup {n}\n", random.below(6)).into_bytes(),
            6 => format!("crlf{n}\tvalue\r\n").into_bytes(),
            7 => format!("trailing{n}   value with blanks   \n").into_bytes(),
            8 => [b"eight\xe4".as_slice(), format!("{n}\t").as_bytes(), b"v\xfc\n"].concat(),
            9 => format!("t{n} # not a comment\n").into_bytes(),
            10 => format!("longer{n}\t{}\n", "x".repeat(random.below(1200))).into_bytes(),
            11 => format!("only{n}\t\n").into_bytes(),
            12 => b"\t\n".to_vec(),
            _ => format!("key{n}\t\tvalue{n}\n").into_bytes(),
        };
        text.extend_from_slice(&line);
    }
    if random.one_in(3) {
        text.extend_from_slice(b"last\twithout end");
    }
    text
}

/// Texts for newaliases.
fn alias_text(random: &mut Random) -> Vec<u8> {
    let mut text = b"postmaster: root\n".to_vec();
    for n in 0..3 + random.below(12) {
        let line = match random.below(14) {
            0 => "# comment\n".to_owned(),
            1 => format!("a{n}: alice,\n\tbob\n"),
            2 => format!("a{n}:\n"),
            3 => format!("a{n} alice\n"),
            4 => format!("u{n}@other.example: alice\n"),
            5 => format!("u{n}@local.test: alice\n"),
            6 => format!("dup{}: alice{n}\n", random.below(3)),
            7 => format!("a{n}: \"|/bin/cat a b\", /tmp/x, :include:/tmp/l\n"),
            8 => format!("\"q {n}\": bob\n"),
            9 => format!(" a{n}: alice\n"),
            10 => format!("A{n}: Alice\r\n"),
            11 => format!("a{n}: alice, \\\n bob\n"),
            12 => format!("a{n}: b@c@d, <x, (y\n"),
            _ => format!("a{n}: alice\n"),
        };
        text.extend_from_slice(line.as_bytes());
    }
    if random.one_in(3) {
        text.extend_from_slice(b"last: bob");
    }
    text
}

/// Files of the collection whose name begins so.
fn collection(prefix: &str) -> impl Iterator<Item = (String, Vec<u8>)> {
    crate::grammar::collection::files().into_iter().filter(move |(name, _)| name.starts_with(prefix))
}

/// Compares; differences that are in the list are counted, others come back.
pub struct Comparison {
    accepted: Vec<String>,
    /// How many comparisons there were.
    pub done: usize,
    /// How many of them differed as the list says.
    pub listed: usize,
    /// What differs and is not in the list.
    pub wrong: Vec<String>,
}

impl Comparison {
    /// With the accepted differences whose row is `programs`.
    pub fn new(list: &str) -> Self {
        let accepted = list
            .lines()
            .filter_map(|l| {
                let parts: Vec<&str> = l.split('\t').filter(|p| !p.is_empty()).collect();
                (parts.first() == Some(&"programs")).then(|| parts[1].to_owned())
            })
            .collect();
        Self { accepted, done: 0, listed: 0, wrong: Vec::new() }
    }
    fn add(&mut self, what: &str, (theirs, ours): (Said, Said)) {
        self.done += 1;
        if theirs == ours {
            return;
        }
        let first = |a: &Said, b: &Said| {
            let line =
                a.1.iter().zip(b.1.iter().map(Some).chain(std::iter::repeat(None))).find(|(x, y)| Some(*x) != *y);
            let line = line.map_or_else(|| "(nothing more)".to_owned(), |(x, _)| x.clone());
            format!("{} lines, rc {}, {line}", a.1.len(), a.0)
        };
        let text = format!("{what}: {} <> {}", first(&theirs, &ours), first(&ours, &theirs));
        if self.accepted.iter().any(|p| matches(p, &text)) {
            self.listed += 1;
        } else {
            self.wrong.push(text);
        }
    }
    /// makemap in its forms on one text, and what is in the table then.
    fn map(&mut self, oracle: &Oracle, name: &str, text: &[u8]) {
        for options in [&[][..], &["-r"], &["-d"], &["-f"], &["-D", "!"], &["-e"], &["-o"], &["-v"], &["-N"], &["-l"]] {
            let pair = Pair::new(oracle, "map", &[("text", text.to_vec())]);
            let arguments: Vec<&str> = options.iter().copied().chain(["hash", "@F@/map"]).collect();
            let what = format!("makemap {} {name}", options.join(" "));
            self.add(&what, pair.run("makemap", &arguments, Some("text")));
            let (theirs, ours) = pair.run("makemap", &["-u", "hash", "@F@/map"], None);
            self.add(&format!("{what}, then -u"), (sorted(theirs), sorted(ours)));
        }
    }
    /// newaliases on one text, and what praliases shows then.
    fn aliases(&mut self, oracle: &Oracle, name: &str, text: &[u8]) {
        let pair = Pair::new(oracle, "aliases", &[("aliases", text.to_vec())]);
        self.add(&format!("newaliases {name}"), pair.run("newaliases", &[], None));
        let (theirs, ours) = pair.run("praliases", &[], None);
        self.add(&format!("newaliases {name}, then praliases"), (sorted(theirs), sorted(ours)));
        self.add(&format!("praliases of keys, {name}"), pair.run("praliases", &["postmaster", "A1", "nosuch"], None));
    }
    /// editmap, one step after the other on the same table.
    fn edit(&mut self, oracle: &Oracle, text: &[u8]) {
        let pair = Pair::new(oracle, "edit", &[("text", text.to_vec())]);
        pair.run("makemap", &["hash", "@F@/map"], Some("text"));
        for step in [
            &["-q", "hash", "@F@/map", "k1"][..],
            &["-q", "hash", "@F@/map", "nosuch"],
            &["-u", "hash", "@F@/map", "k1", "new value"],
            &["-q", "hash", "@F@/map", "k1"],
            &["-q", "hash", "@F@/map", "K1"],
            &["-x", "hash", "@F@/map", "k1"],
            &["-x", "hash", "@F@/map", "k1"],
            &["-q", "hash", "@F@/map", "k1"],
            &["-u", "hash", "@F@/map", "fresh", "value"],
            &["-f", "-u", "hash", "@F@/map", "Fresh", "other"],
            &["-q", "hash", "@F@/nosuch", "k1"],
            &["-q", "bogus", "@F@/map", "k1"],
            &["-q", "hash", "@F@/map"],
            &["hash", "@F@/map", "k1"],
        ] {
            self.add(&format!("editmap {}", step.join(" ")), pair.run("editmap", step, None));
        }
        let (theirs, ours) = pair.run("makemap", &["-u", "hash", "@F@/map"], None);
        self.add("editmap, then makemap -u", (sorted(theirs), sorted(ours)));
    }
    /// Calls that are wrong.
    fn usage(&mut self, oracle: &Oracle) {
        let pair = Pair::new(oracle, "usage", &[("text", b"a b\n".to_vec())]);
        for arguments in [
            &[][..],
            &["hash"],
            &["bogus", "@F@/map"],
            &["-Z", "hash", "@F@/map"],
            &["hash", "@F@/no/such/folder/map"],
            &["-u", "hash", "@F@/nosuch"],
            &["btree", "@F@/map"],
            &["hash", "@F@/map.db"],
        ] {
            self.add(&format!("makemap {}", arguments.join(" ")), pair.run("makemap", arguments, Some("text")));
        }
        self.add("newaliases without a file", pair.run("newaliases", &[], None));
        self.add("praliases without a file", pair.run("praliases", &[], None));
    }
    /// Everything.
    pub fn run(&mut self, oracle: &Oracle, seed: u64, texts: usize) {
        let mut random = Random::new(seed);
        self.usage(oracle);
        for n in 0..texts {
            let (map, aliases) = (map_text(&mut random), alias_text(&mut random));
            self.map(oracle, &format!("generated {n}"), &map);
            self.aliases(oracle, &format!("generated {n}"), &aliases);
        }
        self.edit(oracle, b"k1\tv1\nk2\tv2\nK3\tv3\n");
        for (name, text) in collection("aliases") {
            self.aliases(oracle, &name, &text);
        }
        for prefix in ["access", "virtusertable", "mailertable", "domaintable", "genericstable"] {
            for (name, text) in collection(prefix) {
                self.map(oracle, &name, &text);
            }
        }
    }
}
