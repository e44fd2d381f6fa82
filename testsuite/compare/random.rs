//! A small seeded generator (splitmix64): the same seed makes the same cases on every machine and with every compiler.

/// State of the generator.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }
    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// Below `n`, which is not 0.
    pub const fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    /// Once in `n` times.
    pub const fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    /// One of these.
    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
    /// Some of these, in their order, at least one.
    pub fn some<T: Clone>(&mut self, of: &[T]) -> Vec<T> {
        loop {
            let chosen: Vec<T> = of.iter().filter(|_| self.one_in(2)).cloned().collect();
            if !chosen.is_empty() {
                return chosen;
            }
        }
    }
    /// The text in another mixture of cases.
    pub fn recase(&mut self, text: &str) -> String {
        if self.below(3) > 0 {
            return text.to_owned();
        }
        text.chars().map(|c| if self.one_in(2) { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }).collect()
    }
}
