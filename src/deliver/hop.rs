//! How many connections one hop gets. Pure: told of successes and troubles, answers with a number. Used by `hops`.

/// The window of one hop: how many workers it may have now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    limit: u32,
    most: u32,
    /// Successes in a row since the limit last changed.
    row: u32,
}

impl Window {
    /// `initial` connections at first, never more than `most`; both at least 1.
    pub(crate) fn new(initial: u32, most: u32) -> Self {
        let most = most.max(1);
        Self { limit: initial.clamp(1, most), most, row: 0 }
    }
    /// Workers allowed now.
    pub(crate) const fn limit(self) -> u32 {
        self.limit
    }
    /// A transaction or connection went well. `backlog`: more waits than the present workers have in hand; without it a
    /// wider window would only cost connections.
    pub(crate) fn success(&mut self, backlog: bool) {
        self.row = self.row.saturating_add(1);
        if backlog && self.row >= self.limit && self.limit < self.most {
            self.limit += 1;
            self.row = 0;
        }
    }
    /// A connection was refused, lost, or ended by 421: half as many, at once.
    pub(crate) fn trouble(&mut self) {
        self.limit = (self.limit / 2).max(1);
        self.row = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_at_five_grows_to_twenty_and_halves() {
        let mut window = Window::new(5, 20);
        assert_eq!(window.limit(), 5);
        for _ in 0..5 {
            window.success(true);
        }
        assert_eq!(window.limit(), 6);
        for _ in 0..1_000 {
            window.success(true);
        }
        assert_eq!(window.limit(), 20);
        window.trouble();
        assert_eq!(window.limit(), 10);
        for _ in 0..6 {
            window.trouble();
        }
        assert_eq!(window.limit(), 1);
        window.success(true);
        assert_eq!(window.limit(), 2, "one success is a whole row at width one");
    }

    #[test]
    fn does_not_grow_without_need_nor_after_a_broken_row() {
        let mut window = Window::new(4, 20);
        for _ in 0..100 {
            window.success(false);
        }
        assert_eq!(window.limit(), 4);
        let mut window = Window::new(4, 20);
        for _ in 0..3 {
            window.success(true);
        }
        window.trouble();
        window.success(true);
        assert_eq!(window.limit(), 2);
        assert_eq!(Window::new(0, 0).limit(), 1);
        assert_eq!(Window::new(50, 20).limit(), 20);
    }
}
