//! What a declaration is. The table of all of them is in `setting.rs`; the parser (`load.rs`), the checks and the texts
//! (`show.rs`) read nothing else.

use crate::draft::Draft;
use kdl::KdlValue;

/// The node with an entry of a table.
pub const ENTRY: &str = "entry";

/// Where a value stands in its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The one argument, which must be there.
    Argument,
    /// An argument that means `#true` if it is left out.
    Switch,
    /// Any number of arguments.
    Arguments,
    /// A property.
    Property(&'static str),
}

/// One value.
#[derive(Debug)]
pub struct Item {
    /// Where it stands.
    pub part: Part,
    /// One sentence.
    pub about: &'static str,
    /// Type, unit and limits.
    pub what: fn() -> String,
    /// Whether the node is useless without it (arguments always are).
    pub required: bool,
    /// Decodes and keeps a value; in a node that may be repeated, for the last one begun.
    pub set: fn(&mut Draft, &KdlValue) -> Result<(), String>,
    /// The values as KDL, of the n-th node of its name: none, one or several.
    pub get: fn(&Draft, usize) -> Vec<String>,
}

/// One node.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: &'static str,
    /// One sentence; empty for a node with a single argument, whose sentence says it all.
    pub about: &'static str,
    /// Its arguments and properties.
    pub items: &'static [Item],
    /// Nodes in its block.
    pub children: &'static [Node],
    /// For a node that may be given several times.
    pub repeat: Option<Repeat>,
    /// Children known by name that are not built yet.
    pub later: &'static [&'static str],
}

/// How a node that may be given several times is kept.
#[derive(Clone, Copy, Debug)]
pub struct Repeat {
    /// Begins another one.
    pub begin: fn(&mut Draft),
    /// How many there are.
    pub count: fn(&Draft) -> usize,
}

impl Node {
    /// A node with arguments and properties only.
    pub const fn new(name: &'static str, about: &'static str, items: &'static [Item]) -> Self {
        Self { name, about, items, children: &[], repeat: None, later: &[] }
    }
    /// A node that holds others; it may be given several times, its settings may not.
    pub const fn block(name: &'static str, about: &'static str, children: &'static [Self]) -> Self {
        Self { children, ..Self::new(name, about, &[]) }
    }
    /// With children as well.
    pub const fn with(self, children: &'static [Self]) -> Self {
        Self { children, ..self }
    }
    /// May be given several times.
    pub const fn repeated(self, begin: fn(&mut Draft), count: fn(&Draft) -> usize) -> Self {
        Self { repeat: Some(Repeat { begin, count }), ..self }
    }
    /// With names of children that a later version has.
    pub const fn later(self, later: &'static [&'static str]) -> Self {
        Self { later, ..self }
    }
    /// Whether it is a table, whose entries may stand in its block instead of a file.
    pub fn is_table(&self) -> bool {
        self.entries().is_some()
    }
    /// Counts the entries in its block.
    pub fn entries(&self) -> Option<fn(&Draft) -> usize> {
        self.children.iter().find(|child| child.name == ENTRY)?.repeat.map(|repeat| repeat.count)
    }
    /// The sentence for the reference.
    pub fn sentence(&self) -> &'static str {
        match self.items.first() {
            Some(item) if self.about.is_empty() => item.about,
            _ => self.about,
        }
    }
}

/// One value kept in a field of [`Draft`].
macro_rules! item {
    ($part:expr, $type:ty, $($field:ident).+, $about:expr) => {
        Item {
            part: $part,
            about: $about,
            what: <$type as Scalar>::what,
            required: matches!($part, Part::Argument),
            set: |draft, value| {
                draft.$($field).+ = scalar::<$type>(value)?;
                Ok(())
            },
            get: |draft, _| <$type as Scalar>::show(&draft.$($field).+).into_iter().collect(),
        }
    };
}

/// Several values kept in a `Vec` of [`Draft`].
macro_rules! list {
    ($part:expr, $type:ty, $($field:ident).+, $about:expr) => {
        Item {
            part: $part,
            about: $about,
            what: <$type as Scalar>::what,
            required: false,
            set: |draft, value| {
                draft.$($field).+.push(scalar::<$type>(value)?);
                Ok(())
            },
            get: |draft, _| draft.$($field).+.iter().filter_map(<$type as Scalar>::show).collect(),
        }
    };
}

/// One value kept in a field of the last element of a `Vec`: `listen[address]`.
macro_rules! each {
    ($part:expr, $type:ty, $list:ident[$field:ident], $about:expr) => {
        Item {
            part: $part,
            about: $about,
            what: <$type as Scalar>::what,
            required: matches!($part, Part::Argument),
            set: |draft, value| {
                if let Some(last) = draft.$list.last_mut() {
                    last.$field = scalar::<$type>(value)?;
                }
                Ok(())
            },
            get: |draft, n| {
                let field = draft.$list.get(n).map(|one| &one.$field);
                field.and_then(<$type as Scalar>::show).into_iter().collect()
            },
        }
    };
}

/// Several values kept in a `Vec` of the last element of a `Vec`.
macro_rules! each_list {
    ($part:expr, $type:ty, $list:ident[$field:ident], $about:expr) => {
        Item {
            part: $part,
            about: $about,
            what: <$type as Scalar>::what,
            required: false,
            set: |draft, value| {
                if let Some(last) = draft.$list.last_mut() {
                    last.$field.push(scalar::<$type>(value)?);
                }
                Ok(())
            },
            get: |draft, n| {
                let field = draft.$list.get(n).map(|one| &one.$field[..]).unwrap_or_default();
                field.iter().filter_map(<$type as Scalar>::show).collect()
            },
        }
    };
}

/// A node with one argument and nothing else.
macro_rules! setting {
    ($name:literal, $type:ty, $($field:ident).+, $about:expr) => {
        Node::new($name, "", all![item!(Part::Argument, $type, $($field).+, $about)])
    };
}

/// A list of declarations that lives for ever, as an argument of a `const fn`.
macro_rules! all {
    ($($one:expr),* $(,)?) => { const { &[$($one),*] } };
}

pub(crate) use {all, each, each_list, item, list, setting};
