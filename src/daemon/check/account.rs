//! The users and the group that the server's processes run as.

use super::Findings;
use config::Config;

/// uid and gid of a user, or what to do.
pub(super) fn user(name: &str) -> Result<(u32, u32), String> {
    match nix::unistd::User::from_name(name) {
        Ok(Some(user)) => Ok((user.uid.as_raw(), user.gid.as_raw())),
        Ok(None) => Err(format!("no user \"{name}\": adduser --system --group --no-create-home {name}")),
        Err(errno) => Err(format!("user \"{name}\" cannot be looked up: {}", errno.desc())),
    }
}

pub(super) fn accounts(config: &Config, found: &mut Findings) {
    let run = &config.run;
    let (engine, users) = (user(&run.user), user(&run.users_user));
    for (name, account) in [(&run.user, &engine), (&run.users_user, &users)] {
        match account {
            Ok((0, _)) => {
                found.fail("accounts", format!("\"{name}\" is root: the server's processes need users of their own"))
            }
            Ok((uid, _)) => found.ok("accounts", format!("{name} has uid {uid}")),
            Err(why) => found.fail("accounts", why.clone()),
        }
    }
    if engine.is_ok() && engine == users {
        found.warn("accounts", format!("{} runs the engine and postrider-users: give them different users", run.user));
    }
    match nix::unistd::Group::from_name(&run.mail_group) {
        Ok(Some(group)) => {
            let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
            let mut members = group.mem;
            members.extend(primary(&passwd, group.gid.as_raw(), &run.mail_group));
            match &members[..] {
                [] => found.ok("accounts", format!("group {} has no members", run.mail_group)),
                _ => found.warn(
                    "accounts",
                    format!("in group {}, and so able to write mailboxes: {}", run.mail_group, members.join(", ")),
                ),
            }
        }
        _ => found.fail("accounts", format!("no group \"{}\": addgroup --system {0}", run.mail_group)),
    }
}

/// Whose own group it is: a group's list of members does not have them. Most hosts have an account of the group's name, as which nobody works.
fn primary(passwd: &str, gid: u32, group: &str) -> Vec<String> {
    let user = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| *name != group)?;
        (fields.nth(2)?.parse() == Ok(gid)).then(|| name.to_owned())
    };
    passwd.lines().filter_map(user).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_group_of_ones_own_counts() {
        let passwd = "root:x:0:0::/:/bin/sh\nmail:x:8:8::/:/x\nu09:x:8:19999::/:/x\nu10:x:20010:8:a:/:/x\nbad\n";
        assert_eq!(super::primary(passwd, 8, "mail"), ["u10"]);
    }
}
