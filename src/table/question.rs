//! What the engine asks of an administrator's tables, in the engine's own terms. The look-up order, tags and value
//! syntax of sendmail's files are behind these traits, in `compat/table`; `route` and `receive` see only answers.
//!
//! Addresses come as their two parts, unquoted local part and domain without trailing dot, in the case the sender wrote;
//! implementations fold as their table's rules say.

use crate::demand::{Demand, Features};
use crate::{Answer, Hit, Table, Unavailable, Why};
use mail::{Certificate, Status};
use std::net::IpAddr;

/// A value with its provenance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<T> {
    /// What was found.
    pub value: T,
    /// Where it stands.
    pub why: Why,
}

/// A refusal written in a table: `ERROR:5.7.1:550 text`, `error:nouser 550 text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// SMTP reply code, 421 or 4xx/5xx.
    pub code: u16,
    /// Enhanced status; given or made up from the code.
    pub status: Status,
    /// Text without codes.
    pub text: String,
    /// Exit code for programs that mail, if a keyword names one (`error:nouser`); otherwise the status decides.
    pub exit: Option<u8>,
}

/// An address as tables see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mailbox<'a> {
    /// Local part, unquoted; may hold `+detail`.
    pub user: &'a str,
    /// Domain; `None` for an unqualified address.
    pub domain: Option<&'a str>,
}

/// What a virtual user is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// Another address, with `%1`…`%3` filled in, to be looked up again; unparsed, comments and full name taken off. `\user@domain` keeps
    /// its backslash, which counts where the domain is this host's.
    Address(String),
    /// `\user`: the mailbox of this user, no alias.
    Mailbox(String),
    /// Refused.
    Refuse(Refusal),
}

/// `virtusertable`.
pub trait VirtualUsers: Send + Sync {
    /// Where `address` goes (sendmail.md 3.4); only asked for domains that are local or virtual.
    fn redirect<'a>(&'a self, address: Mailbox<'a>) -> Answer<'a, Found<Redirect>>;
}

/// A host of a mailertable value: `[a]` is looked up without MX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Name or address, without brackets, lower case.
    pub name: String,
    /// Whether MX records are looked up.
    pub mx: bool,
}

/// What a mailertable entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// An SMTP mailer (`smtp esmtp smtp8 dsmtp relay`) and its hosts, tried in order.
    Smtp {
        /// The mailer's name as written, lower case.
        mailer: String,
        /// At least one.
        hosts: Vec<Host>,
    },
    /// `lmtp:/socket`, `lmtp:[host]:port`: what stands behind the colon.
    Lmtp(String),
    /// `local:user`, `local:\user` of whom no alias is asked, or `local:` for the address's own user.
    Local(Option<String>),
    /// `error:`.
    Refuse(Refusal),
    /// `discard:`.
    Discard,
    /// A mailer that is not known here: a configuration error, temporary (4.3.5), never silently lost.
    Unknown(String),
}

/// `mailertable`.
pub trait Mailers: Send + Sync {
    /// The hop for a non-local domain (sendmail.md 3.5).
    fn hop<'a>(&'a self, domain: &'a str) -> Answer<'a, Found<Hop>>;
}

/// `genericstable`.
pub trait Generics: Send + Sync {
    /// The outside address of a sender (sendmail.md 3.7), unparsed, `%1` filled in; a value without domain stays without. The caller has
    /// checked that the address is unqualified or its domain is in class G.
    fn outside<'a>(&'a self, address: Mailbox<'a>) -> Answer<'a, Hit>;
}

/// What access says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// `OK`: accepted, also if other checks would refuse; no relaying.
    Ok,
    /// `RELAY`: accepted and may relay.
    Relay,
    /// `REJECT`, with the texts of the place that asks.
    Reject,
    /// `DISCARD`.
    Discard,
    /// `QUARANTINE:text`.
    Quarantine(String),
    /// `ERROR:…` or any other text.
    Refuse(Refusal),
    /// `FRIEND`.
    Friend,
    /// `HATER`.
    Hater,
}

/// Who connects.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// Address; `None` for a local submission.
    pub ip: Option<IpAddr>,
    /// Forward-confirmed name, if there is one.
    pub name: Option<&'a str>,
}

/// Credentials for a server (`AuthInfo:`). `Debug` shows no password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Authorization id (`U:`).
    pub user: String,
    /// Authentication id (`I:`).
    pub identity: String,
    /// Password (`P:`), raw bytes.
    pub password: Vec<u8>,
    /// Realm (`R:`).
    pub realm: Option<String>,
    /// Mechanisms (`M:`), upper case, in order; empty: the default.
    pub mechanisms: Vec<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({} as {}, password hidden)", self.identity, self.user)
    }
}

/// The access table (sendmail.md 3.3). The order within one question is the implementation's; the order of checks is the asker's.
pub trait Access: Send + Sync {
    /// `Connect:` at connection: D of the name if there is one, else A of the address.
    fn connect<'a>(&'a self, client: Client<'a>) -> Answer<'a, Found<Judgement>>;
    /// `Connect:` for relaying: address first, then name.
    fn relay_from<'a>(&'a self, client: Client<'a>) -> Answer<'a, Found<Judgement>>;
    /// `From:` of a sender.
    fn sender<'a>(&'a self, address: Mailbox<'a>) -> Answer<'a, Found<Judgement>>;
    /// `To:` of a recipient (blocklist_recipients); `local` if its domain is in class w or missing.
    fn recipient<'a>(&'a self, address: Mailbox<'a>, local: bool) -> Answer<'a, Found<Judgement>>;
    /// `To:` of a recipient's domain, for relaying; a domain covers those below.
    fn relay_to<'a>(&'a self, domain: &'a str) -> Answer<'a, Found<Judgement>>;
    /// `To:` of a whole recipient, for relaying: where the table was called with `relaytofulladdress` the address is asked for before its
    /// domain, elsewhere this is [`Access::relay_to`].
    fn relay_to_address<'a>(&'a self, address: Mailbox<'a>) -> Answer<'a, Found<Judgement>> {
        match address.domain {
            Some(domain) => self.relay_to(domain),
            None => nothing(),
        }
    }
    /// `Spam:` of a recipient (delay_checks).
    fn spam<'a>(&'a self, address: Mailbox<'a>, local: bool) -> Answer<'a, Found<Judgement>>;
    /// Any tag about a host (`GreetPause`, `ClientRate`, `ClientConn`, `TLS_Srv`, `Try_TLS`, …): D of the name, A of the address, then the empty
    /// key; the value as written.
    fn peer<'a>(&'a self, tag: &'a str, peer: Client<'a>) -> Answer<'a, Hit>;
    /// `AuthInfo:` for a server: name, its parents, address, empty key.
    fn credentials<'a>(&'a self, server: Client<'a>) -> Answer<'a, Found<Credentials>>;
    /// `TLS_Srv:` of a server (`server`) or `TLS_Clt:` of a client: D of the name, A of the address, then the empty key.
    fn encryption<'a>(&'a self, _server: bool, _peer: Client<'a>) -> Answer<'a, Found<Demand>> {
        nothing()
    }
    /// `TLS_Rcpt:` of a recipient: F, U, D, then the empty key.
    fn encryption_for<'a>(&'a self, _recipient: Mailbox<'a>) -> Answer<'a, Found<Demand>> {
        nothing()
    }
    /// `Srv_Features:` of a client: D of the name, A of the address, then the empty key.
    fn features<'a>(&'a self, _client: Client<'a>) -> Answer<'a, Found<Features>> {
        nothing()
    }
    /// Whether a client with this certificate, which was verified, may relay: `CERTISSUER:` of who signed it, then perhaps `CERTSUBJECT:`.
    fn relay_by<'a>(&'a self, _certificate: &'a Certificate) -> Answer<'a, Hit> {
        nothing()
    }
}

/// New names of domains.
pub trait Renames: Send + Sync {
    /// The new name of `domain` (folded, without a dot at its end), and the table that has it: `domaintable`, `bitdomain`, `uucpdomain`.
    fn rename<'a>(&'a self, domain: &'a str) -> Answer<'a, (&'static str, Hit)>;
}

/// A table alone is a domaintable.
impl<T: Table> Renames for T {
    fn rename<'a>(&'a self, domain: &'a str) -> Answer<'a, (&'static str, Hit)> {
        Box::pin(async move { Ok(self.look_up(domain).await?.map(|hit| ("domaintable", hit))) })
    }
}

/// No table: every question is answered "nothing found".
#[derive(Debug, Default)]
pub struct Nothing;

fn nothing<'a, T: Send + 'a>() -> Answer<'a, T> {
    Box::pin(std::future::ready(Ok::<Option<T>, Unavailable>(None)))
}

impl VirtualUsers for Nothing {
    fn redirect<'a>(&'a self, _address: Mailbox<'a>) -> Answer<'a, Found<Redirect>> {
        nothing()
    }
}

impl Mailers for Nothing {
    fn hop<'a>(&'a self, _domain: &'a str) -> Answer<'a, Found<Hop>> {
        nothing()
    }
}

impl Generics for Nothing {
    fn outside<'a>(&'a self, _address: Mailbox<'a>) -> Answer<'a, Hit> {
        nothing()
    }
}

impl Access for Nothing {
    fn connect<'a>(&'a self, _client: Client<'a>) -> Answer<'a, Found<Judgement>> {
        nothing()
    }
    fn relay_from<'a>(&'a self, _client: Client<'a>) -> Answer<'a, Found<Judgement>> {
        nothing()
    }
    fn sender<'a>(&'a self, _address: Mailbox<'a>) -> Answer<'a, Found<Judgement>> {
        nothing()
    }
    fn recipient<'a>(&'a self, _address: Mailbox<'a>, _local: bool) -> Answer<'a, Found<Judgement>> {
        nothing()
    }
    fn relay_to<'a>(&'a self, _domain: &'a str) -> Answer<'a, Found<Judgement>> {
        nothing()
    }
    fn spam<'a>(&'a self, _address: Mailbox<'a>, _local: bool) -> Answer<'a, Found<Judgement>> {
        nothing()
    }
    fn peer<'a>(&'a self, _tag: &'a str, _peer: Client<'a>) -> Answer<'a, Hit> {
        nothing()
    }
    fn credentials<'a>(&'a self, _server: Client<'a>) -> Answer<'a, Found<Credentials>> {
        nothing()
    }
}
