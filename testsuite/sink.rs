//! A scripted SMTP sink: accepts and records, or fails at any verb as a test says.

use crate::authority::{Authority, Identity};
use crate::port;
use crate::smtp::{Lines, Stream};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Where a session is when the script is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Before the greeting.
    Connect,
    /// EHLO.
    Ehlo,
    /// HELO.
    Helo,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA.
    Data,
    /// After the final dot.
    Dot,
    /// RSET.
    Rset,
    /// STARTTLS.
    Starttls,
    /// QUIT.
    Quit,
    /// Anything else.
    Other,
}

/// What the script is told.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// The verb.
    pub at: At,
    /// The whole command line, or the message at [`At::Dot`].
    pub line: &'a [u8],
    /// Number of the connection, from 0.
    pub connection: usize,
}

/// What the script answers.
#[derive(Clone, Debug)]
pub enum Act {
    /// Go on as a good server.
    Go,
    /// Say this (lines without the last CRLF) and do not take the step.
    Say(String),
    /// Close without a word.
    Drop,
    /// Wait, then go on.
    Wait(Duration),
    /// Never answer (until the other side closes).
    Hang,
    /// At the dot: take the message, then close without the answer.
    TakeAndDrop,
}

/// One message taken.
#[derive(Clone, Debug)]
pub struct Taken {
    /// From which connection.
    pub connection: usize,
    /// The MAIL line.
    pub mail: String,
    /// The RCPT lines that were accepted.
    pub rcpt: Vec<String>,
    /// Content, dots undone, CRLF line ends as received turned to LF.
    pub text: Vec<u8>,
    /// Whether it came inside TLS.
    pub tls: bool,
}

type Script = dyn Fn(&Step<'_>) -> Act + Send + Sync;

struct Shared {
    script: Box<Script>,
    taken: Mutex<Vec<Taken>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
    end: AtomicBool,
    tls: Option<Arc<rustls::ServerConfig>>,
    keywords: Vec<String>,
}

/// The sink; ends when dropped.
pub struct Sink {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<std::thread::JoinHandle<()>>,
}

impl Sink {
    /// Takes everything.
    #[must_use]
    pub fn start() -> Self {
        Self::scripted(|_| Act::Go)
    }
    /// Asks `script` at each step.
    pub fn scripted(script: impl Fn(&Step<'_>) -> Act + Send + Sync + 'static) -> Self {
        Self::offering(false, script)
    }
    /// On a free port, offering STARTTLS or not.
    pub fn offering(tls: bool, script: impl Fn(&Step<'_>) -> Act + Send + Sync + 'static) -> Self {
        Self::on(([127, 0, 0, 1], port::free()), tls, script)
    }
    /// Takes everything; offers STARTTLS with this certificate.
    #[must_use]
    pub fn showing(identity: &Identity) -> Self {
        Self::begin(([127, 0, 0, 1], port::free()).into(), Some(server_config(identity)), |_| Act::Go)
    }
    /// On a given address, offering STARTTLS or not.
    pub fn on(
        address: impl Into<SocketAddr>,
        tls: bool,
        script: impl Fn(&Step<'_>) -> Act + Send + Sync + 'static,
    ) -> Self {
        let identity = tls.then(|| Authority::new("nobody").identity("sink.test", &["sink.test"]));
        Self::begin(address.into(), identity.as_ref().map(server_config), script)
    }
    fn begin(
        address: SocketAddr,
        tls: Option<Arc<rustls::ServerConfig>>,
        script: impl Fn(&Step<'_>) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap_or_else(|e| panic!("sink on {address}: {e}"));
        let mut keywords: Vec<String> =
            ["PIPELINING", "8BITMIME", "SIZE 0", "ENHANCEDSTATUSCODES", "SMTPUTF8"].map(str::to_owned).to_vec();
        if tls.is_some() {
            keywords.push("STARTTLS".into());
        }
        let shared = Arc::new(Shared {
            script: Box::new(script),
            taken: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            end: AtomicBool::new(false),
            tls,
            keywords,
        });
        let address = listener.local_addr().unwrap();
        let for_thread = shared.clone();
        let accepting = std::thread::spawn(move || serve(&listener, &for_thread));
        Self { address, shared, accepting: Some(accepting) }
    }
    /// All messages so far.
    #[must_use]
    pub fn taken(&self) -> Vec<Taken> {
        self.shared.taken.lock().unwrap().clone()
    }
    /// How many messages so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.taken.lock().unwrap().len()
    }
    /// None so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }
    /// Most connections that were open at once.
    #[must_use]
    pub fn most_open(&self) -> usize {
        self.shared.most_open.load(Ordering::SeqCst)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        // The port is free when this returns: another sink may follow on it.
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn serve(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.end.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = shared.clone();
        let _ = std::thread::Builder::new().stack_size(256 << 10).spawn(move || {
            let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
            let open = shared.open.fetch_add(1, Ordering::SeqCst) + 1;
            shared.most_open.fetch_max(open, Ordering::SeqCst);
            let mut session = Session {
                lines: Lines::new(stream),
                shared: &shared,
                connection,
                mail: String::new(),
                rcpt: Vec::new(),
            };
            let _ = session.run();
            shared.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

struct Session<'a> {
    lines: Lines,
    shared: &'a Shared,
    connection: usize,
    mail: String,
    rcpt: Vec<String>,
}

impl Session<'_> {
    /// Asks the script; `Ok(true)` means go on with the step.
    fn ask(&mut self, at: At, line: &[u8]) -> io::Result<bool> {
        let step = Step { at, line, connection: self.connection };
        match (self.shared.script)(&step) {
            Act::Go => Ok(true),
            Act::Say(text) => {
                self.say(&text)?;
                Ok(false)
            }
            Act::Wait(time) => {
                std::thread::sleep(time);
                Ok(true)
            }
            Act::Hang => {
                while self.lines.line()?.is_some() {}
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            Act::TakeAndDrop => {
                self.take(line);
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            Act::Drop => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
    fn say(&mut self, text: &str) -> io::Result<()> {
        self.lines.write(format!("{}\r\n", text.replace('\n', "\r\n")).as_bytes())
    }
    fn run(&mut self) -> io::Result<()> {
        if self.ask(At::Connect, b"")? {
            self.say("220 sink.test ESMTP")?;
        }
        while let Some(line) = self.lines.line()? {
            let verb = line.split(|&b| b == b' ').next().unwrap_or_default().to_ascii_uppercase();
            let text = String::from_utf8_lossy(&line).into_owned();
            match verb.as_slice() {
                b"EHLO" if self.ask(At::Ehlo, &line)? => self.ehlo()?,
                b"HELO" if self.ask(At::Helo, &line)? => self.say("250 sink.test")?,
                b"MAIL" if self.ask(At::Mail, &line)? => {
                    self.mail = text;
                    self.rcpt.clear();
                    self.say("250 2.1.0 ok")?;
                }
                b"RCPT" if self.mail.is_empty() => self.say("503 5.5.1 need MAIL")?,
                b"RCPT" if self.ask(At::Rcpt, &line)? => {
                    self.rcpt.push(text);
                    self.say("250 2.1.5 ok")?;
                }
                b"DATA" if self.rcpt.is_empty() => self.say("554 5.5.1 no valid recipients")?,
                b"DATA" if self.ask(At::Data, &line)? => self.data()?,
                b"RSET" if self.ask(At::Rset, &line)? => {
                    self.forget();
                    self.say("250 2.0.0 ok")?;
                }
                b"STARTTLS" if self.ask(At::Starttls, &line)? => self.starttls()?,
                b"QUIT" => {
                    if self.ask(At::Quit, &line)? {
                        self.say("221 2.0.0 bye")?;
                    }
                    return Ok(());
                }
                b"EHLO" | b"HELO" | b"MAIL" | b"RCPT" | b"DATA" | b"RSET" | b"STARTTLS" => {}
                _ => {
                    if self.ask(At::Other, &line)? {
                        self.say("250 2.0.0 ok")?;
                    }
                }
            }
        }
        Ok(())
    }
    fn ehlo(&mut self) -> io::Result<()> {
        let inside = !matches!(self.lines.stream, Some(Stream::Plain(_)));
        let mut words = vec!["sink.test".to_owned()];
        words.extend(self.shared.keywords.iter().filter(|k| !(inside && *k == "STARTTLS")).cloned());
        let last = words.len() - 1;
        let text: Vec<String> =
            words.iter().enumerate().map(|(i, w)| format!("250{}{w}", if i == last { ' ' } else { '-' })).collect();
        self.say(&text.join("\n"))
    }
    fn data(&mut self) -> io::Result<()> {
        self.say("354 go on")?;
        let mut text = Vec::new();
        loop {
            let Some(line) = self.lines.line()? else { return Ok(()) };
            if line == b"." {
                break;
            }
            text.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            text.push(b'\n');
        }
        if self.ask(At::Dot, &text)? {
            self.take(&text);
            self.say("250 2.0.0 taken")?;
        }
        self.forget();
        Ok(())
    }
    fn forget(&mut self) {
        self.mail.clear();
        self.rcpt.clear();
    }
    fn take(&mut self, text: &[u8]) {
        self.shared.taken.lock().unwrap().push(Taken {
            connection: self.connection,
            mail: std::mem::take(&mut self.mail),
            rcpt: std::mem::take(&mut self.rcpt),
            text: text.to_vec(),
            tls: !matches!(self.lines.stream, Some(Stream::Plain(_))),
        });
    }
    fn starttls(&mut self) -> io::Result<()> {
        let Some(config) = self.shared.tls.clone() else {
            return self.say("502 5.5.1 not here");
        };
        self.say("220 2.0.0 go on")?;
        let Some(Stream::Plain(tcp)) = self.lines.stream.take() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let connection = rustls::ServerConnection::new(config).map_err(io::Error::other)?;
        self.lines.stream = Some(Stream::Server(Box::new(rustls::StreamOwned::new(connection, tcp))));
        Ok(())
    }
}

/// A fresh certificate and key for `mx.test`, PEM.
#[must_use]
pub fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["mx.test".to_owned()]).expect("a certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn server_config(identity: &Identity) -> Arc<rustls::ServerConfig> {
    let (chain, key) = identity.parts();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("our own certificate");
    Arc::new(config)
}
