//! Lines for a compiled form that knows none: a Berkeley DB file, or a map that makemap got through a pipe. If the text beside it says the
//! same, hits name its line. For `postrider explain` and `verify`, which may read the text; the engine does not: it would have to keep it
//! in memory, so its log names `X.db` and the key.

use crate::{Answer, Hit, Table, Unavailable};
use std::sync::{Arc, OnceLock};

/// Loads a table.
type Load = Box<dyn Fn() -> Result<Arc<dyn Table>, Unavailable> + Send + Sync>;

/// A table, and its text, which is loaded when the first hit has no line.
pub struct Lined {
    table: Arc<dyn Table>,
    load: Load,
    text: OnceLock<Option<Arc<dyn Table>>>,
}

impl std::fmt::Debug for Lined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lined")
    }
}

impl Lined {
    /// `load` gives the same table from its text.
    pub fn new(
        table: Arc<dyn Table>,
        load: impl Fn() -> Result<Arc<dyn Table>, Unavailable> + Send + Sync + 'static,
    ) -> Self {
        Self { table, load: Box::new(load), text: OnceLock::new() }
    }
}

impl Table for Lined {
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Hit> {
        Box::pin(async move {
            let Some(mut hit) = self.table.look_up(key).await? else { return Ok(None) };
            if hit.why.line == 0
                && let Some(text) = self.text.get_or_init(|| (self.load)().ok())
                && let Ok(Some(same)) = text.look_up(key).await
                && same.value == hit.value
            {
                hit.why = same.why;
            }
            Ok(Some(hit))
        })
    }

    fn warnings(&self) -> &[String] {
        self.table.warnings()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Text;
    use crate::{Database, Duplicate, Origin, Writer};

    fn ask(table: &Lined, key: &str) -> String {
        let waker = std::task::Waker::noop();
        match table.look_up(key).as_mut().poll(&mut std::task::Context::from_waker(waker)) {
            std::task::Poll::Ready(Ok(hit)) => hit.map_or_else(String::new, |hit| format!("{} {}", hit.why, hit.value)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_the_text_says_too_has_a_line() {
        let file = tempfile::tempfile().unwrap();
        let mut writer = Writer::new(&file);
        for (key, value) in [("same", "v"), ("changed", "old"), ("gone", "v")] {
            writer.put(key.as_bytes(), value.as_bytes(), 0, Duplicate::Keep).unwrap();
        }
        writer.finish(Origin::default()).unwrap();
        let table = Arc::new(Database::new("/t".into(), file).unwrap());
        let load = || Ok(Arc::new(Text::new("/t", b"# c\nSame v\nchanged new\nnew v\n".to_vec())?) as Arc<dyn Table>);
        let lined = Lined::new(Arc::clone(&table) as Arc<dyn Table>, load);
        assert_eq!(ask(&lined, "same"), "/t:2: same v");
        assert_eq!(ask(&lined, "changed"), "/t.db: changed old");
        assert_eq!(ask(&lined, "gone"), "/t.db: gone v");
        assert_eq!(ask(&lined, "new"), "");
        let lined = Lined::new(table, || Err(Unavailable("no text".to_owned())));
        assert_eq!(ask(&lined, "same"), "/t.db: same v");
    }
}
