//! The effective settings as KDL, and the reference page. Both come from the declarations alone.

use crate::Config;
use crate::draft::Draft;
use crate::schema::{Item, Node, Part};
use crate::setting::{LATER, NODES};
use std::fmt::Write as _;

impl Config {
    /// The effective settings as KDL that reads back the same; those not given are marked `// default`.
    #[must_use]
    pub fn show(&self) -> String {
        let mut out = String::new();
        for node in NODES {
            Show { config: self, out: &mut out }.node(node, node.name, 0);
        }
        out
    }
}

struct Show<'a> {
    config: &'a Config,
    out: &'a mut String,
}

impl Show<'_> {
    fn node(&mut self, node: &Node, path: &str, depth: usize) {
        let Some(repeat) = &node.repeat else {
            return self.one(node, path, 0, depth);
        };
        let count = (repeat.count)(&self.config.draft);
        for n in 0..count {
            self.one(node, &format!("{path}#{n}"), n, depth);
        }
    }

    /// The n-th node of a name; nothing if nothing in it is set.
    fn one(&mut self, node: &Node, path: &str, n: usize, depth: usize) {
        let (mut line, mut any) = (node.name.to_owned(), false);
        for item in node.items {
            for value in (item.get)(&self.config.draft, n) {
                any = true;
                let _ = match item.part {
                    Part::Property(name) => write!(line, " {name}={value}"),
                    _ => write!(line, " {value}"),
                };
            }
        }
        let draft = &self.config.draft;
        let unset = |item: &Item| (item.get)(draft, n).is_empty();
        let no_entries = || node.entries().is_none_or(|count| count(draft) == 0);
        // A table has a file or entries, and is nothing without either.
        let missing = match node.items.first() {
            Some(file) if node.is_table() => unset(file) && no_entries(),
            _ => node.items.iter().any(|item| item.required && unset(item)),
        };
        if !node.items.is_empty() && (!any || missing) {
            return;
        }
        let indent = "    ".repeat(depth);
        let note = if node.items.is_empty() || self.given(path) { "" } else { " // default" };
        if node.children.is_empty() {
            let _ = writeln!(self.out, "{indent}{line}{note}");
            return;
        }
        let before = self.out.len();
        let _ = writeln!(self.out, "{indent}{line} {{{note}");
        let opened = self.out.len();
        for child in node.children {
            self.node(child, &format!("{path}.{}", child.name), depth + 1);
        }
        if self.out.len() > opened {
            let _ = writeln!(self.out, "{indent}}}");
        } else {
            self.out.truncate(before);
            if !node.items.is_empty() {
                let _ = writeln!(self.out, "{indent}{line}{note}");
            }
        }
    }

    fn given(&self, path: &str) -> bool {
        self.config.given.contains(path)
    }
}

/// The reference page of all settings, Markdown.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from(
        "# Settings\n\nNo setting is mandatory. Durations have units (`d`, `h`, `m`, `s`, `ms`), sizes too (`KiB`, `MiB`, `GiB`, \
         `kB`, `MB`, `GB`, `B`).\n`include \"FILE\"` reads another file, relative to the one it stands in.\n",
    );
    let mut draft = Draft::default();
    for node in NODES {
        if let Some(repeat) = &node.repeat {
            (repeat.begin)(&mut draft);
        }
        section(node, &draft, &mut out);
    }
    let _ = write!(out, "\nNot built yet: `{}`.\n", LATER.join("`, `"));
    out
}

fn section(node: &Node, draft: &Draft, out: &mut String) {
    let _ = write!(out, "\n## {}\n\n{}\n\n", node.name, node.sentence());
    if node.repeat.is_some() {
        out.push_str("May be given several times.\n\n");
    }
    out.push_str("| setting | value | default | |\n|---|---|---|---|\n");
    rows(node, node.name, draft, out);
}

fn rows(node: &Node, path: &str, draft: &Draft, out: &mut String) {
    for item in node.items {
        row(item, path, draft, out);
    }
    for child in node.children {
        rows(child, &format!("{path} {}", child.name), draft, out);
    }
}

fn row(item: &Item, path: &str, draft: &Draft, out: &mut String) {
    let name = match item.part {
        Part::Property(name) => format!("{path} {name}="),
        Part::Arguments => format!("{path} …"),
        Part::Argument | Part::Switch => path.to_owned(),
    };
    let mut default = (item.get)(draft, 0);
    default.retain(|value| value != "\"\"");
    let default = if default.is_empty() { String::new() } else { format!("`{}`", default.join(" ")) };
    let _ = writeln!(out, "| `{name}` | {} | {default} | {} |", (item.what)(), item.about);
}
