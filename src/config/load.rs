//! From a KDL tree to settings, driven by the declarations. Called by [`crate::Config::load`].

use crate::draft::Draft;
use crate::problem::{Place, Severity, did_you_mean};
use crate::schema::{ENTRY, Item, Node, Part};
use crate::setting::{LATER, NODES};
use crate::source::{Sources, plain};
use kdl::{KdlDocument, KdlEntry, KdlNode, KdlValue};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Deepest chain of `include`.
const DEPTH: usize = 10;

/// Where each setting was given, by its path: `queue.retry@min`, `listen#0`.
pub type Places = BTreeMap<String, Place>;

/// A configuration being read.
#[derive(Debug, Default)]
pub struct Reader {
    /// Files and problems.
    pub sources: Sources,
    /// Settings so far.
    pub draft: Draft,
    /// Where they stand.
    pub places: Places,
    /// Files that include one another, outermost first.
    stack: Vec<PathBuf>,
}

impl Reader {
    /// Reads a file and what it includes. A missing one is an empty one, with a warning, if it is the first.
    pub fn file(&mut self, path: &Path) {
        let name = path.display().to_string();
        match self.sources.read(path) {
            Ok(bytes) => self.bytes(path, &name, bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.stack.is_empty() => {
                let text = "no such file; the defaults are used";
                self.sources.about_file(Severity::Warning, &name, text);
            }
            Err(error) => self.sources.about_file(Severity::Error, &name, plain(&error)),
        }
    }

    fn bytes(&mut self, path: &Path, name: &str, bytes: Vec<u8>) {
        match String::from_utf8(bytes) {
            Ok(text) => {
                self.stack.push(path.canonicalize().unwrap_or_else(|_| path.to_owned()));
                self.text(name, text);
                self.stack.pop();
            }
            Err(error) => {
                let line =
                    1 + error.as_bytes().iter().take(error.utf8_error().valid_up_to()).filter(|b| **b == b'\n').count();
                let line = u32::try_from(line).unwrap_or(u32::MAX);
                self.sources.about_line(Severity::Error, name, line, "not UTF-8");
            }
        }
    }

    /// Reads a text.
    pub fn text(&mut self, name: &str, text: String) {
        let source = self.sources.add(name, text);
        let Some(document) = self.sources.parse(source) else {
            return;
        };
        for node in document.nodes() {
            self.top(node, source);
        }
    }

    fn top(&mut self, node: &KdlNode, source: usize) {
        let name = node.name().value();
        let place = place(source, node.name().span().offset());
        if name == "include" {
            self.include(node, place);
        } else if LATER.contains(&name) {
            self.sources.error(place, format!("\"{name}\" is not built yet"));
        } else {
            self.declared(node, NODES, "", source);
        }
    }

    fn include(&mut self, node: &KdlNode, place: Place) {
        let [entry] = node.entries() else {
            return self.sources.error(place, "\"include\" needs one argument, a file");
        };
        let (None, KdlValue::String(file), None) = (entry.name(), entry.value(), node.children()) else {
            return self.sources.error(place, "\"include\" needs one argument, a file");
        };
        let folder = self.stack.last().and_then(|p| p.parent()).unwrap_or(Path::new(""));
        let path = folder.join(file);
        let known = path.canonicalize().unwrap_or_else(|_| path.clone());
        if self.stack.contains(&known) {
            return self.sources.error(place, format!("\"{file}\" includes itself"));
        }
        if self.stack.len() >= DEPTH {
            return self.sources.error(place, format!("includes are nested deeper than {DEPTH}"));
        }
        match self.sources.read(&path) {
            Ok(bytes) => self.bytes(&path, &path.display().to_string(), bytes),
            Err(error) => self.sources.error(place, format!("{}: {}", path.display(), plain(&error))),
        }
    }

    /// A node that must be one of `nodes`.
    fn declared(&mut self, node: &KdlNode, nodes: &'static [Node], parent: &str, source: usize) {
        let name = node.name().value();
        let at = place(source, node.name().span().offset());
        let Some(known) = nodes.iter().find(|known| known.name == name) else {
            let top = if parent.is_empty() { "include" } else { "" };
            let near = did_you_mean(name, nodes.iter().map(|n| n.name).chain((!top.is_empty()).then_some(top)));
            let inside = if parent.is_empty() { String::new() } else { format!(" in \"{parent}\"") };
            return self.sources.error(at, format!("unknown node \"{name}\"{inside}{near}"));
        };
        if let Some(ty) = node.ty() {
            let place = place(source, ty.span().offset());
            self.sources.error(place, "type annotations are not used here");
        }
        let path = if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
        let path = match &known.repeat {
            Some(repeat) => {
                let n = (repeat.count)(&self.draft);
                (repeat.begin)(&mut self.draft);
                format!("{path}#{n}")
            }
            None => path,
        };
        // A block may be given in pieces; the settings in it are checked one by one.
        if !known.items.is_empty() && !self.once(&path, name, at) {
            return;
        }
        self.entries(node, known, &path, source);
        if let Some(children) = node.children() {
            self.children(children, known, &path, source);
        }
    }

    /// Notes where something was given; `false` and an error if it was given before.
    fn once(&mut self, path: &str, name: &str, at: Place) -> bool {
        if let Some(first) = self.places.get(path) {
            let text = format!("\"{name}\" is already set at {}", self.sources.show(*first));
            self.sources.error(at, text);
            return false;
        }
        self.places.insert(path.to_owned(), at);
        true
    }

    fn children(&mut self, children: &KdlDocument, known: &'static Node, path: &str, source: usize) {
        for child in children.nodes() {
            let name = child.name().value();
            let at = place(source, child.name().span().offset());
            if known.later.contains(&name) {
                self.sources.error(at, format!("\"{name}\" in \"{}\" is not built yet", known.name));
            } else if known.children.is_empty() {
                self.sources.error(at, format!("\"{}\" takes no block", known.name));
            } else {
                self.declared(child, known.children, path, source);
            }
        }
    }

    fn entries(&mut self, node: &KdlNode, known: &'static Node, path: &str, source: usize) {
        let mut arguments = 0usize;
        for entry in node.entries() {
            if let Some(item) = self.item_of(entry, known, &mut arguments, path, source) {
                self.take(item, entry, source);
            }
        }
        let at = place(source, node.name().span().offset());
        let switch = known.items.iter().find(|item| item.part == Part::Switch);
        if let Some(item) = switch.filter(|_| arguments == 0) {
            // Cannot fail: a switch is a flag.
            let _ = (item.set)(&mut self.draft, &KdlValue::Bool(true));
        }
        for item in known.items.iter().filter(|item| item.required) {
            match item.part {
                Part::Property(name) if !self.places.contains_key(&format!("{path}@{name}")) => {
                    self.sources.error(at, format!("\"{}\" needs {name}=, {}", known.name, (item.what)()));
                }
                Part::Argument if arguments == 0 => {
                    self.sources.error(at, format!("\"{}\" needs {}", known.name, (item.what)()));
                }
                _ => {}
            }
        }
        if known.is_table() {
            let block = node.children().map(KdlDocument::nodes).unwrap_or_default();
            if arguments == 0 && !block.iter().any(|child| child.name().value() == ENTRY) {
                let what = known.items.first().map(|item| (item.what)()).unwrap_or_default();
                self.sources.error(at, format!("\"{}\" needs {what}, or an \"{ENTRY}\" in its block", known.name));
            }
        } else if known.items.iter().all(|item| !item.required && item.part != Part::Switch)
            && !known.items.is_empty()
            && node.entries().is_empty()
            && (known.children.is_empty() || node.children().is_none())
        {
            let what = known.items.first().map(|item| (item.what)()).unwrap_or_default();
            self.sources.error(at, format!("\"{}\" needs {what}", known.name));
        }
    }

    /// The declaration that an entry belongs to; an error if there is none or it was used up.
    fn item_of(
        &mut self,
        entry: &KdlEntry,
        known: &'static Node,
        arguments: &mut usize,
        path: &str,
        source: usize,
    ) -> Option<&'static Item> {
        let at = place(source, entry.span().offset());
        let at = place(source, at.offset + blanks(self.sources.text(source), at.offset));
        let Some(name) = entry.name() else {
            *arguments += 1;
            let one = *arguments == 1;
            let item = known.items.iter().find(|item| match item.part {
                Part::Argument | Part::Switch => one,
                Part::Arguments => true,
                Part::Property(_) => false,
            });
            if item.is_none() {
                self.sources.error(at, format!("unexpected argument of \"{}\"", known.name));
            }
            return item;
        };
        let name = name.value();
        let names = || {
            known.items.iter().filter_map(|item| match item.part {
                Part::Property(name) => Some((name, item)),
                _ => None,
            })
        };
        let Some((_, item)) = names().find(|(known, _)| *known == name) else {
            let near = did_you_mean(name, names().map(|(name, _)| name));
            self.sources.error(at, format!("unknown property \"{name}\" of \"{}\"{near}", known.name));
            return None;
        };
        self.once(&format!("{path}@{name}"), &format!("{name}="), at).then_some(item)
    }

    fn take(&mut self, item: &Item, entry: &KdlEntry, source: usize) {
        let text = self.sources.text(source);
        let start = entry.span().offset();
        let start = start + blanks(text, start);
        // Point at the value, not at the property's name.
        let value = entry.name().map_or(start, |name| {
            let after = name.span().offset() + name.span().len();
            let rest = text.get(after..).unwrap_or_default();
            after + rest.len() - rest.trim_start().trim_start_matches('=').trim_start().len()
        });
        let at = place(source, value);
        if entry.ty().is_some() {
            return self.sources.error(at, "type annotations are not used here");
        }
        if let Err(text) = (item.set)(&mut self.draft, entry.value()) {
            self.sources.error(at, text);
        }
    }
}

/// Length of the blanks at an offset.
fn blanks(text: &str, offset: usize) -> usize {
    let rest = text.get(offset..).unwrap_or_default();
    rest.len() - rest.trim_start().len()
}

const fn place(source: usize, offset: usize) -> Place {
    Place { source, offset }
}
