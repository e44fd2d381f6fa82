//! Who has a message or will get it: nobody gets a second copy by what another recipient becomes. Called by `expand`.

use crate::expand::elder;
use queue::{ELSEWHERE, Envelope, Recipient, State};
use route::Key;
use std::collections::HashSet;

/// Who has the message or will get it.
pub(crate) struct Crowd {
    /// Those themselves.
    reached: HashSet<String>,
    /// Those who became others, of whom at least one is reached. (Two who forward to each other reach nobody: one of them keeps it.)
    leading: HashSet<String>,
    /// Some of them stood for the same name before.
    anew: bool,
}

impl Crowd {
    /// Everybody but `parents`, who are about to become others; `anew`: in place of others that they were.
    pub(crate) fn of(envelope: &Envelope, parents: &[u32], anew: bool) -> Self {
        let mut crowd = Self { reached: HashSet::new(), leading: HashSet::new(), anew };
        let mut leads = HashSet::new();
        for (index, recipient) in (0..).zip(&envelope.recipients) {
            let elsewhere = recipient.route.strip_prefix(ELSEWHERE);
            let became_others = recipient.state == State::Expanded && elsewhere.is_none();
            // Each error is told for itself, but not again because a file was written anew.
            let told_for_itself = !anew && recipient.route.starts_with("error:");
            if parents.contains(&index) || became_others || told_for_itself {
                continue;
            }
            crowd.reached.insert(person(elsewhere.unwrap_or(&recipient.route), recipient));
            if let (State::Delivered, Some(Key::Local { user, detail, .. })) =
                (recipient.state, Key::parse(&recipient.route))
            {
                // Without a `.forward`: his mailbox has it.
                crowd.reached.insert(Key::Local { user, detail, plain: true }.to_string());
            }
            let mut at = elder(recipient, Some(index));
            while let Some(above) = at.filter(|at| leads.insert(*at)) {
                at = envelope.recipients.get(above as usize).and_then(|recipient| elder(recipient, at));
            }
        }
        let leading = leads.iter().filter_map(|at| envelope.recipients.get(*at as usize));
        crowd.leading = leading.map(|recipient| person(&recipient.route, recipient)).collect();
        crowd
    }
    /// Whether the child is somebody new; he is known from now on.
    pub(crate) fn admits(&mut self, child: &Recipient, listed: bool) -> bool {
        let name = person(&child.route, child);
        let plain = matches!(Key::parse(&child.route), Some(Key::Local { plain: true, .. }));
        // Errors are told each for itself, but not again and again to the owner of a list.
        (child.route.starts_with("error:") && !listed && !self.anew)
            || ((plain || !self.leading.contains(&name)) && self.reached.insert(name))
    }
    /// Whether his mailbox is among them, under this detail or without one.
    pub(crate) fn has_mailbox(&self, mailbox: &Key) -> bool {
        let Key::Local { user, .. } = mailbox else { return false };
        let bare = Key::Local { user: user.clone(), detail: String::new(), plain: true };
        [mailbox, &bare].iter().any(|key| self.reached.contains(&key.to_string()))
    }
}

/// One name for one person. `alice` and `\alice` are two: the first may have a `.forward` (see [`crate::job::Job::has_twin`]).
fn person(route: &str, recipient: &Recipient) -> String {
    if route.starts_with("local:") { route.to_owned() } else { format!("{route} {}", recipient.address) }
}
