//! The simple cases, each across a restart.

use super::*;
use crate::{Change, Content, Error, Expansion, NewState, Notice, Select, State};
use mail::Status;

fn change(recipient: u32, state: NewState) -> Change {
    Change {
        recipient,
        state,
        at: NOW.wall,
        status: Some(Status::success(0, 0)),
        reply: "ok".into(),
        attempted: true,
        warned: false,
    }
}

async fn bytes(spool: &Spool, id: mail::QueueId) -> Vec<u8> {
    match spool.content(id).await.unwrap() {
        Content::Memory(bytes) => bytes.to_vec(),
        Content::File { file, length } => {
            let mut bytes = vec![0; length as usize];
            durable::read_at_most(&file, &mut bytes, 0).unwrap();
            bytes
        }
    }
}

#[tokio::test]
async fn a_message_survives_and_is_finished() {
    let folder = Folder::new();
    let spool = open(&folder.settings());
    let accepted = accept(&*spool, &["a", "b"], b"Subject: x\r\n\r\nhello\r\n").await;
    let id = accepted.envelope.id;
    assert_eq!(accepted.envelope.size, 21);
    assert!(accepted.envelope.recipients.iter().all(|r| r.state == State::InFlight));
    assert!(matches!(accepted.content, Some(Content::Memory(_))));
    assert_eq!(spool.claim(NOW, 10), [], "it is handed out");
    spool.record(id, vec![change(0, NewState::Delivered)]).await.unwrap();
    spool.record(id, vec![change(1, NewState::Deferred(NOW.wall + 1000))]).await.unwrap();
    assert_eq!(spool.next_due(), Some(NOW.wall + 1000));
    drop(accepted);
    drop(spool);

    let (spool, recovery) = Spool::open(&folder.settings(), NOW).unwrap();
    assert_eq!((recovery.messages, recovery.lines), (1, vec![]));
    assert_eq!(bytes(&spool, id).await, b"Subject: x\r\n\r\nhello\r\n");
    let envelope = spool.load(id).await.unwrap();
    assert_eq!(envelope.recipients[0].state, State::Delivered);
    assert_eq!(envelope.recipients[1].state, State::Deferred(NOW.wall + 1000));
    assert_eq!(envelope.recipients[1].tries, 1);
    assert_eq!(envelope.recipients[1].last_reply, "ok");
    assert_eq!(spool.claim(NOW, 10), []);
    assert_eq!(spool.claim(NOW.plus(1000), 10), [id]);
    assert!(spool.list(Select::default(), None, 10).await.unwrap()[0].active);
    spool.record(id, vec![change(1, NewState::Bounced)]).await.unwrap();
    assert_eq!(spool.load(id).await.unwrap_err(), Error::Unknown);
    assert_eq!(spool.count(Select::default()).await, Ok(0));
    assert!(spool.new_id(NOW) > id);
    drop(spool);
    let (spool, recovery) = Spool::open(&folder.settings(), NOW).unwrap();
    assert_eq!((recovery.messages, recovery.lines), (0, vec![]));
    assert!(spool.new_id(NOW).counter() > id.counter());
}

#[tokio::test]
async fn a_large_body_has_its_own_file_and_goes_with_its_message() {
    let folder = Folder::new();
    let spool = open(&folder.settings());
    let body: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
    let id = accept(&*spool, &["a"], &body).await.envelope.id;
    let bodies = || std::fs::read_dir(folder.0.join("bodies")).unwrap().count();
    assert_eq!((bodies(), bytes(&spool, id).await == body), (1, true));
    drop(spool);
    std::fs::write(folder.0.join("bodies/tmp.left-over"), b"x").unwrap();
    let spool = open(&folder.settings());
    assert_eq!((bodies(), bytes(&spool, id).await == body), (1, true));
    assert_eq!(spool.claim(NOW, 1), [id]);
    spool.record(id, vec![change(0, NewState::Delivered)]).await.unwrap();
    drop(spool);
    let _spool = open(&folder.settings());
    assert_eq!(bodies(), 0);
}

#[tokio::test]
async fn a_second_start_hears_who_has_the_spool() {
    let folder = Folder::new();
    let _spool = open(&folder.settings());
    let error = Spool::open(&folder.settings(), NOW).err().unwrap().to_string();
    assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
}

#[tokio::test]
async fn expansion_and_bounce_are_one_frame_each() {
    let folder = Folder::new();
    let spool = open(&folder.settings());
    let id = accept(&*spool, &["list"], b"x").await.envelope.id;
    let child = |n: u32| {
        let mut child = Recipient::new("list", Address::from_parts(&format!("m{n}"), None), "local");
        child.parent = Some(0);
        child
    };
    let into = |children| Expansion { parents: vec![0], children, clones: Vec::new() };
    let envelope = spool.expand(id, into(vec![child(1), child(2)])).await.unwrap().envelope.unwrap();
    let states: Vec<State> = envelope.recipients.iter().map(|r| r.state).collect();
    assert_eq!(states, [State::Expanded, State::InFlight, State::InFlight]);
    assert!(spool.expand(id, into(vec![child(3)])).await.is_err(), "not twice");
    let notice = Notice { envelope: super::envelope(&*spool, &["sender"]), content: "bounce".into() };
    let changes = vec![change(1, NewState::Bounced), change(2, NewState::Delivered)];
    let bounce = spool.record_with(id, changes, notice).await.unwrap().envelope.id;
    assert_eq!(spool.load(id).await.unwrap_err(), Error::Unknown);
    drop(spool);
    let spool = open(&folder.settings());
    let list = spool.list(Select::default(), None, 10).await.unwrap();
    let ids: Vec<_> = list.iter().map(|summary| summary.envelope.id).collect();
    assert_eq!(ids, [bounce]);
    assert_eq!(list[0].envelope.recipients[0].state, State::Due { perhaps_delivered: true });
}

/// The members of a list get an envelope of their own with the same content, which stays as long as one of them needs it.
#[tokio::test]
async fn an_expansion_with_clones_is_one_frame_and_they_share_the_content() {
    for length in [10, 100_000] {
        let folder = Folder::new();
        let spool = open(&folder.settings());
        let body = vec![b'x'; length];
        let id = accept(&*spool, &["list", "late"], &body).await.envelope.id;
        let clone = || super::envelope(&*spool, &["m1", "m2"]);
        let expansion = || Expansion { parents: vec![0], children: Vec::new(), clones: vec![clone()] };
        spool.record(id, vec![change(1, NewState::Deferred(NOW.wall + 9_000))]).await.unwrap();
        assert_eq!(spool.hold(Select::default(), "why".into()).await, Ok(1));
        assert!(spool.expand(id, expansion()).await.is_err(), "what is on hold sends nothing out");
        assert_eq!(spool.release(Select::default()).await, Ok(1));
        let expanded = spool.expand(id, expansion()).await.unwrap();
        let [one] = &expanded.clones[..] else { panic!("{expanded:?}") };
        assert_eq!((one.envelope.size, one.envelope.recipients[1].state), (length as u64, State::InFlight));
        let due = spool.next_due();
        assert_eq!(due, Some(NOW.wall + 9_000), "nothing of the message is in flight: it is given back");
        let one = one.envelope.id;
        assert_eq!(spool.delete(Select { ids: vec![id], ..Select::default() }).await, Ok(1));
        spool.record(one, vec![change(0, NewState::Delivered)]).await.unwrap();
        drop(spool);
        let spool = open(&folder.settings());
        let list = spool.list(Select::default(), None, 10).await.unwrap();
        assert_eq!(list.iter().map(|summary| summary.envelope.id).collect::<Vec<_>>(), [one]);
        assert_eq!(spool.content(one).await.unwrap().len(), length as u64);
        spool.record(one, vec![change(1, NewState::Delivered)]).await.unwrap();
        assert_eq!(spool.count(Select::default()).await, Ok(0));
    }
}

#[tokio::test]
async fn verbs_last() {
    let folder = Folder::new();
    let spool = open(&folder.settings());
    let mut ids = Vec::new();
    for n in 0..100 {
        let id = accept(&*spool, &[&format!("user{n}")], b"x").await.envelope.id;
        spool.release_claim(id, NOW.wall + 5000);
        ids.push(id);
    }
    let one = |n: usize| Select { recipient: Some(format!("USER{n}@")), ..Select::default() };
    assert_eq!(spool.hold(Select::default(), "audit".into()).await, Ok(100));
    assert_eq!(spool.release(one(7)).await, Ok(1));
    assert_eq!(spool.delete(one(8)).await, Ok(1));
    assert_eq!(spool.claim(NOW.plus(5000), 100), [ids[7]]);
    drop(spool);
    let spool = open(&folder.settings());
    let held = Select { held: Some(true), reason: Some("AUDIT".into()), ..Select::default() };
    assert_eq!(spool.count(held).await, Ok(98));
    assert_eq!(spool.claim(NOW, 100), [ids[7]]);
    let page = spool.list(Select::default(), Some(ids[8]), 5).await.unwrap();
    let page: Vec<_> = page.iter().map(|summary| summary.envelope.id).collect();
    assert_eq!(page, ids[9..14]);
    let plain = Select { ids: vec![ids[3], ids[8]], ..Select::default() };
    assert_eq!(spool.flush(plain).await, Ok(1));
}

#[tokio::test]
async fn sendmails_selectors() {
    use crate::{Part, Pattern};
    let folder = Folder::new();
    let spool = open(&folder.settings());
    let mut ids = Vec::new();
    for to in [&["alice", "bob"][..], &["bob"], &["carol"]] {
        ids.push(accept(&*spool, to, b"x").await.envelope.id.to_string());
    }
    let last = ids.last().unwrap().as_str();
    for (wanted, patterns) in [
        (2, &[(Part::Recipient, "BOB", false)][..]),
        // One recipient without it is enough.
        (2, &[(Part::Recipient, "bob@", true)]),
        (2, &[(Part::Recipient, "alice", false), (Part::Recipient, "carol", false)]),
        (1, &[(Part::Recipient, "bob", false), (Part::Recipient, "alice", false), (Part::Id, &ids[0], false)]),
        (2, &[(Part::Id, last, true)]),
        (3, &[(Part::Recipient, "", false)]),
        (0, &[(Part::Recipient, "", true)]),
        (0, &[(Part::Sender, "nobody at all", false)]),
        (3, &[(Part::Sender, "nobody at all", true)]),
        (0, &[(Part::Reason, "", false)]),
    ] {
        let one = |&(part, text, negated): &(Part, &str, bool)| Pattern { part, text: text.to_owned(), negated };
        let select = Select { patterns: patterns.iter().map(one).collect(), ..Select::default() };
        assert_eq!(spool.count(select).await, Ok(wanted), "{patterns:?}");
    }
    let only = Select { ids: vec![mail::QueueId::parse(last).unwrap()], ..Select::default() };
    assert_eq!(spool.hold(only, "Audit".into()).await, Ok(1));
    for (wanted, text, negated) in [(1, "Aud", false), (0, "aud", false), (1, "x", true)] {
        let pattern = Pattern { part: Part::Reason, text: text.to_owned(), negated };
        let select = Select { held: Some(true), patterns: vec![pattern], ..Select::default() };
        assert_eq!(spool.count(select).await, Ok(wanted), "{text}");
    }
}

#[tokio::test]
async fn many_messages_recycle_their_segments() {
    let folder = Folder::new();
    let spool = open(&folder.settings());
    let stays = accept(&*spool, &["stays"], b"stays").await.envelope.id;
    for n in 0..300 {
        let id = accept(&*spool, &["a"], &[n as u8; 4000]).await.envelope.id;
        drop(spool.record(id, vec![change(0, NewState::Delivered)]));
    }
    accept(&*spool, &["b"], b"").await;
    assert_eq!(spool.statistics().messages, 2);
    assert!(spool.statistics().segments < 8, "{:?}", spool.statistics());
    assert_eq!(bytes(&spool, stays).await, b"stays");
    drop(spool);
    let (spool, recovery) = Spool::open(&folder.settings(), NOW).unwrap();
    assert_eq!((recovery.messages, recovery.lines), (2, vec![]));
    assert_eq!(bytes(&spool, stays).await, b"stays");
}

#[tokio::test]
async fn an_operator_sees_a_spool_that_nobody_runs() {
    let folder = Folder::new();
    let spool = open(&folder.settings());
    let small = accept(&*spool, &["a", "b"], b"small").await.envelope.id;
    let large = accept(&*spool, &["c"], &[b'x'; 100_000]).await.envelope.id;
    drop(spool.record(small, vec![change(1, NewState::Delivered)]));
    assert_eq!(spool.hold(Select { ids: vec![large], ..Select::default() }, "why".into()).await, Ok(1));
    drop(spool);
    let mut found = Vec::new();
    let lines = crate::spool::inspect::inspect(&folder.0, |message| found.push(message)).unwrap();
    assert_eq!(lines, [""; 0]);
    assert_eq!(found.iter().map(|message| message.id).collect::<Vec<_>>(), [small, large]);
    let envelope = found[0].envelope.as_ref().unwrap();
    assert_eq!(envelope.recipients[1].state, State::Delivered);
    assert_eq!(found[1].envelope.as_ref().unwrap().hold.as_deref(), Some("why"));
    assert_eq!(found[1].content.as_ref().unwrap().len(), 100_000);
}

#[tokio::test]
async fn a_forgotten_answer_gives_the_message_back() {
    let folder = Folder::new();
    let spool = open(&folder.settings());
    let mut writer = spool.write(0).unwrap();
    writer.write(b"x").unwrap();
    let envelope = envelope(&*spool, &["a"]);
    let id = envelope.id;
    drop(spool.accept(writer, vec![envelope]));
    while spool.claim(NOW, 1) != [id] {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_submission_is_known_by_its_id_also_later() {
    let folder = Folder::new();
    let spool = open(&folder.settings());
    let mut writer = spool.write(0).unwrap();
    writer.write(b"x").unwrap();
    let mut envelope = envelope(&*spool, &["a"]);
    envelope.origin.submission = [9; 16];
    let id = envelope.id;
    assert_eq!(spool.submitted([9; 16]), None);
    spool.accept(writer, vec![envelope]).await.unwrap();
    assert_eq!(spool.submitted([9; 16]), Some(id));
    drop(spool);
    let spool = open(&folder.settings());
    assert_eq!(spool.submitted([9; 16]), Some(id));
    spool.delete(Select::default()).await.unwrap();
    spool.close().await.unwrap();
    drop(spool);
    let (spool, recovery) = Spool::open(&folder.settings(), NOW).unwrap();
    assert!(recovery.clean);
    assert_eq!(spool.submitted([9; 16]), Some(id), "finished, but not a day old");
}
