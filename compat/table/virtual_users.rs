//! virtusertable (sendmail.md 3.4): the seven keys, their parameters, and what a value may be. `daemon` wraps a raw table in a
//! [`VirtualUserTable`] for `route`.
//!
//! A value is one address. What sendmail takes besides and should not (`/file`, `:include:`) is refused like a program; a user that
//! points to itself is the local user of that name: that is what people who write it want, and sendmail loops.

use crate::address::{Kind, kind};
use crate::check::Problem;
use crate::token::unquoted;
use crate::value::{ADDRESS, Keyword, ask, domain, error, error_refusal, fill, plussed};
use mail::Status;
use std::collections::HashSet;
use std::sync::Arc;
use table::{Answer, Found, Hit, Mailbox, Redirect, Refusal, Table, Unavailable, VirtualUsers};

/// More unknown domains than this are not told.
const STRANGERS: usize = 1_000;

/// virtusertable over a raw table.
#[derive(Clone)]
pub struct VirtualUserTable {
    raw: Arc<dyn Table>,
}

impl std::fmt::Debug for VirtualUserTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VirtualUserTable")
    }
}

impl VirtualUserTable {
    /// Wraps a table.
    #[must_use]
    pub fn new(raw: Arc<dyn Table>) -> Self {
        Self { raw }
    }

    async fn find(&self, user: &str, at: &str) -> Result<Option<Found<Redirect>>, Unavailable> {
        for attempt in attempts(user, at) {
            let Some(hit) = ask(&*self.raw, &attempt.key).await? else { continue };
            // sendmail's own marks, should they stand in the file: "@" is "not found, go on", "!" is "not found".
            match hit.value.trim() {
                "@" => continue,
                "!" => return Ok(None),
                _ => {}
            }
            return redirect(hit, &attempt, user, at).map(Some);
        }
        Ok(None)
    }
}

/// A key, and what `%1` to `%3` are for it.
struct Attempt<'a> {
    key: String,
    arguments: [&'a str; 2],
    plus_detail: String,
}

/// The keys for `user@at`, in sendmail's order.
fn attempts<'a>(user: &'a str, at: &str) -> impl Iterator<Item = Attempt<'a>> {
    let plus = plussed(user);
    let at = at.to_owned();
    let full =
        move |left: &str| Attempt { key: format!("{left}@{at}"), arguments: [user, ""], plus_detail: String::new() };
    let all = full("");
    let mut steps = vec![full(user)];
    if let Some((plain, detail)) = plus {
        let part = |left: &str| Attempt { arguments: [plain, detail], plus_detail: format!("+{detail}"), ..full(left) };
        // `++` asks for a detail, `+*` takes an empty one too.
        let doubled = !detail.is_empty();
        steps.extend(doubled.then(|| part(&format!("{plain}++"))));
        steps.extend([part(&format!("{plain}+*")), part(plain)]);
        steps.extend(doubled.then(|| part("++")));
        steps.extend([part("+*"), part("")]);
    } else {
        steps.push(all);
    }
    steps.into_iter()
}

fn redirect(hit: Hit, attempt: &Attempt<'_>, user: &str, at: &str) -> Result<Found<Redirect>, Unavailable> {
    let [one, two] = attempt.arguments;
    let filled = fill(&hit, &[&attempt.key, one, two, &attempt.plus_detail])?;
    let mut value = read(&filled);
    if let Redirect::Address(to) = &value
        && is_same(to, user, at)
    {
        value = Redirect::Address(written(user));
    }
    Ok(Found { value, why: hit.why })
}

/// Whether `to` is `user@at`, in any case of letters.
fn is_same(to: &str, user: &str, at: &str) -> bool {
    let Some((left, right)) = to.rsplit_once('@') else { return false };
    let right = right.strip_suffix('.').unwrap_or(right);
    let left = if left.starts_with('"') { unquoted(left) } else { left.to_owned() };
    left.eq_ignore_ascii_case(user) && right.eq_ignore_ascii_case(at)
}

/// A local part as it is written in an address: quoted where it must be (RFC 5321 4.1.2).
fn written(user: &str) -> String {
    let atom = |c: char| c.is_alphanumeric() || !c.is_ascii() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    if user.split('.').all(|part| !part.is_empty() && part.chars().all(atom)) && !user.starts_with(['|', '/']) {
        return user.to_owned();
    }
    let mut out = String::from('"');
    for c in user.chars() {
        out.extend((c == '"' || c == '\\').then_some('\\'));
        out.push(c);
    }
    out.push('"');
    out
}

/// What a value with its parameters filled in says.
pub(crate) fn read(value: &str) -> Redirect {
    if let Some(rest) = error(value) {
        return Redirect::Refuse(error_refusal(rest, Keyword::Blank));
    }
    let no = |code, status, text: &str| Redirect::Refuse(Refusal { code, status, text: text.to_owned(), exit: None });
    let illegal = |what: &str| no(550, Status::permanent(7, 1), &format!("Cannot mail directly to {what}"));
    match kind(value) {
        Kind::Address(text) => Redirect::Address(text),
        Kind::Mailbox(user) => Redirect::Mailbox(user),
        Kind::Program => illegal("programs"),
        Kind::File => illegal("files"),
        Kind::Include => illegal(":include:s"),
        Kind::List => no(553, Status::permanent(1, 3), "Invalid route address"),
        Kind::Nobody => no(553, Status::permanent(1, 3), "User address required"),
    }
}

/// The keys whose domain is neither local nor virtual: nobody ever asks for them. `is_known` says whether a domain, in lower case, is.
pub fn check_domains<'a>(
    name: &str,
    entries: impl IntoIterator<Item = (u32, &'a str, &'a str)>,
    is_known: &dyn Fn(&str) -> bool,
) -> Vec<Problem> {
    let file = name.into();
    let mut told = HashSet::new();
    let mut found = Vec::new();
    for (line, key, _) in entries {
        let domain = key.rsplit_once('@').map(|(_, domain)| domain.to_ascii_lowercase()).unwrap_or_default();
        if !domain.is_empty() && !is_known(&domain) && told.len() < STRANGERS && told.insert(domain.clone()) {
            let text = format!("expected a local or virtual domain: nobody asks for \"{domain}\"");
            found.push(Problem::new(&file, line, &text));
        }
    }
    found
}

impl VirtualUsers for VirtualUserTable {
    fn redirect<'a>(&'a self, address: Mailbox<'a>) -> Answer<'a, Found<Redirect>> {
        Box::pin(async move {
            let Some(at) = address.domain.and_then(domain) else { return Ok(None) };
            if address.user.is_empty() || address.user.len() + at.len() >= ADDRESS {
                return Ok(None);
            }
            self.find(address.user, at).await
        })
    }
}

#[cfg(test)]
#[path = "virtual_users_test.rs"]
mod tests;
