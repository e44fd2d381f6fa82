//! A raw SMTP client: says what it is told, byte for byte, and reads replies.

use crate::authority::Identity;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// One reply of the server.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Reply {
    /// The code of the last line.
    pub code: u16,
    /// All lines, with their codes, without line ends.
    pub lines: Vec<String>,
}

impl Reply {
    /// The lines, joined.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.join("\n")
    }
}

/// A connection, in clear or not.
pub enum Stream {
    /// In clear.
    Plain(TcpStream),
    /// After STARTTLS.
    Client(Box<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>),
    /// After STARTTLS, on the sink's side.
    Server(Box<rustls::StreamOwned<rustls::ServerConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(s) => s.read(buf),
            Self::Client(s) => s.read(buf),
            Self::Server(s) => s.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(s) => s.write(buf),
            Self::Client(s) => s.write(buf),
            Self::Server(s) => s.write(buf),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(s) => s.flush(),
            Self::Client(s) => s.flush(),
            Self::Server(s) => s.flush(),
        }
    }
}

/// A stream read by lines.
pub struct Lines {
    /// Where to write.
    pub stream: Option<Stream>,
    buffer: Vec<u8>,
}

impl Lines {
    /// Around a fresh connection.
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        let _ = stream.set_nodelay(true);
        Self { stream: Some(Stream::Plain(stream)), buffer: Vec::new() }
    }
    /// The next line without its CRLF or LF; `None` at the end.
    pub fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.buffer.iter().position(|&b| b == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=at).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Some(line));
            }
            let mut chunk = [0u8; 16384];
            match self.stream.as_mut().expect("open").read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(e) => return Err(e),
            }
        }
    }
    /// Writes all.
    pub fn write(&mut self, data: &[u8]) -> io::Result<()> {
        let stream = self.stream.as_mut().expect("open");
        stream.write_all(data)?;
        stream.flush()
    }
}

/// A session.
pub struct Smtp {
    lines: Lines,
}

impl Smtp {
    /// Connects, 30 s for each wait. Nothing is read yet.
    pub fn connect(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, Duration::from_secs(10))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_write_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { lines: Lines::new(stream) })
    }
    /// The same from a given local address: the stranger, who is not on loopback.
    pub fn connect_from(from: IpAddr, to: SocketAddr) -> io::Result<Self> {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let family = if from.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket(family, SocketType::STREAM, None)?;
        bind(&socket, &SocketAddr::new(from, 0))?;
        connect(&socket, &to)?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_write_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { lines: Lines::new(stream) })
    }
    /// Connects, reads the greeting and says EHLO.
    pub fn hello(to: SocketAddr) -> io::Result<Self> {
        let mut session = Self::connect(to)?;
        session.expect(220)?;
        session.command("EHLO client.test")?;
        Ok(session)
    }
    /// Longest wait for a reply.
    pub fn patience(&self, wait: Duration) {
        if let Some(Stream::Plain(s)) = &self.lines.stream {
            let _ = s.set_read_timeout(Some(wait));
        }
    }
    /// Sends bytes as they are.
    pub fn send(&mut self, data: &[u8]) -> io::Result<()> {
        self.lines.write(data)
    }
    /// Reads one reply; an error of kind `UnexpectedEof` when the server has closed.
    pub fn reply(&mut self) -> io::Result<Reply> {
        let mut reply = Reply::default();
        loop {
            let Some(line) = self.lines.line()? else {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the server"));
            };
            let line = String::from_utf8_lossy(&line).into_owned();
            reply.code = line.get(..3).and_then(|c| c.parse().ok()).unwrap_or(0);
            let more = line.as_bytes().get(3) == Some(&b'-');
            reply.lines.push(line);
            if !more {
                return Ok(reply);
            }
        }
    }
    /// Reads a reply that must have this code.
    pub fn expect(&mut self, code: u16) -> io::Result<Reply> {
        let reply = self.reply()?;
        if reply.code == code {
            Ok(reply)
        } else {
            Err(io::Error::other(format!("wanted {code}, got {}", reply.text())))
        }
    }
    /// Sends a line with CRLF and reads the reply.
    pub fn command(&mut self, line: &str) -> io::Result<Reply> {
        self.send(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }
    /// One transaction. Returns the reply that decided: the last one of the dot, or the first refusal.
    pub fn message(&mut self, from: &str, to: &[&str], text: &str) -> io::Result<Reply> {
        let mut lines = vec![format!("MAIL FROM:<{from}>")];
        lines.extend(to.iter().map(|to| format!("RCPT TO:<{to}>")));
        lines.push("DATA".into());
        for line in lines {
            let reply = self.command(&line)?;
            if reply.code >= 400 {
                self.command("RSET")?;
                return Ok(reply);
            }
        }
        self.send(&dotted(text))?;
        self.reply()
    }
    /// STARTTLS and EHLO again, any certificate.
    pub fn starttls(&mut self) -> io::Result<Reply> {
        self.starttls_as(None)
    }
    /// The same with a certificate of the client's own, for a server that asks.
    pub fn starttls_as(&mut self, identity: Option<&Identity>) -> io::Result<Reply> {
        let reply = self.command("STARTTLS")?;
        if reply.code != 220 {
            return Ok(reply);
        }
        let Some(Stream::Plain(tcp)) = self.lines.stream.take() else {
            panic!("STARTTLS inside TLS");
        };
        let name = ServerName::try_from("mx.test").expect("a name");
        let connection = rustls::ClientConnection::new(client_config(identity), name).map_err(io::Error::other)?;
        let mut stream = rustls::StreamOwned::new(connection, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        self.lines.stream = Some(Stream::Client(Box::new(stream)));
        self.command("EHLO client.test")
    }
}

/// CRLF line ends, dots doubled, and the final dot.
#[must_use]
pub fn dotted(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 32 + 5);
    for line in text.lines() {
        if line.starts_with('.') {
            out.push(b'.');
        }
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

/// Takes any certificate: what is tested is whether TLS is spoken, not who speaks.
#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn client_config(identity: Option<&Identity>) -> Arc<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)));
    Arc::new(match identity.map(Identity::parts) {
        Some((chain, key)) => config.with_client_auth_cert(chain, key).expect("our own certificate"),
        None => config.with_no_client_auth(),
    })
}
