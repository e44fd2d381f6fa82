//! Who calls: from the uid alone. Programs call us with an empty environment, so USER and LOGNAME count for nothing; the engine
//! takes the uid from the kernel in any case. Used for the sender, the generated From, and dead.letter.

use nix::unistd::{Uid, User};
use std::path::PathBuf;

/// The calling user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Real uid.
    pub uid: u32,
    /// Login name; `uid1234` when there is no account with that uid (containers).
    pub name: String,
    /// Full name from the account, ready for use.
    pub full_name: String,
    /// Home folder, for dead.letter; never from the environment.
    pub home: Option<PathBuf>,
    /// Whether the uid has an account.
    pub known: bool,
}

impl Caller {
    /// Looks the real uid up.
    #[must_use]
    pub fn current() -> Self {
        let uid = Uid::current();
        match User::from_uid(uid) {
            Ok(Some(user)) => Self {
                uid: uid.as_raw(),
                full_name: full_name(&gecos(&user), &user.name),
                name: user.name,
                home: Some(user.dir).filter(|dir| dir.is_absolute()),
                known: true,
            },
            _ => Self {
                uid: uid.as_raw(),
                name: format!("uid{uid}"),
                full_name: String::new(),
                home: None,
                known: false,
            },
        }
    }
    /// The envelope sender when none is given. Without an account it is postmaster, as in sendmail: a bounce has to
    /// reach somebody.
    #[must_use]
    pub fn sender(&self) -> &str {
        if self.known { &self.name } else { "postmaster" }
    }
    /// Whether another sender needs no warning (sendmail's class t as every stock configuration has it).
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.uid == 0 || matches!(self.name.as_str(), "root" | "daemon" | "uucp")
    }
}

/// Full name of a local account, or empty.
#[must_use]
pub fn full_name_of(login: &str) -> String {
    match User::from_name(login) {
        Ok(Some(user)) => full_name(&gecos(&user), &user.name),
        _ => String::new(),
    }
}

fn gecos(user: &User) -> String {
    let bytes = user.gecos.as_bytes();
    String::from_utf8(bytes.to_vec()).unwrap_or_else(|_| bytes.iter().map(|&b| char::from(b)).collect())
}

/// Full name out of a gecos field: up to the first `,` `;` `%`, with `&` standing for the capitalized login name
/// (sendmail.md 1.9).
#[must_use]
pub fn full_name(gecos: &str, login: &str) -> String {
    let mut capitalized = login.to_owned();
    if let Some(first) = capitalized.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let name = gecos.split([',', ';', '%']).next().unwrap_or_default();
    name.replace('&', &capitalized)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gecos_as_the_oracle_had_it() {
        assert_eq!(full_name("Alice A. Liddell,Room 1,555", "alice"), "Alice A. Liddell");
        assert_eq!(full_name("Bob Q. & Public", "bob"), "Bob Q. Bob Public");
        assert_eq!(full_name("", "carol"), "");
        // A blank before what cuts it off stays, as in sendmail.
        assert_eq!(full_name("Frank %x", "frank"), "Frank ");
        assert_eq!(full_name("&", "élan"), "élan");
    }
}
