//! domaintable, bitdomain and uucpdomain as the one table that the router asks for new names of domains (sendmail.md 3.6), in the order of
//! sendmail's ruleset `Canonify2`: each is asked for what the one before it made. Called by `kind`.

use compat_table::domains::renamed;
use std::sync::Arc;
use table::{Answer, Hit, Renames, Table, Unavailable};

/// The three tables, as far as they are named.
pub(crate) struct Renaming {
    pub(crate) domains: Option<Arc<dyn Table>>,
    pub(crate) bitdomain: Option<Arc<dyn Table>>,
    pub(crate) uucpdomain: Option<Arc<dyn Table>>,
}

impl Renaming {
    /// The new name, with name and provenance of the last table that changed it.
    async fn find(&self, key: &str) -> Result<Option<(&'static str, Hit)>, Unavailable> {
        let mut last = match &self.domains {
            // As it stands: the router says what is wrong with a value.
            Some(table) => table.look_up(key).await?.map(|hit| ("domaintable", hit)),
            None => None,
        };
        let tables = [("bitdomain", &self.bitdomain, ".bitnet"), ("uucpdomain", &self.uucpdomain, ".uucp")];
        for (name, table, suffix) in tables {
            let Some(table) = table else { continue };
            let now = last.as_ref().map_or(key, |(_, hit)| hit.value.trim()).to_ascii_lowercase();
            if let Some(host) = now.strip_suffix(suffix).filter(|host| !host.is_empty()) {
                last = renamed(&**table, host).await?.map(|hit| (name, hit)).or(last);
            }
        }
        Ok(last)
    }
}

impl Renames for Renaming {
    fn rename<'a>(&'a self, domain: &'a str) -> Answer<'a, (&'static str, Hit)> {
        Box::pin(self.find(domain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use table::Inline;

    #[tokio::test]
    async fn each_is_asked_for_what_the_one_before_made() {
        let table = |name: &str, rows: &[(&str, &str)]| -> Option<Arc<dyn Table>> {
            Some(Arc::new(Inline::new(name, rows.iter().map(|(key, value)| ((*key).into(), (*value).into())))))
        };
        let all = Renaming {
            domains: table(
                "d",
                &[("old.example", "vm1.BITNET"), ("vm3.bitnet", "d.example"), ("x.example", "not a name")],
            ),
            bitdomain: table(
                "b",
                &[("vm1", "VM1.example"), ("vm2", "n.UUCP"), ("vm3", "b.example"), ("vm4", "no name")],
            ),
            uucpdomain: table("u", &[("n", "n.example"), ("h", "h.example")]),
        };
        let ask = async |key: &str| {
            all.rename(key).await.unwrap().map(|(table, hit)| format!("{table}: {} ({})", hit.value, hit.why))
        };
        assert_eq!(ask("vm1.bitnet").await.as_deref(), Some("bitdomain: vm1.example (b: vm1)"));
        assert_eq!(ask("h.uucp").await.as_deref(), Some("uucpdomain: h.example (u: h)"));
        assert_eq!(ask("old.example").await.as_deref(), Some("bitdomain: vm1.example (b: vm1)"));
        assert_eq!(ask("vm2.bitnet").await.as_deref(), Some("uucpdomain: n.example (u: n)"));
        assert_eq!(ask("vm3.bitnet").await.as_deref(), Some("domaintable: d.example (d: vm3.bitnet)"));
        assert_eq!(ask("x.example").await.as_deref(), Some("domaintable: not a name (d: x.example)"));
        for own in ["vm4.bitnet", "vm9.bitnet", "bitnet", ".bitnet", "vm1.example", "vm1", "h"] {
            assert_eq!(ask(own).await, None, "{own}");
        }
    }
}
