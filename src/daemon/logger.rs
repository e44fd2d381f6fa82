//! The real log: syslog, a file, or standard error; sendmail's lines or JSON. Writing never waits: what syslog
//! cannot take now is kept, up to a limit, and sent with a later line.

use mail::log::{Event, Line, Log};
use mail::time::Clock;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};

/// Lines kept while syslog takes none.
const BACKLOG: usize = 10_000;
/// Facility mail (2), severity info (6).
const PRIORITY: u8 = 2 * 8 + 6;
const SYSLOG: &str = "/dev/log";
/// The tag that log readers look for, and the one of lines that sendmail does not have.
const TAGS: [&str; 2] = ["postrider", "sendmail"];

/// Writes events where the configuration says.
pub(crate) struct Logger {
    clock: Arc<dyn Clock>,
    json: bool,
    level: u8,
    out: Mutex<Out>,
}

struct Out {
    syslog: Option<Syslog>,
    file: Option<File>,
}

struct Syslog {
    socket: Option<UnixDatagram>,
    waiting: VecDeque<Vec<u8>>,
    lost: u64,
}

impl Logger {
    /// To syslog and/or a file; a file that cannot be opened is an error.
    pub(crate) fn new(settings: &config::Log, clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        let open = |path: &String| {
            let opened = OpenOptions::new().create(true).append(true).open(path);
            opened.map_err(|e| std::io::Error::new(e.kind(), format!("log file {path}: {e}")))
        };
        let file = settings.file.as_ref().map(open).transpose()?;
        let syslog = settings.syslog.then(|| Syslog { socket: None, waiting: VecDeque::new(), lost: 0 });
        let json = settings.format == config::LogFormat::Json;
        let level = u8::try_from(settings.level).unwrap_or(u8::MAX);
        Ok(Self { clock, json, level, out: Mutex::new(Out { syslog, file }) })
    }

    fn json(&self, event: &Event) -> String {
        let ms = self.clock.now().wall;
        match serde_json::to_value(event) {
            Ok(serde_json::Value::Object(mut fields)) => {
                fields.insert("time_ms".into(), ms.into());
                mail::log::without_numbers(&serde_json::Value::Object(fields).to_string()).into_owned()
            }
            _ => event.to_string(),
        }
    }
}

impl Log for Logger {
    fn write(&self, event: &Event) {
        let mut lines = event.lines(self.level);
        if self.json && !lines.is_empty() {
            // One object has the reasons too.
            lines = vec![Line { text: self.json(event), known: true }];
        }
        let now = self.clock.now().seconds();
        let (offset, _) = self.clock.zone(now);
        let (at, pid) = (stamp(now, offset), std::process::id());
        let mut out = self.out.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for Line { text, known } in lines {
            let tag = TAGS[usize::from(known)];
            if let Some(file) = out.file.as_mut() {
                let line = if self.json { format!("{text}\n") } else { format!("{at} {tag}[{pid}]: {text}\n") };
                // A full disk must not stop mail that can still be delivered.
                let _unlogged = file.write_all(line.as_bytes());
            }
            if let Some(syslog) = out.syslog.as_mut() {
                syslog.send(format!("<{PRIORITY}>{at} {tag}[{pid}]: {text}").into_bytes());
            }
        }
    }
}

impl Syslog {
    fn send(&mut self, line: Vec<u8>) {
        if self.waiting.len() >= BACKLOG {
            self.lost += 1;
        } else {
            self.waiting.push_back(line);
        }
        if self.socket.is_none() {
            self.socket = connect();
        }
        let Some(socket) = &self.socket else { return };
        while let Some(line) = self.waiting.front() {
            match socket.send(line) {
                Ok(_) => {
                    self.waiting.pop_front();
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    // syslogd was restarted: a new socket with the next line.
                    self.socket = None;
                    return;
                }
            }
        }
        if self.lost > 0 {
            let text = format!("<{PRIORITY}>sendmail: {} log lines lost while syslog took none", self.lost);
            self.lost = 0;
            self.waiting.push_back(text.into_bytes());
        }
    }
}

fn connect() -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect(SYSLOG).ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

/// `Nov 21 20:22:16`, the middle of a ctime text.
fn stamp(unix: i64, offset: i32) -> String {
    mail::date::ctime(unix, offset).get(4..19).unwrap_or_default().to_owned()
}
