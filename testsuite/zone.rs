//! A DNS server on loopback (UDP and TCP) that answers from a small zone text. Wire format by hand: RFC 1035 4.1.
//!
//! ```text
//! mail.test   A        127.0.0.5
//! far.test    MX       10 mail.test
//! null.test   MX       0 .
//! alias.test  CNAME    far.test
//! broken.test SERVFAIL
//! slow.test   TIMEOUT
//! ```
//! A name that is not in the text does not exist; one that is, but not with the type asked for, has no data.

use crate::port;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const A: u16 = 1;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const PTR: u16 = 12;
const MX: u16 = 15;
const AAAA: u16 = 28;
const ANY: u16 = 255;

#[derive(Clone, Debug)]
enum Data {
    Address(IpAddr),
    Name(u16, String),
    Mx(u16, String),
    Fail,
    Silent,
}

#[derive(Default)]
struct Shared {
    records: Mutex<Vec<(String, Data)>>,
    asked: Mutex<Vec<String>>,
    end: AtomicBool,
}

/// The server; ends when dropped.
pub struct Zone {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Zone {
    /// Starts on a free port of 127.0.0.1.
    #[must_use]
    pub fn start(text: &str) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], port::free()));
        let (udp, tcp) = (UdpSocket::bind(address).unwrap(), TcpListener::bind(address).unwrap());
        udp.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let shared = Arc::new(Shared::default());
        let zone = Self { address, shared: shared.clone() };
        zone.set(text);
        let for_tcp = shared.clone();
        std::thread::spawn(move || serve_udp(&udp, &shared));
        std::thread::spawn(move || serve_tcp(&tcp, &for_tcp));
        zone
    }
    /// Replaces the whole text.
    pub fn set(&self, text: &str) {
        let records = text.lines().filter_map(record).collect();
        *self.shared.records.lock().unwrap() = records;
    }
    /// The questions so far, `name TYPE-NUMBER`.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }
}

impl Drop for Zone {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

fn record(line: &str) -> Option<(String, Data)> {
    let words: Vec<&str> = line.split('#').next()?.split_whitespace().collect();
    let [name, kind, rest @ ..] = words.as_slice() else {
        return None;
    };
    let host = |i: usize| rest[i].trim_end_matches('.').to_ascii_lowercase();
    let data = match *kind {
        "A" | "AAAA" => Data::Address(rest[0].parse().expect("an address")),
        "CNAME" => Data::Name(CNAME, host(0)),
        "PTR" => Data::Name(PTR, host(0)),
        "MX" => Data::Mx(rest[0].parse().expect("a preference"), host(1)),
        "SERVFAIL" => Data::Fail,
        "TIMEOUT" => Data::Silent,
        other => panic!("zone: {other}?"),
    };
    Some((name.trim_end_matches('.').to_ascii_lowercase(), data))
}

fn serve_udp(socket: &UdpSocket, shared: &Shared) {
    let mut buffer = [0u8; 1500];
    while !shared.end.load(Ordering::SeqCst) {
        let Ok((n, peer)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        if let Some(answer) = answer(&buffer[..n], shared) {
            let _ = socket.send_to(&answer, peer);
        }
    }
}

fn serve_tcp(listener: &TcpListener, shared: &Shared) {
    for stream in listener.incoming() {
        if shared.end.load(Ordering::SeqCst) {
            return;
        }
        let Ok(mut stream) = stream else { continue };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
        let mut length = [0u8; 2];
        while stream.read_exact(&mut length).is_ok() {
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            if stream.read_exact(&mut query).is_err() {
                break;
            }
            let Some(answer) = answer(&query, shared) else { break };
            let mut framed = (answer.len() as u16).to_be_bytes().to_vec();
            framed.extend(answer);
            if stream.write_all(&framed).is_err() {
                break;
            }
        }
    }
}

/// The question: name in lower case, type, and where it ends in the packet.
fn question(query: &[u8]) -> Option<(String, u16, usize)> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let n = usize::from(*query.get(at)?);
        at += 1;
        if n == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + n)?).to_ascii_lowercase());
        at += n;
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    Some((labels.join("."), kind, at + 4))
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    for label in name.split('.').filter(|l| !l.is_empty()) {
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
}

fn put_record(out: &mut Vec<u8>, name: &str, kind: u16, data: &[u8]) {
    put_name(out, name);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&1u16.to_be_bytes());
    out.extend_from_slice(&1u32.to_be_bytes()); // TTL 1 s: a test that changes the zone must not wait for a cache
    out.extend_from_slice(&(data.len() as u16).to_be_bytes());
    out.extend_from_slice(data);
}

fn encode(data: &Data) -> Option<(u16, Vec<u8>)> {
    let mut out = Vec::new();
    match data {
        Data::Address(IpAddr::V4(a)) => Some((A, Ipv4Addr::octets(a).to_vec())),
        Data::Address(IpAddr::V6(a)) => Some((AAAA, Ipv6Addr::octets(a).to_vec())),
        Data::Name(kind, name) => {
            put_name(&mut out, name);
            Some((*kind, out))
        }
        Data::Mx(preference, name) => {
            out.extend_from_slice(&preference.to_be_bytes());
            put_name(&mut out, name);
            Some((MX, out))
        }
        Data::Fail | Data::Silent => None,
    }
}

/// The answer, or `None` for silence.
fn answer(query: &[u8], shared: &Shared) -> Option<Vec<u8>> {
    let (name, kind, end) = question(query)?;
    shared.asked.lock().unwrap().push(format!("{name} {kind}"));
    let records = shared.records.lock().unwrap().clone();
    let (mut body, mut count, mut at, mut exists, mut code) = (Vec::new(), 0u16, name.clone(), false, 0u16);
    for _ in 0..8 {
        let here: Vec<&Data> = records.iter().filter(|(n, _)| *n == at).map(|(_, d)| d).collect();
        exists |= !here.is_empty();
        let mut next = None;
        for data in here {
            match data {
                Data::Silent => return None,
                Data::Fail => code = 2,
                Data::Name(CNAME, target) if kind != CNAME => next = Some(target.clone()),
                _ => {}
            }
            if let Some((k, encoded)) = encode(data)
                && (k == kind || k == CNAME || kind == ANY)
            {
                put_record(&mut body, &at, k, &encoded);
                count += 1;
            }
        }
        match next {
            Some(target) => at = target,
            None => break,
        }
    }
    if !exists {
        code = 3;
    }
    let mut out = query.get(..2)?.to_vec();
    out.extend_from_slice(&(0x8580 | code).to_be_bytes());
    let authority = u16::from(count == 0 && code != 2);
    for n in [1, count, authority, 0] {
        out.extend_from_slice(&n.to_be_bytes());
    }
    out.extend_from_slice(query.get(12..end)?);
    out.extend(body);
    if authority == 1 {
        let mut soa = Vec::new();
        put_name(&mut soa, "ns.test");
        put_name(&mut soa, "root.test");
        for n in [1u32, 60, 60, 60, 1] {
            soa.extend_from_slice(&n.to_be_bytes());
        }
        put_record(&mut out, "", SOA, &soa);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_from_the_text() {
        let shared = Shared::default();
        *shared.records.lock().unwrap() =
            "far.test MX 10 mail.test\nx.test SERVFAIL".lines().filter_map(record).collect();
        let mut query = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        put_name(&mut query, "FAR.test");
        query.extend([0, 15, 0, 1]);
        let got = answer(&query, &shared).unwrap();
        assert_eq!((got[1], got[3] & 15, got[7]), (7, 0, 1));
        let mut query = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        put_name(&mut query, "none.test");
        query.extend([0, 1, 0, 1]);
        assert_eq!(answer(&query, &shared).unwrap()[3] & 15, 3);
    }
}
