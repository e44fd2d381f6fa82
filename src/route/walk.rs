//! The walk from an address to its final recipients: limits, loops, duplicates, owners, and the verdict. Called by `router.rs`;
//! goes through `local.rs` and `remote.rs`.
//!
//! No exponential work: an alias's members are added once, a virtual user leads to one address, and both depths are limited.

use crate::local::quoted;
use crate::masquerade::without_dot;
use crate::trace::Trace;
use crate::{Key, Owner, Router, Target, Verdict};
use mail::{Address, Severity, Status};
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use table::{Refusal, Unavailable, Why};

/// Most circles that are followed for one alias that is met again: tables of such a kind are nobody's.
const MOST_CIRCLES: usize = 256;
/// Most virtual users that lead to each other.
const VIRTUAL_DEPTH: usize = 50;

/// Something that is refused, with its reply code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: u16,
    pub(crate) status: Status,
    pub(crate) text: String,
    pub(crate) why: Why,
    /// Exit code that a table names.
    pub(crate) exit: Option<u8>,
}

impl Refused {
    /// What a table says. The class of the status is the code's: nobody is told 550 4.2.1.
    pub(crate) fn by_table(refusal: Refusal, why: Why) -> Self {
        let severity = if refusal.code < 500 { Severity::Temporary } else { Severity::Permanent };
        Self {
            code: refusal.code,
            status: Status { severity, ..refusal.status },
            text: refusal.text,
            why,
            exit: refusal.exit,
        }
    }
}

/// What is being expanded, from the outside in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Within {
    /// An alias.
    Alias(String),
    /// A virtual user, `user@domain`.
    Virtual(String),
    /// The luser relay.
    Luser,
}

/// A target, reply code and exit code if a table refused it, and whether an alias named it.
struct Reached {
    target: Target,
    code: Option<u16>,
    exit: Option<u8>,
    member: bool,
}

/// An alias that was met again while it was being expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Circle {
    /// Its name.
    pub(crate) back_to: String,
    /// The name on the circle that has an account and got the mail.
    pub(crate) taker: Option<String>,
}

/// What became of an alias whose members have all been added.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    /// Somebody was reached, perhaps again.
    pub(crate) reached: bool,
    /// Circles through it that go on above it. Met again on another way down they may end at another account.
    pub(crate) open: Vec<Circle>,
}

/// State of one expansion.
pub(crate) struct Walk {
    reached: Vec<Reached>,
    /// What is being expanded, to cut loops.
    pub(crate) path: Vec<Within>,
    /// Final keys already reached: a person reached twice gets one copy.
    seen: HashSet<String>,
    /// Aliases whose members have all been added: ten levels of six lists that name each other are sixty look-ups, not 6^10.
    pub(crate) done: HashMap<String, Done>,
    /// Circles that were met inside of what is being expanded.
    pub(crate) circles: Vec<Circle>,
    /// Aliases that led back to themselves, with where that was said.
    pub(crate) cut: HashMap<String, (Address, Option<Why>)>,
    /// How often somebody was reached, also again.
    pub(crate) arrived: usize,
    /// Addresses and members so far.
    admitted: u32,
    /// Envelope sender for what is being added.
    pub(crate) owner: Option<Owner>,
    /// The address or the alias's member that is being followed, as written.
    pub(crate) asked: String,
    pub(crate) trace: Trace,
}

pub(crate) type Step<'a> = Pin<Box<dyn Future<Output = Result<(), Unavailable>> + Send + 'a>>;

impl Walk {
    pub(crate) fn new(trace: Trace) -> Self {
        Self {
            reached: Vec::new(),
            path: Vec::new(),
            seen: HashSet::new(),
            done: HashMap::new(),
            circles: Vec::new(),
            cut: HashMap::new(),
            arrived: 0,
            admitted: 0,
            owner: None,
            asked: String::new(),
            trace,
        }
    }
    /// A final recipient; `named` is where it was found, if in a table.
    pub(crate) fn push(&mut self, address: Address, key: Key, named: Option<Why>, why: Why) {
        self.reach(address, key, named, why, (None, None));
    }
    /// A local user; `written` is the name before detail and backslash were taken off.
    pub(crate) fn push_user(&mut self, key: Key, written: String, named: Option<Why>, why: Why) {
        let before = self.reached.len();
        let whole = match &key {
            Key::Local { user, detail, .. } if !detail.is_empty() => format!("{user}+{detail}"),
            Key::Local { user, .. } => user.clone(),
            _ => written.clone(),
        };
        self.push(Address::from_parts(&quoted(&whole), None), key, named, why);
        if let Some(Reached { target, .. }) = self.reached.get_mut(before) {
            target.written = written;
        }
    }
    /// A recipient that is refused.
    pub(crate) fn refuse(&mut self, address: Address, refused: Refused, named: Option<Why>) {
        let Refused { code, status, text, why, exit } = refused;
        self.reach(address, Key::Error { status, text }, named, why, (Some(code), exit));
    }
    fn reach(&mut self, address: Address, key: Key, named: Option<Why>, why: Why, codes: (Option<u16>, Option<u8>)) {
        // Behind a domain's last dot no table is asked; on the wire it has none.
        let address = without_dot(address);
        // `alice` and `\alice` are two: the first may have a `.forward`. Whoever delivers makes one copy of them if there is none.
        let person = match &key {
            Key::Local { .. } => key.to_string(),
            _ => format!("{key} {}@{}", address.local(), address.domain_key().unwrap_or_default()),
        };
        self.arrived += 1;
        if !self.seen.insert(person) {
            self.trace.step("duplicate", &address, &key, || why);
            return;
        }
        self.trace.step("final", &address, &key, || why.clone());
        let controlling = named.map(|w| w.to_string()).unwrap_or_default();
        let owner = self.owner.clone();
        let member = self.aliases_deep() > 0;
        let (asked, written, (code, exit)) = (self.asked.clone(), String::new(), codes);
        let target = Target { address, key, controlling, owner, why, asked, written };
        self.reached.push(Reached { target, code, exit, member });
    }
    /// Whether another address or member, of any kind, is taken. Lets others run now and then: tables answer from memory, and a large
    /// list would hold the thread.
    pub(crate) async fn admit(&mut self, limit: u32) -> Result<(), Unavailable> {
        if self.reached.len() >= limit.max(1) as usize {
            return Err(Unavailable(format!("alias expands to more than {limit} recipients")));
        }
        self.admitted += 1;
        if self.admitted.is_multiple_of(64) {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
    /// The aliases being expanded that the circles through `name`, which is done, lead back to.
    pub(crate) fn closes(&self, name: &str) -> Vec<String> {
        let (mut known, mut left, mut open) = (HashSet::from([name]), vec![name], Vec::new());
        while let Some(name) = left.pop() {
            let Some(done) = self.done.get(name) else { continue };
            for back_to in done.open.iter().map(|circle| &*circle.back_to).filter(|name| known.insert(name)) {
                if self.path.iter().any(|within| matches!(within, Within::Alias(name) if name == back_to)) {
                    open.push(back_to.to_owned());
                } else {
                    left.push(back_to);
                }
            }
            if known.len() > MOST_CIRCLES {
                break;
            }
        }
        open
    }
    /// `name` has been expanded; `before` is how many circles there were, and how many were reached, when that began.
    pub(crate) fn finish(&mut self, name: String, (circles, arrived): (usize, usize)) {
        let mut open: Vec<Circle> = Vec::new();
        for circle in self.circles.split_off(circles.min(self.circles.len())) {
            // Those that end here end here on any way.
            if circle.back_to != name && circle.taker.as_ref() != Some(&name) && !open.contains(&circle) {
                open.push(circle);
            }
        }
        self.circles.extend(open.iter().cloned());
        self.done.insert(name, Done { reached: self.arrived != arrived, open });
    }
    pub(crate) fn aliases_deep(&self) -> usize {
        self.path.iter().filter(|within| matches!(within, Within::Alias(_))).count()
    }
    pub(crate) fn is_too_virtual(&self) -> bool {
        self.path.iter().filter(|within| matches!(within, Within::Virtual(_))).count() >= VIRTUAL_DEPTH
    }
    /// The verdict on all that was reached. What is refused outside of any alias is said now, while the client listens. At RCPT sendmail
    /// looks at an alias's name only, so its bad members bounce later, to its owner if it has one (measured on 8.17.1.9).
    fn verdict(&mut self) -> Verdict {
        let refusal = |reached: &Reached| match &reached.target.key {
            Key::Error { status, text } if !reached.member && (status.is_permanent() || reached.code.is_some()) => {
                let code = reached.code.unwrap_or_else(|| reply_code(*status));
                Some((code, *status, text.clone(), reached.target.why.clone(), reached.exit))
            }
            _ => None,
        };
        match self.reached.iter().map(refusal).collect::<Option<Vec<_>>>() {
            Some(refusals) => {
                let (code, status, text, why, exit) = refusals.into_iter().next().unwrap_or_else(|| {
                    let why = crate::router::setting("aliases", "no recipient left");
                    (550, Status::permanent(1, 1), "User unknown".into(), why, None)
                });
                Verdict::Refused { code, status, text, why, exit }
            }
            None => Verdict::Targets(self.reached.drain(..).map(|reached| reached.target).collect()),
        }
    }
}

/// The reply code that goes with a status where no table names one.
fn reply_code(status: Status) -> u16 {
    match (status.severity, status.subject, status.detail) {
        (Severity::Temporary, ..) => 451,
        (_, 1, 3) => 553,
        (_, 4, 6) => 554,
        _ => 550,
    }
}

impl Router {
    pub(crate) async fn walk(&self, walk: &mut Walk, address: &Address) -> Verdict {
        address.as_str().clone_into(&mut walk.asked);
        match self.add(walk, address.clone(), None).await {
            Err(Unavailable(text)) => Verdict::Unavailable { text },
            Ok(()) => walk.verdict(),
        }
    }

    /// Adds the targets of one address; `named` is where the address was found, if in a table.
    pub(crate) fn add<'a>(&'a self, walk: &'a mut Walk, address: Address, named: Option<Why>) -> Step<'a> {
        Box::pin(async move {
            walk.admit(self.settings().alias_limit).await?;
            if self.is_too_deep(walk) {
                self.looped(walk, &address, named);
                return Ok(());
            }
            let address = match self.canonical(&mut walk.trace, &address).await? {
                Ok(canonical) => canonical,
                Err(refused) => {
                    walk.refuse(address, refused, named);
                    return Ok(());
                }
            };
            if let Some(refused) = self.redirected(&address) {
                walk.refuse(address, refused, named);
                return Ok(());
            }
            if self.add_virtual(walk, &address, named.as_ref()).await? {
                return Ok(());
            }
            if self.add_virtual_mailbox(walk, &address, named.as_ref()).await? {
                return Ok(());
            }
            match self.local(&address) {
                Some(_) => self.add_local(walk, &address, named).await,
                None => self.add_remote(walk, &address, named).await,
            }
        })
    }

    /// FEATURE(redirect): `user@new.example.REDIRECT`.
    fn redirected(&self, address: &Address) -> Option<Refused> {
        let domain = address.domain_key().filter(|_| self.settings().redirect)?;
        let new = domain.strip_suffix(".redirect")?;
        let text = format!("User has moved; please try <{}@{new}>", address.local());
        let why = crate::router::setting("redirect", &domain);
        Some(Refused { code: 551, status: Status::permanent(1, 1), text, why, exit: None })
    }
}
