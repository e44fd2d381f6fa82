//! Tables made of others: [`FallThrough`] (the first that has the key), [`Union`] (all that have it) and [`Named`] (one, with its name).
//! Called by `daemon` where the configuration names several.

use crate::{Answer, Hit, Part, Table};
use std::sync::Arc;

/// The first table that has the key decides. One that cannot be asked ends the search: it might have had it.
pub struct FallThrough {
    tables: Vec<Arc<dyn Table>>,
    warnings: Vec<String>,
}

impl FallThrough {
    /// Tables in the order they are asked.
    #[must_use]
    pub fn new(tables: Vec<Arc<dyn Table>>) -> Self {
        Self { warnings: warnings(&tables), tables }
    }
}

impl Table for FallThrough {
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Hit> {
        Box::pin(async move {
            for table in &self.tables {
                if let Some(hit) = table.look_up(key).await? {
                    return Ok(Some(hit));
                }
            }
            Ok(None)
        })
    }
    fn parts<'a>(&'a self, key: &'a str) -> Answer<'a, Vec<Part>> {
        Box::pin(async move {
            for table in &self.tables {
                if let Some(parts) = table.parts(key).await? {
                    return Ok(Some(parts));
                }
            }
            Ok(None)
        })
    }
    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// The values of all tables that have the key, one in a line (as in [`crate::alias_value`]); the provenance is the first one's.
pub struct Union {
    tables: Vec<Arc<dyn Table>>,
    warnings: Vec<String>,
}

impl Union {
    /// Tables in the order of their values.
    #[must_use]
    pub fn new(tables: Vec<Arc<dyn Table>>) -> Self {
        Self { warnings: warnings(&tables), tables }
    }
}

impl Table for Union {
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Hit> {
        Box::pin(async move {
            let mut all: Option<Hit> = None;
            for table in &self.tables {
                match (&mut all, table.look_up(key).await?) {
                    (Some(all), Some(hit)) => {
                        all.value.push('\n');
                        all.value.push_str(&hit.value);
                    }
                    (none, found) if none.is_none() => *none = found,
                    _ => {}
                }
            }
            Ok(all)
        })
    }
    fn parts<'a>(&'a self, key: &'a str) -> Answer<'a, Vec<Part>> {
        Box::pin(async move {
            let mut all = Vec::new();
            for table in &self.tables {
                all.extend(table.parts(key).await?.unwrap_or_default());
            }
            Ok(Some(all).filter(|all| !all.is_empty()))
        })
    }
    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// A table under the name that the configuration has for it, whatever its hits say of where they stand.
pub struct Named {
    name: Arc<str>,
    table: Arc<dyn Table>,
}

impl Named {
    /// `name` is the path of its text.
    #[must_use]
    pub fn new(name: &str, table: Arc<dyn Table>) -> Self {
        Self { name: name.into(), table }
    }
}

impl Table for Named {
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Hit> {
        self.table.look_up(key)
    }
    fn parts<'a>(&'a self, key: &'a str) -> Answer<'a, Vec<Part>> {
        Box::pin(async move {
            let hit = self.table.look_up(key).await?;
            Ok(hit.map(|hit| vec![Part { hit, table: Arc::clone(&self.name) }]))
        })
    }
    fn warnings(&self) -> &[String] {
        self.table.warnings()
    }
}

fn warnings(tables: &[Arc<dyn Table>]) -> Vec<String> {
    tables.iter().flat_map(|table| table.warnings().iter().cloned()).collect()
}

impl std::fmt::Debug for FallThrough {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FallThrough({} tables)", self.tables.len())
    }
}

impl std::fmt::Debug for Union {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Union({} tables)", self.tables.len())
    }
}

impl std::fmt::Debug for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Named({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Inline, Unavailable};
    use std::future::ready;

    struct Broken;

    impl Table for Broken {
        fn look_up<'a>(&'a self, _key: &'a str) -> Answer<'a, Hit> {
            Box::pin(ready(Err(Unavailable("broken".into()))))
        }
    }

    fn table(name: &str, rows: &[(&str, &str)]) -> Arc<dyn Table> {
        Arc::new(Inline::new(name, rows.iter().map(|(key, value)| ((*key).into(), (*value).into()))))
    }

    fn ask(table: &dyn Table, key: &str) -> Result<Option<String>, Unavailable> {
        let waker = std::task::Waker::noop();
        match table.look_up(key).as_mut().poll(&mut std::task::Context::from_waker(waker)) {
            std::task::Poll::Ready(answer) => answer.map(|hit| hit.map(|hit| format!("{} = {}", hit.why, hit.value))),
            std::task::Poll::Pending => panic!("nothing to wait for"),
        }
    }

    #[test]
    fn first_or_all() {
        let (a, b) = (table("a", &[("k", "1"), ("x", "9")]), table("b", &[("K", "2"), ("l", "3")]));
        let broken: Arc<dyn Table> = Arc::new(Broken);
        let first = FallThrough::new(vec![Arc::clone(&a), Arc::clone(&b)]);
        let all = Union::new(vec![Arc::clone(&a), Arc::clone(&b)]);
        assert_eq!(ask(&first, "k").unwrap().as_deref(), Some("a: k = 1"));
        assert_eq!(ask(&all, "k").unwrap().as_deref(), Some("a: k = 1\n2"));
        for table in [&first as &dyn Table, &all] {
            assert_eq!(ask(table, "l").unwrap().as_deref(), Some("b: l = 3"));
            assert_eq!(ask(table, "x").unwrap().as_deref(), Some("a: x = 9"));
            assert_eq!(ask(table, "none").unwrap(), None);
        }
        let parts = |table: &dyn Table, key: &str| {
            let waker = std::task::Waker::noop();
            match table.parts(key).as_mut().poll(&mut std::task::Context::from_waker(waker)) {
                std::task::Poll::Ready(Ok(parts)) => parts.map(|parts| {
                    parts.iter().map(|part| format!("{}: {}", part.table, part.hit.value)).collect::<Vec<_>>().join(" ")
                }),
                _ => panic!("an answer at once"),
            }
        };
        let named: Arc<dyn Table> = Arc::new(Named::new("/b", Arc::clone(&b)));
        let all = Union::new(vec![Arc::clone(&a), Arc::clone(&named)]);
        assert_eq!(parts(&all, "k").as_deref(), Some("a: 1 /b: 2"));
        assert_eq!(parts(&all, "l").as_deref(), Some("/b: 3"));
        assert_eq!(parts(&all, "none"), None);
        assert_eq!(parts(&FallThrough::new(vec![Arc::clone(&a), named]), "k").as_deref(), Some("a: 1"));
        assert_eq!(parts(&first, "l").as_deref(), Some("b: 3"));
        let first = FallThrough::new(vec![Arc::clone(&a), Arc::clone(&broken), b]);
        assert_eq!(ask(&first, "k").unwrap().as_deref(), Some("a: k = 1"));
        assert!(ask(&first, "l").is_err() && ask(&first, "none").is_err());
        assert!(ask(&Union::new(vec![a, broken]), "k").is_err());
    }
}
