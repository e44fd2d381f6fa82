//! The hash of keys in compiled files, and of texts in memory (`table`). It must never change: files made by one release are read by the
//! next.
//!
//! Salted at random, so that whoever may put keys into a table (a hosting customer, say) cannot choose them to collide.

/// What makes each table's hashes its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salt(pub u64);

/// Folded multiplication: both halves of the 128-bit product.
const fn mix(a: u64, b: u64) -> u64 {
    let product = (a as u128).wrapping_mul(b as u128);
    (product as u64) ^ ((product >> 64) as u64)
}

/// 64 bits of `bytes`.
#[must_use]
pub fn hash(salt: Salt, bytes: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = salt.0 ^ mix(bytes.len() as u64 ^ ODD, 0xd6e8_feb8_6659_fd93);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state = mix(state ^ u64::from_le_bytes(*word), ODD);
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    mix(mix(state ^ u64::from_le_bytes(last), ODD) ^ salt.0.rotate_left(32), 0xa076_1d64_78bd_642f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_what_it_is() {
        let salt = Salt(0x0123_4567_89ab_cdef);
        let known = ["", "a", "postmaster", "user4711@virt.example"].map(|text| hash(salt, text.as_bytes()));
        let expected = [
            17_757_175_686_531_758_417,
            12_139_376_537_051_242_949,
            14_382_099_535_393_003_419,
            1_196_680_293_941_323_009,
        ];
        assert_eq!(known, expected);
    }

    #[test]
    fn spreads() {
        let salt = Salt(0x5bd1_e995_9d2c_5680);
        let mut seen: Vec<u64> =
            (0..100_000).map(|n| hash(salt, format!("user{n}@virt.example").as_bytes()) >> 32).collect();
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() > 99_990, "{}", seen.len());
    }
}
