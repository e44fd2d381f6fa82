//! genericstable (sendmail.md 3.7): the outside address of a sender. `daemon` wraps a raw table in a [`GenericsTable`] for `route`.

use crate::value::{ADDRESS, ask, domain, fill, plussed};
use std::sync::Arc;
use table::{Answer, Generics, Hit, Mailbox, Table, Unavailable};

/// genericstable over a raw table.
#[derive(Clone)]
pub struct GenericsTable {
    raw: Arc<dyn Table>,
    host: String,
}

impl std::fmt::Debug for GenericsTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GenericsTable({})", self.host)
    }
}

impl GenericsTable {
    /// Wraps a table. `host` is this host's name, `$j`: an unqualified sender is asked for under it first.
    #[must_use]
    pub fn new(raw: Arc<dyn Table>, host: &str) -> Self {
        Self { raw, host: host.to_owned() }
    }

    async fn find(&self, user: &str, at: Option<&str>) -> Result<Option<Hit>, Unavailable> {
        let plus = plussed(user);
        let host = at.unwrap_or(&self.host);
        let mut keys = vec![(format!("{user}@{host}"), None)];
        if let Some((plain, detail)) = plus {
            keys.extend([(format!("{plain}+*@{host}"), Some(detail)), (format!("{plain}@{host}"), None)]);
        }
        // A bare name is never covered by an entry for a whole domain.
        keys.extend(at.map(|at| (format!("@{at}"), Some(user))));
        keys.push((user.to_owned(), None));
        if let Some((plain, detail)) = plus {
            keys.extend([(format!("{plain}+*"), Some(detail)), (plain.to_owned(), None)]);
        }
        for (key, argument) in keys {
            if let Some(mut hit) = ask(&*self.raw, &key).await? {
                hit.value = fill(&hit, &[&key, argument.unwrap_or_default()])?;
                // `%1@far.example` behind a key that has no `%1`: nobody's address, and sendmail goes on as if it had found nothing.
                if !hit.value.starts_with('@') {
                    return Ok(Some(hit));
                }
            }
        }
        Ok(None)
    }
}

impl Generics for GenericsTable {
    fn outside<'a>(&'a self, address: Mailbox<'a>) -> Answer<'a, Hit> {
        Box::pin(async move {
            let at = address.domain.map(|name| domain(name).unwrap_or_default());
            let length = address.user.len() + at.unwrap_or(&self.host).len();
            if address.user.is_empty() || at == Some("") || length >= ADDRESS {
                return Ok(None);
            }
            self.find(address.user, at).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::{raw, wait};

    fn outside(table: &GenericsTable, user: &str, domain: Option<&str>) -> Option<(String, String)> {
        wait(table.outside(Mailbox { user, domain })).unwrap().map(|hit| (hit.why.key, hit.value))
    }

    /// All the keys there are for one address, taken away one after the other.
    #[test]
    fn the_order() {
        let qualified = ["u+d@g.test", "u+*@g.test", "u@g.test", "@g.test", "u+d", "u+*", "u"];
        for first in 0..=qualified.len() {
            let text: String = qualified.iter().skip(first).rev().map(|key| format!("{key}\tfrom-{key}\n")).collect();
            let table = GenericsTable::new(raw(&text), "mx.test");
            let expected = qualified.get(first).map(|key| (*key).to_owned());
            assert_eq!(outside(&table, "U+d", Some("G.Test.")).map(|hit| hit.0), expected);
        }
        let bare = ["u+d@mx.test", "u+*@mx.test", "u@mx.test", "u+d", "u+*", "u"];
        for first in 0..=bare.len() {
            let text: String = bare.iter().skip(first).map(|key| format!("{key} x\n")).collect();
            let table = GenericsTable::new(raw(&format!("{text}@mx.test never\n")), "MX.test");
            assert_eq!(outside(&table, "u+d", None).map(|hit| hit.0), bare.get(first).map(|key| (*key).to_owned()));
        }
    }

    #[test]
    fn parameters() {
        let table =
            GenericsTable::new(raw("a+*@g.test %1.a@x.test\n@g.test %1@all.test\nb+* %1\nc@g.test %1|%0\n"), "mx.test");
        let value = |user, domain| outside(&table, user, domain).map(|hit| hit.1);
        assert_eq!(value("a+One", Some("g.test")).unwrap(), "One.a@x.test");
        assert_eq!(value("Bob+x", Some("g.test")).unwrap(), "Bob+x@all.test");
        assert_eq!(value("b+x", None).unwrap(), "x");
        assert_eq!(value("c", Some("g.test")).unwrap(), "|c@g.test");
        let all = GenericsTable::new(raw("a@g.test %1@x.test\n@g.test x-%1@all.test\n"), "mx.test");
        assert_eq!(outside(&all, "a", Some("g.test")).unwrap().1, "x-a@all.test");
        assert_eq!(value("", None).or(value("u", Some(""))).or(value(&"u".repeat(1_001), None)), None);
    }

    #[test]
    fn a_table_that_cannot_be_asked_is_no_answer() {
        let table = GenericsTable::new(Arc::new(crate::scratch::Broken), "mx.test");
        assert!(wait(table.outside(Mailbox { user: "u", domain: None })).is_err());
    }
}
