//! Shared by the targets that look things up: a table that counts how often it is asked, and a wait without a runtime.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use table::{Answer, Hit, Refusal, Table};

/// A text table that counts its look-ups and what they weigh.
pub struct Asked {
    table: table::text::Text,
    count: AtomicUsize,
    octets: AtomicUsize,
}

impl Asked {
    /// Reads the text.
    pub fn new(text: &[u8]) -> Arc<Self> {
        let table = table::text::Text::new("/t", text.to_vec()).expect("shorter than 1 GiB");
        Arc::new(Self { table, count: AtomicUsize::new(0), octets: AtomicUsize::new(0) })
    }

    /// Few look-ups since the last time, whatever the key was; each of at most an address's length and a tag's.
    pub fn was_little(&self) {
        let (count, octets) = (self.count.swap(0, Ordering::Relaxed), self.octets.swap(0, Ordering::Relaxed));
        assert!(count <= 400 && octets <= count * 1_100, "{count} look-ups, {octets} octets");
    }
}

impl Table for Asked {
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Hit> {
        assert!(!key.bytes().any(|b| b.is_ascii_uppercase()), "callers fold");
        self.count.fetch_add(1, Ordering::Relaxed);
        self.octets.fetch_add(key.len(), Ordering::Relaxed);
        self.table.look_up(key)
    }
    fn warnings(&self) -> &[String] {
        self.table.warnings()
    }
}

/// The answer of a look-up in memory.
pub fn wait<T>(answer: impl Future<Output = T>) -> T {
    match pin!(answer).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("a table in memory does not wait"),
    }
}

/// The question on the first line, as user, domain and the rest; the table below it.
pub fn split(data: &[u8]) -> Option<(String, String, &[u8])> {
    let end = data.iter().position(|&b| b == b'\n')?;
    let question = String::from_utf8_lossy(&data[..end]).into_owned();
    let (user, domain) = question.rsplit_once('@').unwrap_or((&question, ""));
    Some((user.to_owned(), domain.to_owned(), &data[end + 1..]))
}

/// A refusal is one that can be sent.
pub fn is_sound(refusal: &Refusal) {
    assert!((400..600).contains(&refusal.code), "{refusal:?}");
    assert_eq!(refusal.status.is_temporary(), refusal.code < 500, "{refusal:?}");
    assert!(!refusal.status.to_string().starts_with('2') && !refusal.text.is_empty(), "{refusal:?}");
    assert!(!refusal.text.contains(char::is_control), "{refusal:?}");
}

/// What `config check` says is one line for each problem.
pub fn is_checked(format: compat_table::check::Format, text: &[u8]) {
    for problem in compat_table::check::check_text(format, "/t", text) {
        let line = problem.to_string();
        assert!(line.starts_with("/t:") && !line.contains(char::is_control), "{line:?}");
    }
}
