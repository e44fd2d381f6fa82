//! A set's features in both languages: the `.mc` that makes sendmail's configuration, and our KDL naming the same files.

use crate::set::Set;
use std::fmt::Write as _;
use std::net::SocketAddr;

/// Table, kind and output of the maps that makemap compiles.
pub const MAPS: &[(&str, &str, &str)] = &[
    ("virtusertable", "hash", "virtusertable"),
    ("mailertable", "hash", "mailertable"),
    ("domaintable", "hash", "domaintable"),
    ("genericstable", "hash", "genericstable"),
    ("access", "hash", "access"),
    ("authinfo", "hash", "authinfo"),
    ("bitdomain", "hash", "bitdomain"),
    ("uudomain", "hash", "uudomain"),
    ("userdb", "btree", "userdb"),
];

/// Where sendmail listens with this set.
pub const fn port(set: &Set) -> u16 {
    21_000 + set.number as u16
}

/// Where its smart host listens.
pub const fn sink_port(set: &Set) -> u16 {
    24_000 + set.number as u16
}

/// The `.mc`.
pub fn mc(set: &Set) -> String {
    let (f, p) = (set.folder(), &set.profile);
    let mut out = String::new();
    let mut define = |name: &str, value: &str| {
        let _ = writeln!(out, "define(`{name}', `{value}')dnl");
    };
    let scan = if p.plain_class_files { "" } else { " %[^\\#]" };
    define("confDOMAIN_NAME", "mx.test");
    define("confTO_IDENT", "0");
    define("confDONT_PROBE_INTERFACES", "true");
    define("confSERVICE_SWITCH_FILE", "/etc/mail/service.switch");
    define("confQUEUE_LA", "1000");
    define("confREFUSE_LA", "1000");
    define("confDELAY_LA", "0");
    define("confMAX_DAEMON_CHILDREN", "0");
    define("confCW_FILE", &format!("-o {f}/local-host-names{scan}"));
    define("confCT_FILE", &format!("-o {f}/trusted-users{scan}"));
    define("confCR_FILE", &format!("-o {f}/relay-domains{scan}"));
    let second = if set.files.contains_key("aliases2") { format!(", {f}/aliases2") } else { String::new() };
    define("ALIAS_FILE", &format!("{f}/aliases{second}"));
    if set.has("userdb") && set.files.contains_key("userdb") {
        define("confUSERDB_SPEC", &format!("{f}/userdb.db"));
    }
    for (name, value) in &p.defines {
        define(name, value);
    }
    if p.smart_host {
        define("SMART_HOST", "relay:[127.0.0.1]");
        define("RELAY_MAILER_ARGS", &format!("TCP $h {}", sink_port(set)));
        define("confDELIVERY_MODE", "interactive");
    }
    let mut out = format!("OSTYPE(`linux')dnl\n{out}");
    features(set, &mut out);
    classes(set, &mut out);
    let port = port(set);
    let _ = writeln!(out, "DAEMON_OPTIONS(`Family=inet, Name=MTA, Port={port}, Addr=127.0.0.1, Listen=1024')dnl");
    let _ = writeln!(out, "DAEMON_OPTIONS(`Family=inet6, Name=MTA6, Port={port}, Addr=::1, Listen=1024')dnl");
    out + "MAILER(`local')dnl\nMAILER(`smtp')dnl\nMAILER(`procmail')dnl\n"
}

fn features(set: &Set, out: &mut String) {
    let (f, p) = (set.folder(), &set.profile);
    let mut feature = |text: &str| {
        let _ = writeln!(out, "FEATURE({text})dnl");
    };
    for name in ["nocanonify", "no_default_msa", "use_cw_file", "use_ct_file"] {
        feature(&format!("`{name}'"));
    }
    if !set.has("unresolvable") {
        feature("`accept_unresolvable_domains'");
    }
    let arguments = |name: &str| if set.has(name) { format!(", `{name}'") } else { String::new() };
    let arguments = arguments("skip") + &arguments("relaytofulladdress");
    feature(&format!("`access_db', `hash -T<TMPF> {f}/access'{arguments}"));
    for name in ["virtusertable", "mailertable", "domaintable", "genericstable"] {
        feature(&format!("`{name}', `hash {f}/{name}'"));
    }
    for (name, file) in [("bitdomain", "bitdomain"), ("uucpdomain", "uudomain")] {
        if set.has(name) && set.files.contains_key(file) {
            feature(&format!("`{name}', `hash {f}/{file}'"));
        }
    }
    if set.has("authinfo") {
        feature(&format!("`authinfo', `hash {f}/authinfo'"));
    }
    if let Some(argument) = p.delay {
        feature(&if argument.is_empty() {
            "`delay_checks'".to_owned()
        } else {
            format!("`delay_checks', `{argument}'")
        });
    }
    // Ours, or switched above with arguments.
    let special = |n: &&&str| {
        matches!(
            **n,
            "skip" | "relaytofulladdress" | "bitdomain" | "uucpdomain" | "userdb" | "unresolvable" | "authinfo"
        )
    };
    for name in p.features.iter().filter(|n| !special(n)) {
        feature(&match *name {
            "greet_pause" => "`greet_pause', `0'".to_owned(),
            "nouucp" | "nopercenthack" => format!("`{name}', `nospecial'"),
            name => format!("`{name}'"),
        });
    }
}

fn classes(set: &Set, out: &mut String) {
    let (f, p) = (set.folder(), &set.profile);
    let scan = if p.plain_class_files { "" } else { " %[^\\#]" };
    let mut call = |name: &str, value: &str| {
        let _ = writeln!(out, "{name}(`{value}')dnl");
    };
    for (name, values) in [
        ("MASQUERADE_DOMAIN", &p.masquerade_domains),
        ("MASQUERADE_EXCEPTION", &p.masquerade_exceptions),
        ("EXPOSED_USER", &p.exposed),
        ("GENERICS_DOMAIN", &p.generics_domains),
        ("VIRTUSER_DOMAIN", &p.virtual_domains),
    ] {
        for value in values {
            call(name, value);
        }
    }
    if let Some(domain) = p.masquerade {
        call("MASQUERADE_AS", domain);
    }
    for (name, file) in [("VIRTUSER_DOMAIN_FILE", "virtuser-domains"), ("GENERICS_DOMAIN_FILE", "generics-domains")] {
        if set.files.contains_key(file) {
            call(name, &format!("-o {f}/{file}{scan}"));
        }
    }
}

/// Our configuration for the same files. `@F@` and `@PORT@` are filled in by the harness.
pub fn kdl(set: &Set, dns: SocketAddr, smart_host: Option<SocketAddr>) -> String {
    let (f, p) = (set.folder(), &set.profile);
    let words = if p.plain_class_files { "first" } else { "all" };
    let second = if set.files.contains_key("aliases2") { format!(" \"{f}/aliases2\"") } else { String::new() };
    let file = |name: &str| format!("file=\"{f}/{name}\" words=\"{words}\" optional=#true");
    let mut out = format!(
        "host \"mx.test\"\nlisten \"127.0.0.1:@PORT@\"\nlisten \"[::1]:@PORT@\"\n\
         queue {{ path \"@F@/spool\"; retry min=\"1s\" max=\"2s\" }}\nrun {{ folder \"@F@/run\"; drop \"@F@/drop\"; pid-file \"@F@/run/pid\" }}\n\
         dns {{ servers \"{dns}\" }}\nlog {{ file \"@F@/logs/log\"; syslog #false }}\nmailbox \"mbox\" path=\"@F@/mail/{{user}}\"\n\
         local-domains {}\nrelay-domains {}\ntrusted-users {}\naliases \"{f}/aliases\"{second}\n\
         mailers \"{f}/mailertable\"\ndomains \"{f}/domaintable\"\n",
        file("local-host-names"),
        file("relay-domains"),
        file("trusted-users"),
    );
    for (name, feature, table) in [
        ("bitdomain", "bitdomain", "bitdomain"),
        ("uucpdomain", "uucpdomain", "uudomain"),
        ("user-database", "userdb", "userdb"),
    ] {
        if set.has(feature) && set.files.contains_key(table) {
            let _ = writeln!(out, "{name} \"{f}/{table}\"");
        }
    }
    if set.has("authinfo") {
        let _ = writeln!(out, "auth-info \"{f}/authinfo\"");
    }
    blocks(set, &file, &mut out);
    if let Some(to) = smart_host {
        let _ = writeln!(out, "smart-host \"[{}]:{}\"", to.ip(), to.port());
    }
    out
}

/// Tables and settings with a block.
fn blocks(set: &Set, file: &dyn Fn(&str) -> String, out: &mut String) {
    let (f, p) = (set.folder(), &set.profile);
    let quoted = |names: &[&str]| names.iter().map(|n| format!(" \"{n}\"")).collect::<String>();
    let mut block = |head: String, children: Vec<String>| {
        let _ = writeln!(out, "{head} {{ {} }}", children.join("; "));
    };
    let on = |feature: &str, node: &str| set.has(feature).then(|| node.to_owned());
    let some = |name: &str, values: &[&str]| (!values.is_empty()).then(|| format!("{name}{}", quoted(values)));
    let listed = |name: &str| set.files.contains_key(name).then(|| format!("domains {}", file(name)));
    let all = |of: Vec<Option<String>>| of.into_iter().flatten().collect::<Vec<_>>();
    block(
        format!("virtual-users \"{f}/virtusertable\""),
        all(vec![
            some("domains", &p.virtual_domains),
            listed("virtuser-domains"),
            on("virtuser_entire_domain", "entire-domain"),
        ]),
    );
    block(
        format!("generics \"{f}/genericstable\""),
        all(vec![
            some("domains", &p.generics_domains),
            listed("generics-domains"),
            on("generics_entire_domain", "entire-domain"),
        ]),
    );
    let delay = p.delay.map(|d| if d.is_empty() { "delay-checks".to_owned() } else { format!("delay-checks \"{d}\"") });
    block(
        format!("access \"{f}/access\""),
        all(vec![
            on("skip", "skip"),
            on("lookupdotdomain", "look-up-dot-domain"),
            on("blocklist_recipients", "blocklist-recipients"),
            on("relaytofulladdress", "relay-to-full-address"),
            on("ratecontrol", "client-rate"),
            on("conncontrol", "client-connections"),
            on("greet_pause", "greet-pause"),
            delay,
        ]),
    );
    block(
        format!("masquerade{}", p.masquerade.map(|m| format!(" \"{m}\"")).unwrap_or_default()),
        all(vec![
            some("domains", &p.masquerade_domains),
            some("except", &p.masquerade_exceptions),
            some("exposed-users", &p.exposed),
            on("masquerade_envelope", "envelope"),
            on("allmasquerade", "all"),
            on("masquerade_entire_domain", "entire-domain"),
            on("limited_masquerade", "limited"),
            on("local_no_masquerade", "not-local"),
        ]),
    );
    switches(set, out);
}

/// Settings without a table.
fn switches(set: &Set, out: &mut String) {
    let p = &set.profile;
    let mut block = |head: &str, children: Vec<Option<String>>| {
        let children: Vec<String> = children.into_iter().flatten().collect();
        let _ = writeln!(out, "{head} {{ {} }}", children.join("; "));
    };
    let on = |feature: &str, node: &str| set.has(feature).then(|| node.to_owned());
    let defined = |name: &str, node: &str| {
        p.defines.iter().find(|(known, _)| *known == name).map(|(_, value)| format!("{node} \"{value}\""))
    };
    block(
        "addresses",
        vec![
            on("always_add_domain", "always-add-domain"),
            defined("MAIL_HUB", "mail-hub"),
            defined("LOCAL_RELAY", "local-relay"),
            defined("LUSER_RELAY", "luser-relay"),
            on("stickyhost", "sticky-host"),
            on("redirect", "redirect"),
            on("nouucp", "no-uucp"),
            on("nopercenthack", "no-percent-hack"),
        ],
    );
    block(
        "senders",
        vec![
            on("accept_unqualified_senders", "accept-unqualified"),
            (!set.has("unresolvable")).then(|| "accept-unresolvable".to_owned()),
        ],
    );
    block(
        "relaying",
        vec![
            on("relay_hosts_only", "hosts-only"),
            on("relay_entire_domain", "entire-domain"),
            on("relay_mail_from", "mail-from"),
            on("relay_local_from", "local-from"),
            on("promiscuous_relay", "promiscuous"),
            on("loose_relay_check", "loose-check"),
        ],
    );
}
