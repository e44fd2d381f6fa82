//! Our `sendmail` against the real one: the same calls (arguments, input, environment, user), and what became of them: exit code, standard
//! output and error, delivered messages, bounces, dead.letter (issue "command surface", Must show 2). Needs root inside `testsuite/host`
//! and the sendmail that `compare/fetch` unpacked. `POSTRIDER_SEED` for other calls than every day's, `POSTRIDER_FULL=1` for all of them,
//! `POSTRIDER_CALL=text` for those whose name contains it, with everything they said.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "compare/call/better.rs"]
mod better;
#[path = "compare/call/bounce.rs"]
mod bounce;
#[path = "compare/call/grammar.rs"]
mod grammar;
#[path = "compare/call/host.rs"]
mod host;
#[path = "compare/call/invocation.rs"]
mod invocation;
#[path = "compare/call/call.rs"]
mod model;
#[path = "compare/call/normal.rs"]
mod normal;
#[path = "compare/call/oracle.rs"]
mod oracle;
#[path = "compare/call/ours.rs"]
mod ours;
#[path = "compare/pattern.rs"]
mod pattern;
#[path = "compare/random.rs"]
#[allow(dead_code, reason = "shared with compare.rs, which uses more of it")]
mod random;
#[path = "compare/root.rs"]
mod root;
#[path = "compare/call/run.rs"]
mod run;
#[path = "compare/call/score.rs"]
mod score;

use model::Call;
use testsuite::{root_or_skip, scaled};

#[test]
fn a_call_of_ours_does_what_sendmails_does() {
    if !root_or_skip("a_call_of_ours_does_what_sendmails_does") {
        return;
    }
    let only = std::env::var("POSTRIDER_CALL").unwrap_or_default();
    let mut score = score::Score::new(include_str!("compare/call/differences"), !only.is_empty());
    host::furnish();
    let Some(oracle) = oracle::Oracle::start() else { return };
    let ours = ours::Ours::start();
    let seed = std::env::var("POSTRIDER_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(4);
    let mut calls = invocation::calls();
    calls.extend(grammar::calls(seed, scaled(1_200, 520)));
    calls.retain(|call| call.name.contains(&only));
    let (alone, together): (Vec<Call>, Vec<Call>) = calls.into_iter().partition(|call| call.alone);
    for batch in [together].iter().chain(alone.chunks(1).map(<[Call]>::to_vec).collect::<Vec<_>>().iter()) {
        let begin = std::time::Instant::now();
        let instead: Vec<Call> = batch.iter().map(Call::theirs).collect();
        let theirs = run::all(&oracle, &instead);
        let took = begin.elapsed();
        let ours = run::all(&ours, batch);
        if batch.len() > 1 {
            println!("{} calls: sendmail {took:?}, ours {:?}", batch.len(), begin.elapsed() - took);
        }
        for ((call, theirs), ours) in batch.iter().zip(&theirs.outcomes).zip(&ours.outcomes) {
            score.add(call, theirs, ours);
        }
        score.stray(&theirs.stray, &ours.stray);
    }
    if only.is_empty() {
        better::hold(&ours);
    }
    let wrong = score.verdict(&only);
    assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.join("\n"));
}
