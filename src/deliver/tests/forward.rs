//! What a `.forward` names, with agents that are threads: the mailbox agent leaves the message alone, the user's agent answers.

use super::fake::{Stage, Threads};
use crate::{Fields, Settings};
use call::agent::Done;
use mail::Address;
use queue::{Envelope, State};
use route::Owner;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Agents for users with these files.
fn agents(forwards: &[(&str, &[&str])]) -> Arc<Threads> {
    let users: Vec<String> = forwards.iter().map(|(user, _)| (*user).to_owned()).collect();
    let agents = Threads::new(move |user, item| {
        let asks = item.forward && users.iter().any(|one| one == user);
        Some(if asks { Done::Forward } else { Done::Delivered("mbox".into()) })
    });
    for (user, lines) in forwards {
        let lines = lines.iter().map(|line| Ok((*line).to_owned())).collect();
        agents.forwards.lock().unwrap().insert((*user).to_owned(), lines);
    }
    agents
}

/// Who got it, sorted, with the number of copies; and the finished envelope.
async fn delivered(agents: Arc<Threads>, to: &[&str]) -> (Vec<String>, Envelope) {
    let stage = Stage::new(agents, Settings::default());
    let routes: Vec<(String, String)> = to.iter().map(|u| (format!("{u}@host"), format!("local:{u}"))).collect();
    let routes: Vec<(&str, &str)> = routes.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    stage.submit(stage.envelope("s@x", &routes), b"A: b\r\n\r\nc\r\n");
    stage.until("finished", |s| s.store.finished().len() == 1 && s.store.claimed() == 0).await;
    let envelope = stage.store.finished().remove(0);
    (got(&envelope), envelope)
}

fn got(envelope: &Envelope) -> Vec<String> {
    let got = envelope.recipients.iter().filter(|r| r.state == State::Delivered);
    let mut got: Vec<String> = got.map(|r| r.route.clone()).collect();
    got.sort();
    got
}

#[tokio::test]
async fn each_member_gets_one_copy_and_own_names_mean_the_mailbox() {
    let agents = agents(&[("alice", &["\\alice", "bob", "|/bin/cat x", "bob", "alice"])]);
    let (got, envelope) = delivered(agents.clone(), &["alice"]).await;
    assert_eq!(got[..2], ["local:\\alice", "local:bob"]);
    assert!(got[2].starts_with("prog:alice:") && got[2].ends_with(":/home/x/.forward") && got.len() == 3, "{got:?}");
    let [parent, children @ ..] = &envelope.recipients[..] else { panic!() };
    assert_eq!(parent.state, State::Expanded);
    assert!(children.iter().all(|child| child.parent == Some(0) && child.given == parent.given));
    assert_eq!(children[1].controlling, "/home/x/.forward:2: alice@host");
    let batches = agents.batches.lock().unwrap();
    let (user, program, _) = batches.iter().find(|(_, batch, _)| batch.into.is_some()).unwrap();
    assert_eq!((user.as_str(), program.items[0].prepend.as_str()), ("alice", "Return-Path: <s@x>\r\n"));
}

#[tokio::test]
async fn circles_lose_nothing() {
    for to in [&["alice"][..], &["alice", "bob"], &["bob", "alice"]] {
        let (got, _) = delivered(agents(&[("alice", &["bob"]), ("bob", &["alice"])]), to).await;
        assert_eq!(got.len(), 1, "{to:?}: {got:?}");
        assert!(got[0].starts_with("local:\\"), "{got:?}");
    }
}

#[tokio::test]
async fn two_forwarders_to_one_person_make_one_copy() {
    let forwards: &[(&str, &[&str])] = &[("alice", &["carol"]), ("bob", &["carol"]), ("carol", &["dave"])];
    let (got, _) = delivered(agents(forwards), &["alice", "bob", "carol"]).await;
    assert_eq!(got, ["local:dave"]);
}

#[tokio::test]
async fn a_mailbox_beside_its_user_gets_one_copy_and_the_forward_counts() {
    for to in [&["alice", "\\alice"][..], &["\\alice", "alice"], &["bob", "\\alice"]] {
        for (forward, copies) in [(None, &["alice"][..]), (Some("carol"), &["alice", "carol"])] {
            let mut forwards = vec![("bob", &["alice"][..])];
            forwards.extend(forward.as_ref().map(|to| ("alice", std::slice::from_ref(to))));
            let agents = agents(&forwards);
            delivered(agents.clone(), to).await;
            let batches = agents.batches.lock().unwrap();
            let written = batches.iter().flat_map(|(user, batch, _)| batch.items.iter().map(move |item| (user, item)));
            let mut got: Vec<&str> = written.filter(|(_, item)| !item.forward).map(|(user, _)| user.as_str()).collect();
            // Only carol, who has no `.forward`, is asked and written to in one.
            got.extend(forward.filter(|_| batches.iter().any(|(user, ..)| user == "carol")));
            got.sort_unstable();
            assert_eq!(got, copies, "{to:?} {forward:?}");
        }
    }
}

/// As an alias named at RCPT: the members get an envelope of their own; who has the message already gets no second copy.
#[tokio::test]
async fn members_of_a_list_with_an_owner_get_mail_under_his_name() {
    let forwards: &[(&str, &[&str])] = &[("alice", &["crew", "bob", "carol"]), ("zoe", &["crew"]), ("yve", &["zoe"])];
    let stage = Stage::new(agents(forwards), Settings::default());
    list(&stage, "crew", "erin", &["bob", "dave"]);
    // Whoever else forwards to the list is no reason to send it there again.
    let to = ["alice", "bob", "zoe", "yve"].map(|user| (format!("{user}@host"), format!("local:{user}")));
    let to: Vec<(&str, &str)> = to.iter().map(|(address, route)| (&address[..], &route[..])).collect();
    let mut envelope = stage.envelope("s@x", &to);
    (envelope.envid, envelope.recipients[0].orcpt) = ("e".into(), "rfc822;alice@host".into());
    let id = stage.submit(envelope, b"A: b\r\n\r\n");
    stage.until("finished", |s| s.store.finished().len() == 2 && s.store.claimed() == 0).await;
    let mut finished = stage.store.finished();
    finished.sort_by_key(|envelope| envelope.id != id);
    let [own, clone] = &finished[..] else { panic!() };
    assert_eq!((got(own), got(clone)), (vec!["local:bob".into(), "local:carol".into()], vec!["local:dave".into()]));
    assert_eq!((clone.sender.as_str(), &clone.sender_given[..], &clone.envid[..]), ("erin@shown", "erin", ""));
    let [line @ .., member] = &clone.recipients[..] else { panic!("{clone:?}") };
    assert!(line.iter().all(|parent| parent.state == State::Expanded) && !line.is_empty());
    assert_eq!((member.parent, &member.orcpt[..]), (Some(line.len() as u32 - 1), ""));
    assert!(member.notify.failure && !member.notify.delay, "nothing but failures, and to the owner");
    assert!(stage.has_line(&format!("{id}: {}: clone: owner=erin@shown", clone.id)), "{:#?}", stage.lines());
}

/// Should it come back to her, it is known (`field`); what stays here needs no field.
#[tokio::test]
async fn what_a_forward_sends_away_says_who_forwarded_it() {
    let fields = Fields { delivered_to: true, ..Fields::default() };
    let stage = Stage::new(agents(&[("alice", &["parked", "bob"])]), Settings { fields, ..Settings::default() });
    let mut envelope = stage.envelope("s@x", &[("alice@host", "local:alice")]);
    envelope.prepend = "X: y\r\n".into();
    envelope.recipients[0].orcpt = "rfc822;alice@host".into();
    let id = stage.submit(envelope, b"A: b\r\n\r\n");
    stage.until("bob has it", |s| s.store.finished().len() == 1).await;
    assert_eq!((got(&stage.store.finished()[0]), stage.store.finished()[0].id), (vec!["local:bob".into()], id));
    let waiting = stage.store.waiting();
    let [clone] = &waiting[..] else { panic!("{waiting:?}") };
    assert_eq!((&clone.prepend[..], clone.sender.as_str()), ("Delivered-To: alice@host\r\nX: y\r\n", "s@x"));
    assert_eq!(clone.recipients[1].orcpt, "rfc822;alice@host", "the sender's wishes stay");
    assert!(stage.has_line(&format!("{id}: {}: clone: forwarded", clone.id)), "{:#?}", stage.lines());
}

/// Lists with owners whose members forward to each other's lists: each person gets one copy, and it ends.
#[tokio::test]
async fn circles_through_lists_end() {
    let forwards: &[(&str, &[&str])] = &[("alice", &["l1", "l2"]), ("bob", &["l2", "l1"])];
    let stage = Stage::new(agents(forwards), Settings::default());
    list(&stage, "l1", "o1", &["alice", "bob", "carol"]);
    list(&stage, "l2", "o2", &["alice", "bob", "dave"]);
    stage.submit(stage.envelope("s@x", &[("alice@host", "local:alice")]), b"A: b\r\n\r\n");
    stage.until("finished", |s| s.store.waiting().is_empty() && s.store.claimed() == 0).await;
    let mut all: Vec<String> = stage.store.finished().iter().flat_map(got).collect();
    all.sort();
    all.dedup();
    assert_eq!(all, ["local:\\alice", "local:\\bob", "local:carol", "local:dave"]);
    assert!(stage.store.finished().len() < 12, "{:#?}", stage.store.finished());
}

fn list(stage: &Stage, name: &str, owner: &str, members: &[&str]) {
    let owner = Owner { given: Address::from_parts(owner, None), shown: Address::from_parts(owner, Some("shown")) };
    let members = members.iter().map(|member| (*member).to_owned()).collect();
    stage.routes.lists.lock().unwrap().insert(name.to_owned(), (owner, members));
}

#[tokio::test]
async fn a_chain_has_an_end() {
    let names: Vec<String> = (0..20).map(|n| format!("u{n}")).collect();
    let lines: Vec<[&str; 1]> = (0..20).map(|n| [names[(n + 1) % 20].as_str()]).collect();
    let forwards: Vec<(&str, &[&str])> = (0..20).map(|n| (names[n].as_str(), &lines[n][..])).collect();
    let agents = agents(&forwards);
    let stage = Stage::new(agents, Settings::default());
    stage.submit(stage.envelope("s@x", &[("u0@host", "local:u0")]), b"A: b\r\n\r\n");
    stage
        .until("bounced", |s| s.lines().iter().any(|line| line.contains("loop broken (11 aliases deep; 10 max)")))
        .await;
}

#[tokio::test]
async fn who_has_no_forward_after_all_gets_it_in_his_mailbox() {
    let agents = agents(&[("alice", &[])]);
    agents.forwards.lock().unwrap().clear();
    let (got, _) = delivered(agents.clone(), &["alice"]).await;
    assert_eq!(got, ["local:alice"]);
    assert_eq!(agents.started.load(Ordering::SeqCst), 2, "one for the mailbox, one that reads");
}

#[tokio::test]
async fn what_cannot_be_routed_now_commits_nothing() {
    let stage = Stage::new(agents(&[("alice", &["bob"])]), Settings::default());
    stage.routes.unavailable.store(true, Ordering::SeqCst);
    let id = stage.submit(stage.envelope("s@x", &[("alice@host", "local:alice")]), b"A: b\r\n\r\n");
    stage.until("deferred", |s| s.has_line("stat=Deferred: no route for bob now")).await;
    let one = stage.store.one(id);
    assert!(one.recipients.len() == 1 && matches!(one.recipients[0].state, State::Deferred(_)), "{one:?}");
}
