//! Every kind answers a key of four megabytes, which no peer can send, at once: a quadratic step would take hours.

use crate::cidr::Cidr;
use crate::pattern::Pattern;
use crate::text::Text;
use crate::{Database, Duplicate, Inline, Lmdb, Origin, Table, Writer};
use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn asked(table: &dyn Table, key: &str) -> Option<String> {
    let waker = std::task::Waker::noop();
    match table.look_up(key).as_mut().poll(&mut std::task::Context::from_waker(waker)) {
        std::task::Poll::Ready(answer) => answer.unwrap().map(|hit| hit.value),
        std::task::Poll::Pending => panic!("nothing to wait for"),
    }
}

#[test]
fn a_key_of_megabytes_is_answered_at_once() {
    let compiled = file(b"");
    let mut writer = Writer::new(&compiled);
    writer.put(b"alice", b"bob", 1, Duplicate::Keep).unwrap();
    writer.finish(Origin::default()).unwrap();
    let compiled = Database::new("/t".into(), compiled).unwrap();
    let berkeley = [
        &include_bytes!("../mail/database/golden/postfix-hash.db")[..],
        include_bytes!("../mail/database/golden/postfix-btree.db"),
    ]
    .map(file);
    let berkeley = berkeley.map(|file| Database::new("/t".into(), file).unwrap());
    let lmdb = Lmdb::new("/t", &file(include_bytes!("golden/map.lmdb"))).unwrap();
    let text = Text::new("/t", b"alice bob\n".to_vec()).unwrap();
    let inline = Inline::new("/t", [("alice".to_owned(), "bob".to_owned())]);
    let (cidr, pattern) = (Cidr::new("/t", b"10.0.0.0/8 x\n"), Pattern::new("/t", b"/^(a|a)*$/ x\n/(.*)b$/ $1\n"));
    let tables: [&dyn Table; 5] = [&text, &inline, &cidr, &pattern, &lmdb];
    for piece in ["a", "\0", "a.", "3", "::", "[", "10.", "IPv6:", "user1@virt.example"] {
        let key = piece.repeat((4 << 20) / piece.len());
        let start = Instant::now();
        assert!(tables.iter().all(|table| asked(*table, &key).is_none()), "{piece:?}");
        assert_eq!(compiled.get(key.as_bytes()), Ok(None));
        assert!(berkeley.iter().all(|table| table.get(key.as_bytes()) == Ok(None)), "{piece:?}");
        assert!(start.elapsed() < Duration::from_secs(10), "{piece:?}: {:?}", start.elapsed());
    }
}
