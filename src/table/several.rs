//! Tables made of others: [`FallThrough`] (the first that has the key) and [`Union`] (all that have it). Called by `daemon` where the
//! configuration names several.

use crate::{Answer, Hit, Table};
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
    fn warnings(&self) -> &[String] {
        &self.warnings
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
        let first = FallThrough::new(vec![Arc::clone(&a), Arc::clone(&broken), b]);
        assert_eq!(ask(&first, "k").unwrap().as_deref(), Some("a: k = 1"));
        assert!(ask(&first, "l").is_err() && ask(&first, "none").is_err());
        assert!(ask(&Union::new(vec![a, broken]), "k").is_err());
    }
}
