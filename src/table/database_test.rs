//! Berkeley DB files made by the real programs (`mail/database/golden/make.sh`) under an open table, and beside a text.

use super::*;
use std::io::Write;
use std::os::unix::fs::FileExt;

const HASH: &[u8] = include_bytes!("../mail/database/golden/hash.db");
const TERMINATED: &[u8] = include_bytes!("../mail/database/golden/terminated.db");

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    file.set_modified(long_ago).unwrap();
    file
}

fn open(file: &File) -> Result<Database, Unavailable> {
    Database::new("/t".into(), file.try_clone().unwrap())
}

#[test]
fn a_change_under_an_open_table_is_noticed() {
    let scratch = file(HASH);
    let table = open(&scratch).unwrap();
    assert!(table.get(b"alice").unwrap().is_some());
    scratch.write_all_at(TERMINATED, 0).unwrap();
    assert_eq!(table.get(b"alice").unwrap_err().0, "/t.db: changed");
    assert_eq!(table.get(b"nobody").unwrap_err().0, "/t.db: changed");
    assert_eq!(table.records().next(), Some(Err(Unavailable("/t.db: changed".into()))));
    // What was written this moment is waited for.
    assert!(Database::new("/t".into(), scratch).unwrap().get(b"alice").unwrap().is_some());
}

#[test]
fn a_time_to_come_is_no_reason_to_wait_for_it() {
    let scratch = file(HASH);
    scratch.set_modified(SystemTime::now() + Duration::from_secs(7_200)).unwrap();
    let start = std::time::Instant::now();
    assert!(Database::new("/t".into(), scratch).unwrap().get(b"alice").unwrap().is_some());
    assert!(start.elapsed() < Duration::from_secs(2));
}

/// Or it had written nothing else: only the text beside it tells.
#[test]
fn no_keys_beside_a_text_that_has_some() {
    let load = |text: Option<&[u8]>, compiled: &[u8]| {
        let text = text.map(file);
        crate::load_map(crate::Source { name: "/t".into(), text, compiled: Some(file(compiled)) }).map(drop)
    };
    let (empty, one): (&[u8], &[u8]) =
        (include_bytes!("../mail/database/golden/empty.db"), include_bytes!("../mail/database/golden/one.db"));
    let told = "/t.db: has no keys, but /t has: was it not finished? Make it again";
    assert_eq!(load(Some(b"# none\nk v\n"), empty).unwrap_err().0, told);
    for (text, compiled) in [(None, empty), (Some(&b"# none\n\n"[..]), empty), (Some(b"k v\n"), one)] {
        assert_eq!(load(text, compiled), Ok(()), "{text:?}");
    }
}

/// `BERKELEY_FILE=/x.db BERKELEY_TEXT=/x cargo test -p table --lib -- --ignored large`: a large file against its text.
#[test]
#[ignore = "needs files made by the real makemap"]
fn a_large_file() {
    let variable = |name| std::env::var(name).unwrap();
    let table = open(&File::open(variable("BERKELEY_FILE")).unwrap()).unwrap();
    let text = std::fs::read(variable("BERKELEY_TEXT")).unwrap();
    let start = std::time::Instant::now();
    let mut count = 0;
    for row in crate::text::rows(&text) {
        let row = row.unwrap();
        let record = table.get(&row.key.to_ascii_lowercase()).unwrap().unwrap();
        assert_eq!(record.value, row.value);
        count += 1;
    }
    println!("{count} look-ups in {:?}", start.elapsed());
    assert_eq!(table.records().map(Result::unwrap).count(), count);
}
