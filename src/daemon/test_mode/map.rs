//! `/map name key`: one look-up in one table, as it stands there, without the order in which the router asks.

use super::Session;
use crate::output::complain;
use mail::log::safe;
use route::{DnsError, Resolver as _};
use std::io::{self, Write};
use table::{Table, Unavailable};

/// EX_NOHOST of sysexits(3): also what sendmail gives for an alias that is not there.
const NO_HOST: u8 = 68;
const TEMPORARY: u8 = 75;

/// What a look-up gave, with sendmail's status.
struct Looked(Option<String>, u8);

impl Session {
    pub(super) fn map(&self, question: &str, out: &mut impl Write) -> io::Result<()> {
        let Some((name, key)) = question.split_once(char::is_whitespace) else {
            return writeln!(out, "No key specified");
        };
        let (name, key) = (name.trim(), key.trim());
        let Some(Looked(value, status)) = self.runtime.block_on(self.look_up(name, key)) else {
            return writeln!(out, "Map named \"{}\" not found", safe(name));
        };
        let (name, key) = (safe(name), safe(key));
        match value {
            Some(value) => writeln!(out, "map_lookup: {name} ({key}) returns {} ({status})", safe(&value)),
            None => writeln!(out, "map_lookup: {name} ({key}) no match ({status})"),
        }
    }

    async fn look_up(&self, name: &str, key: &str) -> Option<Looked> {
        match name {
            "host" => Some(self.host(key).await),
            "dequote" => Some(Looked(dequoted(key), 0)),
            "user" => Some(self.user(key).await),
            _ => {
                let (_, table) = self.snapshot.maps.iter().find(|(known, _)| known == name)?;
                Some(of_table(&**table, name, key).await)
            }
        }
    }

    async fn host(&self, key: &str) -> Looked {
        let full = self.known.full_name(key);
        if full != key || self.known.is_local(&full) {
            return Looked(Some(format!("{full}.")), 0);
        }
        match self.names.addresses(key).await {
            Ok(_) => Looked(Some(format!("{full}.")), 0),
            Err(DnsError::Temporary(_)) => Looked(None, TEMPORARY),
            Err(_) => Looked(None, NO_HOST),
        }
    }

    async fn user(&self, key: &str) -> Looked {
        match self.snapshot.router.tables().accounts.find(key).await {
            Ok(account) => Looked(account.map(|account| account.name), 0),
            Err(_) => Looked(None, TEMPORARY),
        }
    }
}

/// sendmail folds keys; so do the tables' compiled forms.
async fn of_table(table: &dyn Table, name: &str, key: &str) -> Looked {
    match table.look_up(&key.to_lowercase()).await {
        Ok(Some(hit)) => Looked(Some(hit.value.trim_end().replace('\n', ", ")), 0),
        Ok(None) if name.starts_with("alias") => Looked(None, NO_HOST),
        Ok(None) => Looked(None, 0),
        Err(Unavailable(why)) => {
            complain!("{}", safe(&why));
            Looked(None, TEMPORARY)
        }
    }
}

/// Without its quotes, where it needs none.
fn dequoted(key: &str) -> Option<String> {
    let inner = key.strip_prefix('"')?.strip_suffix('"')?;
    let plain = inner.chars().all(|c| !c.is_whitespace() && !"()<>,;\\\"".contains(c));
    (plain && !inner.is_empty()).then(|| inner.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_taken_off_where_they_are_not_needed() {
        assert_eq!(dequoted("\"ab\"").as_deref(), Some("ab"));
        for key in ["\"a b\"", "ab", "\"\"", "\"", "\"a;b\""] {
            assert_eq!(dequoted(key), None, "{key}");
        }
    }
}
