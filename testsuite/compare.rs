//! Postrider against the real sendmail: the same tables, the same questions, the answers compared (issue "tables", Must show 1 and 4).
//! Needs root inside `testsuite/host` and the sendmail that `compare/fetch` unpacked. `POSTRIDER_SEED` for other cases than every day's,
//! `POSTRIDER_FULL=1` for 10,000 of them.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "compare/answer.rs"]
mod answer;
#[path = "compare/grammar.rs"]
mod grammar;
#[path = "compare/oracle.rs"]
mod oracle;
#[path = "compare/ours.rs"]
mod ours;
#[path = "compare/pattern.rs"]
mod pattern;
#[path = "compare/profile.rs"]
mod profile;
#[path = "compare/program.rs"]
mod program;
#[path = "compare/random.rs"]
mod random;
#[path = "compare/root.rs"]
mod root;
#[path = "compare/score.rs"]
mod score;
#[path = "compare/set.rs"]
mod set;

use answer::Answer;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};
use testsuite::{root_or_skip, scaled};

/// Accounts and networks that both servers see, on the private host.
fn furnish_host() {
    let mut passwd = fs::read_to_string("/etc/passwd").unwrap();
    for (n, user) in set::USERS.iter().enumerate() {
        if !passwd.lines().any(|l| l.starts_with(&format!("{user}:"))) {
            let _ = writeln!(passwd, "{user}:x:{}:19999:{user}:/home/{user}:/bin/sh", 21_000 + n);
        }
    }
    fs::write("/etc/passwd", passwd).unwrap();
    // Every address is here: clients may come from anywhere, and nothing can leave.
    let _ = Command::new("ip").args(["route", "add", "local", "0.0.0.0/0", "dev", "lo"]).status();
    let _ = Command::new("ip").args(["-6", "route", "add", "local", "::/0", "dev", "lo"]).status();
}

/// The same cases every day, or others.
fn seed() -> u64 {
    std::env::var("POSTRIDER_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(3)
}

#[test]
fn the_small_programs_say_what_sendmails_say() {
    if !root_or_skip("the_small_programs_say_what_sendmails_say") {
        return;
    }
    furnish_host();
    let Some(oracle) = oracle::Oracle::new() else { return };
    let mut comparison = program::Comparison::new(include_str!("compare/differences"));
    comparison.run(&oracle, seed(), scaled(60, 6));
    println!(
        "{} comparisons, {} differ as listed, {} otherwise",
        comparison.done,
        comparison.listed,
        comparison.wrong.len()
    );
    assert!(comparison.wrong.is_empty(), "{}", comparison.wrong.join("\n"));
}

#[test]
fn tables_mean_what_sendmail_means_by_them() {
    if !root_or_skip("tables_mean_what_sendmail_means_by_them") {
        return;
    }
    furnish_host();
    let seed = seed();
    let mut sets = grammar::make(seed, scaled(160, 25));
    sets.extend(grammar::collection::sets(sets.len(), scaled(1_000, 8)));
    let Some(oracle) = oracle::Oracle::new() else { return };
    let cases: usize = sets.iter().map(|s| s.cases.len()).sum();
    let hits = sets.iter().flat_map(|s| &s.cases).filter(|c| c.hit).count();
    let enough = scaled(100, 20);
    for (row, n) in grammar::per_row(&sets) {
        assert!(n >= enough || row.starts_with("collection"), "{row}: {n} cases, wanted {enough}");
    }
    assert!(cases >= scaled(10_000, 1_500) && hits * 10 >= cases * 6, "{cases} cases, {hits} hits");
    println!("seed {seed}: {} table sets, {cases} cases, {}% made to hit", sets.len(), hits * 100 / cases);
    let mut score = score::Score::new(include_str!("compare/differences"));
    let (mut dump, mut theirs_took, mut ours_took) = (String::new(), Duration::ZERO, Duration::ZERO);
    let theirs: Vec<Vec<Answer>> = sets
        .iter()
        .map(|set| {
            let start = Instant::now();
            oracle.prepare(set);
            let answers = oracle.answers(set);
            theirs_took += start.elapsed();
            ours::compile(set);
            answers
        })
        .collect();
    // All files of a set are now at rest: what has just been written counts as being written.
    std::thread::sleep(Duration::from_millis(1_100));
    for (set, theirs) in sets.iter().zip(&theirs) {
        let start = Instant::now();
        // The real program alone, for a look at its answers.
        let ours =
            if std::env::var_os("POSTRIDER_ORACLE_ONLY").is_some() { theirs.clone() } else { ours::answers(set) };
        ours_took += start.elapsed();
        for ((case, theirs), ours) in set.cases.iter().zip(theirs).zip(&ours) {
            score.add(&set.folder(), case, theirs, ours);
            let line = serde_json::json!({
                "row": case.row, "tables": set.folder(), "ask": score::ask(&case.ask), "hit": case.hit,
                "oracle": theirs.to_string(), "ours": ours.to_string(),
            });
            let _ = writeln!(dump, "{line}");
        }
    }
    if let Some(path) = std::env::var_os("POSTRIDER_DUMP") {
        fs::write(&path, dump).unwrap();
        let copy = format!("{}.tables", path.display());
        let _ = fs::remove_dir_all(&copy);
        let _ = Command::new("cp").args(["-a", "/run/compare", &copy]).status();
    }
    println!("sendmail {theirs_took:?}, ours {ours_took:?}");
    let wrong = score.verdict(scaled(20, 5));
    assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.join("\n"));
}
