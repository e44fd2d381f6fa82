//! Records, frames, segments and checkpoints of the spool: no bytes on the disk stop a start, and an envelope comes back from what it is written as.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| queue::spool::inspect::exercise(data));
