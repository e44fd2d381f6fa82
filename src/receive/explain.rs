//! What the checks would say, for `postrider explain ADDRESS --from A --client IP`: the very same checks as in a session.

use crate::check::{Checks, Decision, Visitor};
use crate::client;
use crate::settings::{DelayChecks, Settings};
use mail::{Address, Encryption};
use route::{Resolver, Router, Step};
use serde::Serialize;
use std::net::IpAddr;
use table::Why;

/// The checks of one transaction, as far as they would go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Each check with what it was asked about and what it said.
    pub steps: Vec<Step>,
    /// The reply that refuses, if one does.
    pub refusal: Option<String>,
}

/// Asks the checks about a client, a sender and a recipient. What happens to an accepted recipient says [`Router::explain`].
pub async fn explain(
    router: &Router,
    settings: &Settings,
    resolver: &dyn Resolver,
    ip: IpAddr,
    (sender, recipient): (&Address, &Address),
) -> Checked {
    let ip = ip.to_canonical();
    let (name, resolved) = client::name(resolver, ip).await;
    let visitor = Visitor { ip, name: &name, resolved, encryption: &Encryption::default() };
    let checks = Checks { router, settings, resolver, visitor };
    let mut checked = Checked { steps: Vec::new(), refusal: None };
    let ip = crate::smtp::in_full(ip);
    let shown = if name.is_empty() { format!("[{ip}]") } else { format!("{name} [{ip}]") };
    let from = format!("<{sender}>");
    let at_once = settings.delay_checks == DelayChecks::Off;
    if at_once && checked.note("check_relay", &shown, checks.relay().await) {
        return checked;
    }
    if at_once && checked.note("check_mail", &from, checks.mail(sender).await) {
        return checked;
    }
    for (check, said) in checks.at_rcpt(sender, recipient).await {
        let about = match check {
            "check_relay" => shown.clone(),
            "check_mail" => from.clone(),
            _ => format!("<{recipient}>"),
        };
        if checked.note(check, &about, said) {
            break;
        }
    }
    checked
}

impl Checked {
    /// Writes one check down; true if it refuses.
    fn note(&mut self, what: &'static str, about: &str, said: Decision) -> bool {
        let nothing = || Why { source: "access".into(), line: 0, key: "nothing against it".into() };
        let (to, why) = match said {
            Decision::Pass => ("pass".to_owned(), nothing()),
            Decision::Stop(why) => ("accepted".to_owned(), why),
            Decision::Discard(why) => ("accepted and thrown away".to_owned(), why),
            Decision::Hold(text, why) => (format!("accepted and held: {text}"), why),
            Decision::Refuse(reply, why) => {
                self.refusal = Some(reply.to_string());
                (reply.to_string(), why)
            }
        };
        self.steps.push(Step { what, from: about.to_owned(), to, why });
        self.refusal.is_some()
    }
}
