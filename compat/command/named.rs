//! Tests that the tables of flags, modes, selectors and options name: each is a test, and its name is in a list.

/// Defines tests and `NAMES`, the list of their names.
macro_rules! named {
    ($(fn $name:ident() $body:block)+) => {
        $(#[test] fn $name() $body)+
        /// The names of the tests above.
        pub(crate) const NAMES: &[&str] = &[$(stringify!($name)),+];
    };
}
pub(crate) use named;
