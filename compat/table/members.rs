//! Tables of other kinds as aliases: text in makemap's format and LMDB files have a right-hand side as it is written in an aliases file.
//! Called by `daemon` for kinds that do not read aliases themselves.

use crate::entry::entries;
use std::sync::Arc;
use table::{Answer, Hit, Part, Table, alias_value};

/// A raw table whose values are right-hand sides of aliases.
pub struct Members(Arc<dyn Table>);

impl Members {
    /// Takes the values of `table` apart.
    #[must_use]
    pub const fn new(table: Arc<dyn Table>) -> Self {
        Self(table)
    }
}

impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Members")
    }
}

/// As in an aliases file: what has no members is no alias.
fn taken_apart(hit: Hit) -> Option<Hit> {
    let members = Some(entries(&hit.value)).filter(|members| !members.is_empty())?;
    Some(Hit { value: alias_value(&members), why: hit.why })
}

impl Table for Members {
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Hit> {
        Box::pin(async move { Ok(self.0.look_up(key).await?.and_then(taken_apart)) })
    }
    fn parts<'a>(&'a self, key: &'a str) -> Answer<'a, Vec<Part>> {
        Box::pin(async move {
            let parts = self.0.parts(key).await?.unwrap_or_default().into_iter();
            let parts = parts.filter_map(|part| Some(Part { hit: taken_apart(part.hit)?, ..part })).collect::<Vec<_>>();
            Ok(Some(parts).filter(|parts| !parts.is_empty()))
        })
    }
    fn warnings(&self) -> &[String] {
        self.0.warnings()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::{Broken, wait};
    use table::Inline;

    #[test]
    fn a_list_becomes_one_member_in_a_line() {
        let rows = [("list", "bob, \"|prog a,b\" (note), \\carol,/var/x"), ("none", "()")];
        let rows = rows.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let table = Members::new(Arc::new(Inline::new("/t", rows)));
        let hit = wait(table.look_up("list")).unwrap().unwrap();
        assert_eq!((hit.value.as_str(), hit.why.to_string()), ("bob\n|prog a,b\n\\carol\n/var/x", "/t: list".into()));
        let parts = wait(table.parts("list")).unwrap().unwrap();
        assert_eq!((&*parts[0].table, &parts[0].hit), ("/t", &hit));
        for key in ["none", "other"] {
            assert_eq!(wait(table.look_up(key)), Ok(None), "{key}");
            assert_eq!(wait(table.parts(key)), Ok(None), "{key}");
        }
        assert!(wait(Members::new(Arc::new(Broken)).look_up("list")).is_err());
    }
}
