//! Names of this host, as far as a caller without configuration can know them. Only for a warning in the header and for the
//! fall-back to SMTP; whatever the engine does uses the configured names.

/// Larger files of names are not read.
const LIMIT: u64 = 1 << 16;

/// The kernel's node name.
#[must_use]
pub fn node_name() -> String {
    let name = rustix::system::uname();
    match name.nodename().to_string_lossy() {
        name if name.is_empty() => "localhost".to_owned(),
        name => name.into_owned(),
    }
}

/// Node name, every name on its lines of /etc/hosts, and /etc/mailname.
#[must_use]
pub fn names() -> Vec<String> {
    let node = node_name();
    let mut names = Vec::new();
    for line in read("/etc/hosts").lines() {
        let words = line.split('#').next().unwrap_or_default().split_ascii_whitespace().skip(1);
        if words.clone().any(|word| word.eq_ignore_ascii_case(&node)) {
            names.extend(words.map(str::to_owned));
        }
    }
    names.push(read("/etc/mailname").trim().to_owned());
    names.push("localhost".to_owned());
    names.push(node);
    names
}

/// The node name with a domain if one can be found: for HELO and for unqualified senders.
#[must_use]
pub fn full_name() -> String {
    let node = node_name();
    if node.contains('.') {
        return node;
    }
    let prefix = format!("{node}.");
    names().into_iter().find(|name| name.starts_with(&prefix)).unwrap_or(node)
}

fn read(path: &str) -> String {
    use std::io::Read;
    let mut text = String::new();
    if let Ok(file) = std::fs::File::open(path) {
        let _absent_or_binary = file.take(LIMIT).read_to_string(&mut text);
    }
    text
}
