//! What clients have to say first, and what they are not told: sendmail's PrivacyOptions (sendmail.md 4.5), as far as SMTP sees them.

use serde::{Deserialize, Serialize};

/// One flag for each word. The default is the careful one: HELO first, and nothing about users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Privacy {
    /// No MAIL before HELO or EHLO.
    pub mail_needs_hello: bool,
    /// No EXPN before it.
    pub expn_needs_hello: bool,
    /// No VRFY before it.
    pub vrfy_needs_hello: bool,
    /// EXPN is refused.
    pub no_expn: bool,
    /// VRFY tells nothing.
    pub no_vrfy: bool,
    /// ETRN is refused.
    pub no_etrn: bool,
    /// VERB is refused.
    pub no_verb: bool,
    /// DSN is not offered, and its parameters are refused.
    pub no_receipts: bool,
}

impl Default for Privacy {
    fn default() -> Self {
        Self {
            mail_needs_hello: true,
            expn_needs_hello: false,
            vrfy_needs_hello: false,
            no_expn: true,
            no_vrfy: true,
            no_etrn: true,
            no_verb: true,
            no_receipts: false,
        }
    }
}
