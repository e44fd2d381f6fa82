//! What the configuration must know of this machine: its name and the addresses of its interfaces.

use std::net::IpAddr;

/// Where systems keep the certificates of authorities: Debian, Red Hat, SUSE, Alpine and the BSDs.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Asks the kernel; never DNS, never sleeps (sendmail waits 60 s for a name with a dot).
pub(crate) fn ask() -> config::System {
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let authorities = AUTHORITIES.into_iter().find(|file| std::path::Path::new(file).is_file()).map(str::to_owned);
    config::System { hostname: qualified(&hostname), interfaces: interfaces(), authorities }
}

/// The name with a domain if `/etc/hosts` knows one for it.
fn qualified(hostname: &str) -> String {
    if hostname.contains('.') {
        return hostname.to_owned();
    }
    let Ok(hosts) = std::fs::read_to_string("/etc/hosts") else {
        return hostname.to_owned();
    };
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    for line in lines {
        let names: Vec<&str> = line.split_whitespace().skip(1).collect();
        if names.contains(&hostname)
            && let Some(full) =
                names.iter().find(|name| name.strip_prefix(hostname).is_some_and(|r| r.starts_with('.')))
        {
            return (*full).to_owned();
        }
    }
    hostname.to_owned()
}

fn interfaces() -> Vec<IpAddr> {
    let Ok(all) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    let ip = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address?;
        if let Some(v4) = address.as_sockaddr_in() {
            return Some(IpAddr::V4(v4.ip()));
        }
        address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()))
    };
    let mut ips: Vec<IpAddr> = all.filter_map(ip).collect();
    ips.sort();
    ips.dedup();
    ips
}
