//! Shared by the targets that read files through a descriptor: one file that has the input of each run.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Seek, Write};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// A file with these bytes; the same file in each run.
pub fn stored(bytes: &[u8]) -> File {
    thread_local!(static FILE: RefCell<Option<File>> = const { RefCell::new(None) });
    FILE.with_borrow_mut(|file| {
        let file = file.get_or_insert_with(|| {
            let path = std::env::temp_dir().join(format!("fuzz-{}", std::process::id()));
            let file = File::options().read(true).write(true).create_new(true).open(&path).expect("a file");
            std::fs::remove_file(path).expect("our own file");
            file
        });
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(bytes)).expect("room");
        file.try_clone().expect("a descriptor")
    })
}

/// The answer of something that has nothing to wait for.
pub fn wait<T>(answer: impl Future<Output = T>) -> T {
    match pin!(answer).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("it does not wait"),
    }
}
