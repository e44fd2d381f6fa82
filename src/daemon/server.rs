//! What the tables say about a server that mail would be handed to: encryption (`Try_TLS:`, `TLS_Srv:`, `TLS_Rcpt:`) and log-in
//! (`AuthInfo:`), sendmail.md 3.3 and 3.8. `postrider explain --server NAME=IP` prints it; no server is asked, no password shown.

use crate::routes::Routes;
use anyhow::Context as _;
use deliver::{Demanded, Demands as _, Secrets as _};
use mail::Address;
use mail::log::safe;
use serde_json::{Value, json};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use table::{Demand, Requirement};

/// A server, by name and address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    name: String,
    ip: Option<IpAddr>,
}

impl std::str::FromStr for Server {
    type Err = std::net::AddrParseError;
    /// `NAME`, `NAME=IP`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, ip) = text.split_once('=').map_or((text, None), |(name, ip)| (name, Some(ip)));
        Ok(Self { name: name.to_owned(), ip: ip.map(str::parse).transpose()? })
    }
}

/// What holds for it.
pub(crate) struct Terms {
    server: String,
    in_clear: bool,
    demanded: Option<Demanded>,
    for_recipient: Option<Demanded>,
    login: Option<deliver::Secret>,
}

impl Terms {
    /// Looks everything up.
    pub(crate) async fn of(routes: &Routes, server: &Server, recipient: &Address) -> anyhow::Result<Self> {
        let name = Some(server.name.as_str()).filter(|name| !name.is_empty());
        // Nobody has this address: without one only the entries about names count.
        let ip = server.ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let failed = |text: String| anyhow::anyhow!(text);
        let terms = routes.of_server(name, ip).await.map_err(failed).context("Try_TLS, TLS_Srv")?;
        Ok(Self {
            server: server.ip.map_or_else(|| server.name.clone(), |ip| format!("{} [{ip}]", server.name)),
            in_clear: terms.in_clear,
            demanded: terms.demanded,
            for_recipient: routes.for_recipient(recipient).await.map_err(failed).context("TLS_Rcpt")?,
            login: routes.credentials(name, server.ip).await.map_err(failed).context("AuthInfo")?,
        })
    }
    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        let demanded = |demanded: &Option<Demanded>| {
            demanded.as_ref().map(|Demanded { demand, source }| {
                json!({ "verified": demand.verified, "bits": demand.bits, "permanent": is_permanent(demand),
                        "certificate": requirements(demand), "why": source })
            })
        };
        let login = self.login.as_ref().map(|secret| {
            let known = &secret.credentials;
            json!({ "user": known.user, "identity": known.identity, "realm": known.realm, "mechanisms": known.mechanisms,
                    "why": secret.source })
        });
        json!({
            "server": self.server,
            "in_clear": self.in_clear,
            "demanded": demanded(&self.demanded),
            "for_recipient": demanded(&self.for_recipient),
            "login": login,
        })
    }
    /// For people.
    pub(crate) fn print(&self, out: &mut impl Write) -> std::io::Result<()> {
        let server = safe(&self.server);
        if self.in_clear {
            writeln!(out, "  {:<13} {server}: STARTTLS is not tried  (Try_TLS)", "encryption")?;
        }
        for (about, demanded) in [(&server, &self.demanded), (&"this recipient".to_owned(), &self.for_recipient)] {
            let Some(Demanded { demand, source }) = demanded else { continue };
            let verified = if demand.verified { ", a verified certificate" } else { "" };
            let certificate: String = requirements(demand).iter().map(|text| format!(", {}", safe(text))).collect();
            let unmet = if is_permanent(demand) { "bounces" } else { "waits" };
            let what = format!("at least {} bits{verified}{certificate}; else mail {unmet}", demand.bits.max(1));
            writeln!(out, "  {:<13} {about}: {what}  ({})", "encryption", safe(source))?;
        }
        match &self.login {
            None => Ok(()),
            Some(secret) => {
                let (who, source) = (safe(&secret.credentials.identity), safe(&secret.source));
                // An entry for any server is no reason to tell a stranger a password (`deliver/auth.rs`).
                let any = if secret.key.ends_with(':') {
                    ", if it is the smart host or the mailer table names it"
                } else {
                    ""
                };
                writeln!(out, "  {:<13} {server}: as {who}, over TLS only{any}  ({source})", "log-in")
            }
        }
    }
}

fn is_permanent(demand: &Demand) -> bool {
    demand.refusal().1.is_permanent()
}

/// What a certificate must say, in words.
fn requirements(demand: &Demand) -> Vec<String> {
    let said = |requirement: &Requirement| match requirement {
        Requirement::Name(Some(name)) => format!("made for {name}"),
        Requirement::Name(None) => "made for the server's name".to_owned(),
        Requirement::Subject(name) => format!("of {name}"),
        Requirement::Issuer(name) => format!("signed by {name}"),
        Requirement::Unknown(text) => format!("{text} (not known here: never met)"),
    };
    demand.certificate.iter().map(said).collect()
}

#[cfg(test)]
mod tests {
    use super::Server;

    #[test]
    fn a_server_has_a_name_and_may_have_an_address() {
        let of = |text: &str| text.parse::<Server>();
        assert_eq!(of("mx.test"), Ok(Server { name: "mx.test".into(), ip: None }));
        assert_eq!(of("mx.test=192.0.2.1"), Ok(Server { name: "mx.test".into(), ip: Some([192, 0, 2, 1].into()) }));
        assert_eq!(of("=::1"), Ok(Server { name: String::new(), ip: Some("::1".parse().unwrap()) }));
        assert!(of("mx.test=far").is_err());
    }
}
