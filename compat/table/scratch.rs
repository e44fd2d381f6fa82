//! For the unit tests of this folder: tables from text, and a way to wait without a runtime.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use table::{Answer, Hit, Table, Unavailable};

/// A table from its text, as the daemon has it.
pub(crate) fn raw(text: &str) -> Arc<dyn Table> {
    Arc::new(table::text::Text::new("/t", text.as_bytes().to_vec()).unwrap())
}

/// The answer of a look-up: tables in memory are always ready.
pub(crate) fn wait<T>(answer: impl Future<Output = T>) -> T {
    match pin!(answer).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("a table in memory does not wait"),
    }
}

/// A table that cannot be read.
pub(crate) struct Broken;

impl Table for Broken {
    fn look_up<'a>(&'a self, _key: &'a str) -> Answer<'a, Hit> {
        Box::pin(std::future::ready(Err(Unavailable("disk on fire".to_owned()))))
    }
}
