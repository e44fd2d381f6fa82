//! Golden tests of `mailq`: the layouts of sendmail.md 2.1.

use super::*;
use call::operator::EntryRecipient;
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn printed(verbose: bool, entries: &[Entry]) -> String {
    let sink = Sink::default();
    let mut output = Output::to(Box::new(sink.clone()));
    let mut printer = Printer::with_zone(verbose, Zone::utc());
    printer.begin(entries.len() as u64, None, &mut output);
    entries.iter().for_each(|entry| printer.entry(entry, &mut output));
    printer.end(entries.len() as u64, &mut output);
    output.flush();
    let bytes = sink.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn entry(id: &str, size: u64, arrived: i64, sender: &str, recipients: &[(&str, &str)]) -> Entry {
    Entry {
        id: id.into(),
        size,
        arrived,
        sender: sender.into(),
        body: String::new(),
        active: false,
        hold: None,
        warned: false,
        recipients: recipients
            .iter()
            .map(|(address, status)| EntryRecipient {
                address: (*address).into(),
                controlling: String::new(),
                status: (*status).into(),
                tries: 1,
                next: 0,
            })
            .collect(),
    }
}

const T: i64 = 1_795_292_520; // Sat Nov 21 20:22

fn four() -> Vec<Entry> {
    let mut first =
        entry("6ALKqsdF007851", 1_224, T + 1_800, "root", &[("u@far.example", ""), ("bad@far.example", "")]);
    first.body = "8BITMIME".into();
    first.active = true;
    let mut second = entry("6ALKojXI017525", 9, T + 1_680, "<a@sender.example>", &[("<carol@mx.example.test>", "")]);
    second.hold = Some("held".into());
    let status = "Deferred: Connection refused by a.example.";
    let third = entry("6ALKh2FP025560", 17, T + 1_260, "root", &[("u@a.example", status)]);
    let mut fourth = entry("6ALKh2FP025561", 17, T - 20 * 86_400, "root", &[("u@b.example", "Deferred")]);
    fourth.body = "8BITMIME".into();
    vec![first, second, third, fourth]
}

#[test]
fn an_empty_queue() {
    assert_eq!(printed(false, &[]), "/var/spool/mqueue is empty\n\t\tTotal requests: 0\n");
}

#[test]
fn the_oracles_example() {
    let expected = "\t\t/var/spool/mqueue (4 requests)
-----Q-ID----- --Size-- -----Q-Time----- ------------Sender/Recipient-----------
6ALKqsdF007851*    1224 Sat Nov 21 20:52 root
      8BITMIME
\t\t\t\t\t u@far.example
\t\t\t\t\t bad@far.example
6ALKojXI017525        9 Sat Nov 21 20:50 <a@sender.example>
     QUARANTINE: held
\t\t\t\t\t <carol@mx.example.test>
6ALKh2FP025560       17 Sat Nov 21 20:43 root
                 (Deferred: Connection refused by a.example.)
\t\t\t\t\t u@a.example
6ALKh2FP025561       17 Sun Nov  1 20:22 root
      8BITMIME   (Deferred)
\t\t\t\t\t u@b.example
\t\tTotal requests: 4
";
    assert_eq!(printed(false, &four()), expected);
}

#[test]
fn verbose_shows_priority_and_each_status() {
    let expected = "\t\t/var/spool/mqueue (1 request)
-----Q-ID----- --Size-- -Priority- ---Q-Time--- --------Sender/Recipient--------
6ALKh2FP025560       17     120017 Nov 21 20:43 root
                 (Deferred: Connection refused by a.example.)
\t\t\t\t\t\tu@a.example
\t\t (Deferred: Connection refused by a.example.)
\t\tTotal requests: 1
";
    assert_eq!(printed(true, &four()[2..3]), expected);
}

#[test]
fn long_and_hostile_texts_are_cut_and_tamed() {
    let long = "x".repeat(200);
    let text = printed(false, &[entry("6ALKh2FP025560", 1, T, &long, &[("a\u{1b}[2J\nb", &long)])]);
    assert!(text.contains(&format!(" {}\n", &long[..39])));
    assert!(text.contains(&format!("({})\n", &long[..60])));
    assert!(text.contains("\t\t\t\t\t a?[2J?b\n"));
}
