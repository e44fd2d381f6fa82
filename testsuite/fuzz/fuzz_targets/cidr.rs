//! Tables of networks: the answer is that of the first line that has the address, by another way of counting.
#![no_main]

#[allow(dead_code)]
mod stored;

use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;
use stored::wait;
use table::Table as _;
use table::cidr::Cidr;
use table::text::rows;

fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|&b| b == b'\n').unwrap_or(data.len());
    let (question, text) = (String::from_utf8_lossy(&data[..end]), data.get(end + 1..).unwrap_or_default());
    let table = Cidr::new("/t", text);
    assert!(table.warnings().iter().all(|line| line.starts_with("/t:") && !line.contains(char::is_control)));
    let found = wait(table.look_up(&question)).expect("in memory");
    // Postfix's conditions, which are left out with what depends on them.
    let conditions = text.to_ascii_lowercase().windows(2).any(|two| two == b"if");
    let Some(address) = question.parse::<IpAddr>().ok().filter(|_| !conditions) else { return };
    let first = rows(text).flatten().find(|row| str::from_utf8(row.key).is_ok_and(|key| has(key, address)));
    assert_eq!(found.map(|hit| hit.why.line), first.map(|row| row.line));
});

/// Bit by bit, only for networks as they are mostly written.
fn has(network: &str, address: IpAddr) -> bool {
    let bare = |text: &str| {
        let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text).to_owned();
        if inner.get(..5).is_some_and(|tag| tag.eq_ignore_ascii_case("ipv6:")) { inner[5..].to_owned() } else { inner }
    };
    let (net, length) = network.split_once('/').map_or((network, None), |(net, length)| (net, Some(length)));
    let Ok(net) = bare(net).parse::<IpAddr>() else { return false };
    let (net, address) = (octets(net), octets(address.to_canonical()));
    let most = net.len() * 8;
    let length = match length {
        None => most,
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => match digits.parse() {
            Ok(length) if length <= most => length,
            _ => return false,
        },
        Some(_) => return false,
    };
    let bit = |octets: &[u8], n: usize| octets[n / 8] >> (7 - n % 8) & 1;
    net.len() == address.len()
        && (0..length).all(|n| bit(&net, n) == bit(&address, n))
        && (length..most).all(|n| bit(&net, n) == 0)
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(four) => four.octets().to_vec(),
        IpAddr::V6(six) => six.octets().to_vec(),
    }
}
