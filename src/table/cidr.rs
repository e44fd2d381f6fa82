//! Tables of networks: `192.0.2.0/24 value`, `2001:db8::/32 value`, one in a line, read by makemap's rules. The first network in the
//! file that has the address decides, as in Postfix's `cidr:`. Called through [`crate::Registry`].
//!
//! A look-up tries each length of prefix that occurs, so it takes the same time however long the table is.

use crate::pattern::Conditions;
use crate::text::{Fault, Row, Rules};
use crate::{Answer, Hit, Source, Table, Unavailable, Why, text};
use std::collections::{BTreeSet, HashMap};
use std::future::ready;
use std::net::IpAddr;
use std::sync::Arc;

/// More problems than this are not told.
const PROBLEMS: usize = 1_000;

/// A network: IPv6 or not, length of the prefix, and its bits in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Network {
    six: bool,
    length: u32,
    bits: u128,
}

impl Network {
    /// The network of `length` that an address is in.
    fn of(address: IpAddr, length: u32) -> Self {
        let (six, bits) = match address {
            IpAddr::V4(four) => (false, u128::from(u32::from(four)) << 96),
            IpAddr::V6(six) => (true, u128::from(six)),
        };
        let mask = u128::MAX.checked_shl(128u32.saturating_sub(length)).unwrap_or(0);
        Self { six, length, bits: bits & mask }
    }

    /// Reads `192.0.2.0/24`, `[2001:db8::]/32` or an address alone.
    fn parse(text: &str) -> Result<Self, String> {
        let expected = || format!("{text}: expected a network such as 192.0.2.0/24");
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = plain(address).parse().map_err(|_| expected())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = length.map_or(Ok(most), |length| {
            let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
            length.parse().ok().filter(|n| digits && *n <= most).ok_or_else(expected)
        })?;
        let network = Self::of(address, length);
        if network.bits == Self::of(address, most).bits {
            Ok(network)
        } else {
            Err(format!("{text}: bits behind the prefix; expected {}/{length}", network.address()))
        }
    }

    fn address(&self) -> IpAddr {
        if self.six { IpAddr::V6(self.bits.into()) } else { IpAddr::V4(((self.bits >> 96) as u32).into()) }
    }
}

/// Without brackets and `IPv6:`.
fn plain(address: &str) -> &str {
    let address = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let tag = address.get(..5).filter(|tag| tag.eq_ignore_ascii_case("ipv6:"));
    address.get(tag.map_or(0, str::len)..).unwrap_or_default()
}

#[derive(Debug)]
struct Rule {
    written: String,
    value: String,
    line: u32,
}

fn rule(row: Row<'_>) -> Result<(Network, Rule), Fault> {
    let Row { line, key, value } = row;
    let [written, value] = [key, value].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let fault = |what| Fault { line, what };
    if value.is_empty() {
        return Err(fault(format!("no RHS for LHS {written}")));
    }
    let network = Network::parse(&written).map_err(fault)?;
    Ok((network, Rule { written, value, line }))
}

/// A table of networks.
#[derive(Debug)]
pub struct Cidr {
    name: Arc<str>,
    rules: Vec<Rule>,
    /// By network, the first rule of it.
    index: HashMap<Network, usize>,
    /// The prefix lengths that occur, and whether of IPv6.
    lengths: BTreeSet<(bool, u32)>,
    warnings: Vec<String>,
}

/// Loads a table of networks; a [`crate::Load`], of kind `"cidr"`.
///
/// # Errors
/// If the text cannot be read.
pub fn load(source: Source) -> Result<Arc<dyn Table>, Unavailable> {
    Ok(Arc::new(Cidr::new(&source.name, &text::read(&source)?)))
}

impl Cidr {
    /// Reads the text of one. `name` is its path, for provenance.
    #[must_use]
    pub fn new(name: &str, text: &[u8]) -> Self {
        let mut table = Self {
            name: name.into(),
            rules: Vec::new(),
            index: HashMap::new(),
            lengths: BTreeSet::new(),
            warnings: Vec::new(),
        };
        let mut conditions = Conditions::default();
        // An `endif` stands alone.
        for row in (Rules { empty_values: true, ..Rules::default() }).rows(text) {
            let left_out = row.as_ref().ok().and_then(|row| {
                let key = String::from_utf8_lossy(row.key);
                conditions.passes_over(row.line, &key)
            });
            let read = match left_out {
                Some(None) => continue,
                Some(Some(fault)) => Err(fault),
                None => row.and_then(rule),
            };
            match read {
                Ok((network, rule)) => table.put(network, rule),
                Err(fault) if table.warnings.len() < PROBLEMS => {
                    let what = mail::log::safe(&fault.what);
                    table.warnings.push(format!("{name}:{}: {what}", fault.line));
                }
                Err(_) => {}
            }
        }
        table
    }

    fn put(&mut self, network: Network, rule: Rule) {
        self.lengths.insert((network.six, network.length));
        self.index.entry(network).or_insert(self.rules.len());
        self.rules.push(rule);
    }

    fn find(&self, key: &str) -> Option<Hit> {
        let address: IpAddr = plain(key).parse().ok()?;
        let address = address.to_canonical();
        let lengths = self.lengths.iter().filter(|(six, _)| *six == address.is_ipv6());
        let first = lengths.filter_map(|(_, length)| self.index.get(&Network::of(address, *length))).min()?;
        let rule = self.rules.get(*first)?;
        Some(Hit {
            value: rule.value.clone(),
            why: Why { source: Arc::clone(&self.name), line: rule.line, key: rule.written.clone() },
        })
    }
}

impl Table for Cidr {
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Hit> {
        Box::pin(ready(Ok(self.find(key))))
    }
    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_network_decides() {
        let text = "# nets\n10.1.2.3 host\n10.0.0.0/8 eight\n10.1.0.0/16 never\n2001:db8::/32 doc\n[::1]/128 loop\n0.0.0.0/0 any\n";
        let table = Cidr::new("/c", text.as_bytes());
        let find = |key: &str| table.find(key).map(|hit| format!("{} = {}", hit.why, hit.value));
        let hits = [
            ("10.1.2.3", "/c:2: 10.1.2.3 = host"),
            ("10.1.2.4", "/c:3: 10.0.0.0/8 = eight"),
            ("::ffff:10.1.2.4", "/c:3: 10.0.0.0/8 = eight"),
            ("192.0.2.1", "/c:7: 0.0.0.0/0 = any"),
            ("IPv6:2001:db8:1::1", "/c:5: 2001:db8::/32 = doc"),
            ("[::1]", "/c:6: [::1]/128 = loop"),
        ];
        for (key, hit) in hits {
            assert_eq!(find(key).as_deref(), Some(hit));
        }
        for key in ["::2", "", "example.org", "10.1.2", "10.1.2.3.4"] {
            assert_eq!(find(key), None, "{key}");
        }
    }

    #[test]
    fn conditions_are_left_out_with_what_depends_on_them() {
        let table = Cidr::new(
            "/c",
            b"if 10.0.0.0/8\n10.1.0.0/16 one\nendif\n10.1.0.0/16 two\nif !10.0.0.0/8\n0.0.0.0/0 three\n",
        );
        let told = |line: u32| format!("/c:{line}: if is not known here: everything up to its endif is left out");
        assert_eq!(table.warnings, [told(1), told(5)]);
        assert_eq!(table.find("10.1.2.3").map(|hit| hit.why.line), Some(4));
        assert_eq!(table.find("192.0.2.1"), None);
    }

    #[test]
    fn faults_are_told() {
        let table =
            Cidr::new("/c", b"10.1.2.3/8 x\n10.0.0.0/33 x\nhost x\n10.0.0.0/+8 x\n10.0.0.0/ x\n::/129 x\n1.2.3.4\n");
        let expected = |n: usize, text: &str| format!("/c:{n}: {text}: expected a network such as 192.0.2.0/24");
        assert_eq!(
            table.warnings,
            [
                "/c:1: 10.1.2.3/8: bits behind the prefix; expected 10.0.0.0/8".to_owned(),
                expected(2, "10.0.0.0/33"),
                expected(3, "host"),
                expected(4, "10.0.0.0/+8"),
                expected(5, "10.0.0.0/"),
                expected(6, "::/129"),
                "/c:7: no RHS for LHS 1.2.3.4".to_owned(),
            ]
        );
    }
}
