//! Whole files in, settings and messages out.

use super::*;

fn system() -> System {
    System { hostname: "mail.example.org".into(), interfaces: vec!["192.0.2.1".parse().unwrap()], authorities: None }
}

fn good(text: &str) -> (Config, Vec<String>) {
    match Config::parse("t.kdl", text, &system()) {
        Ok((config, warnings)) => (config, warnings.iter().map(ToString::to_string).collect()),
        Err(errors) => panic!("{errors}"),
    }
}

#[test]
fn an_empty_file_is_a_host_with_local_users() {
    let (config, warnings) = good("");
    assert_eq!(warnings, [""; 0]);
    assert_eq!(config.route.host, "mail.example.org");
    assert!(config.route.relay_domains.is_empty() && config.route.relay_clients.is_empty());
    let listen: Vec<String> =
        config.listen.iter().map(|l| format!("{} {} {}", l.name, l.address, l.required)).collect();
    assert_eq!(
        listen,
        ["MTA 127.0.0.1:25 true", "MTA [::1]:25 false", "MSA 127.0.0.1:587 true", "MSA [::1]:587 false"]
    );
    let paths: Vec<String> = config.inputs.iter().map(|input| input.path.display().to_string()).collect();
    assert_eq!(paths, ["/etc/aliases", "/etc/aliases.db"]);
    let [aliases] = &config.tables.aliases[..] else { panic!("{:?}", config.tables) };
    assert_eq!((aliases.text, aliases.compiled, aliases.optional), (Some(0), Some(1), true));
    assert_eq!(config.tables.iter().count(), 1);
}

#[test]
fn all_errors_at_once_with_their_places() {
    let text = include_str!("golden/mistakes.kdl");
    let errors = Config::parse("mta.kdl", text, &system()).unwrap_err();
    let expected = include_str!("golden/mistakes.txt");
    assert_eq!(errors.to_string(), expected.trim_end(), "\n--- is ---\n{errors}\n");
}

#[test]
fn what_is_no_kdl_is_told_with_its_place() {
    for (text, expected) in [
        ("log { syslog true }", "t.kdl:1:14: error: write #true"),
        ("host \"a.b\"\naliases x= \nlog {}", "t.kdl:2:10: error: a value must follow the \"=\""),
        ("host \"x", "t.kdl:1:6: error: not KDL: Expected quoted string"),
        ("a {", "t.kdl:1:3: error: not KDL: No closing '}' for child block"),
    ] {
        assert_eq!(Config::parse("t.kdl", text, &system()).unwrap_err().to_string(), expected);
    }
    for text in ["{".repeat(100_000), "/*".repeat(100_000), "a{".repeat(100_000)] {
        let errors = Config::parse("t.kdl", &text, &system()).unwrap_err().to_string();
        assert!(errors.contains("nested deeper than 64"), "{errors}");
    }
}

#[test]
fn the_shown_settings_read_back_the_same() {
    let full = r#"
        host "mail.example.org"
        local-domains "example.org" "[192.0.2.1]"
        local-domains "example.net"
        aliases "/etc/aliases" "hash:/srv/lists" depth=5
        virtual-users "/srv/virtual" optional=#true { domains "v.example"; domains "w.example"; entire-domain }
        mailers "regexp:/srv/mailers" optional=#true
        access "/srv/access" optional=#true { skip; look-up-dot-domain; delay-checks "friend"; blocklist-recipients }
        senders { accept-unresolvable }
        generics "/srv/generics" optional=#true { domains "example.org" }
        masquerade "example.org" { domains "example.net"; except "lab.example.net"; exposed-users "root" "daemon"; envelope }
        addresses { mail-hub "[hub.example]"; local-users "root"; redirect }
        relaying { entire-domain }
        trusted-users "www-data"
        trust "GroupWritableAliasFile"
        relay-clients "192.0.2.0/24" "2001:db8::/32"
        listen "[::]:25"
        listen "127.0.0.1:587" role="submission" optional=#true
        smart-host "[relay.example]:587" { tls "required" }
        null-client
        mailbox "maildir" path="{home}/Mail \"in\""
        queue { path "/srv/spool"; expire "2d"; warn "never"; retry min="1m" max="90m" }
        queue { reserve 3 }
        limits { message-size "10MB"; sessions-per-client 7 }
        delivery { concurrency limit=7; timeout-divisor 100 }
        dns { servers "127.0.0.1:5353" "::1" }
        log { syslog #false; file "/tmp/log"; format "json" }
        run { folder "/tmp/run"; drop "/srv/drop"; min-uid 1000 }
    "#;
    for text in ["", full] {
        let (config, _) = good(text);
        let (again, _) = good(&config.show());
        assert_eq!(again.show().replace(" // default", ""), config.show().replace(" // default", ""));
        assert_eq!(again.engine_settings(), config.engine_settings());
        assert_eq!((&again.run, &again.mailbox, &again.inputs), (&config.run, &config.mailbox, &config.inputs));
    }
    assert!(good("queue { expire \"2d\" }").0.show().contains("    expire \"2d\"\n    warn \"4h\" // default\n"));
}

#[test]
fn settings_reach_the_crates_they_are_for() {
    let (config, warnings) = good(
        "smart-host \"[relay.example]:587\" { tls \"required\" }\nnull-client\ndelivery { tls \"none\" }\n\
         queue { warn \"6d\" }\nmailbox \"maildir\"",
    );
    assert_eq!(config.deliver.tls, deliver::Tls::Required);
    let delay = |text: &str| good(&format!("access \"/etc\" {{ {text} }}")).0.receive.delay_checks;
    use receive::DelayChecks::{Friend, Off, On};
    assert_eq!([delay(""), delay("delay-checks"), delay("delay-checks \"friend\"")], [Off, On, Friend]);
    assert!(config.deliver.maildir && config.route.null_client);
    assert_eq!(config.mailbox.path, "{home}/Maildir");
    let lmtp = good("mailbox \"lmtp\" socket=\"unix:/run/lmtp\" size=\"5MiB\" delivered-to=#true").0.deliver;
    assert_eq!((lmtp.lmtp.as_deref(), lmtp.mailbox_size), (Some("lmtp:/run/lmtp"), 5 << 20));
    assert!(lmtp.fields.delivered_to && lmtp.fields.return_path && !lmtp.fields.original_to);
    assert!(Config::parse("t.kdl", "mailbox \"lmtp\"", &system()).unwrap_err().to_string().contains("needs socket="));
    assert_eq!(
        warnings,
        [
            "t.kdl:3:12: warning: not used: all mail goes to the smart host, whose \"tls\" is set",
            "t.kdl:4:9: warning: no warning is ever sent: mail is returned before",
        ]
    );
    let (short, warnings) = good("host \"mail\"");
    assert_eq!((&short.receive.host[..], &short.route.host[..], &short.deliver.host[..]), ("mail", "mail", "mail"));
    assert_eq!(warnings, ["t.kdl:1:1: warning: local host name (mail) is not qualified; set \"host\""]);
}

#[test]
fn the_drop_folder_never_lies_in_a_closed_spool() {
    assert_eq!(good("").0.queue.path, "/var/spool/postrider/queue");
    assert_eq!(good("queue { path \"/srv/spool\" }").0.queue.path, "/srv/spool");
}

#[test]
fn the_plan_is_what_the_keeper_reads() {
    let (config, _) = good("listen \"[::]:25\"\nmailbox \"mbox\" path=\"/m/{user}\"\nrun { folder \"/r\" }");
    let ids = Ids {
        engine_uid: 101,
        engine_gid: 102,
        users_uid: 103,
        users_gid: 104,
        mail_gid: 8,
        default_user: "mail".into(),
    };
    let plan = plan_text(&config, &ids, COMMAND_LINE);
    let (head, settings) = plan.split_once("settings\t").unwrap();
    assert_eq!(head, include_str!("golden/plan.txt"));
    assert_eq!(settings.lines().count(), 1);
    assert_eq!(EngineSettings::from_json(settings).unwrap(), config.engine_settings());
}

#[test]
fn the_reference_names_every_setting() {
    let text = reference();
    for line in
        ["| `queue retry max=` |", "| `listen role=` | \"mta\" or \"submission\" | `\"mta\"` |", "## null-client"]
    {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

/// A folder that nobody else may write, whatever the umask is.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn write(folder: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn load(path: &Path) -> Result<(Config, Vec<String>), String> {
    match Config::load(path, &system()) {
        Ok((config, warnings)) => Ok((config, warnings.iter().map(ToString::to_string).collect())),
        Err(errors) => Err(errors.to_string()),
    }
}

#[test]
fn files_are_included_relative_to_each_other() {
    let dir = folder();
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    let main = write(dir.path(), "main.kdl", "include \"sub/a.kdl\"\nhost \"x.example\"\n", 0o644);
    write(dir.path(), "sub/a.kdl", "include \"b.kdl\"", 0o644);
    write(dir.path(), "sub/b.kdl", "postmaster \"joe\"", 0o644);
    let (config, warnings) = load(&main).unwrap();
    assert_eq!((&config.deliver.postmaster[..], warnings.len()), ("joe", 0));
    write(dir.path(), "sub/b.kdl", "include \"../main.kdl\"\nhost \"y.example\"", 0o644);
    let errors = load(&main).unwrap_err();
    let b = dir.path().join("sub/b.kdl").display().to_string();
    assert!(errors.contains("b.kdl:1:1: error: \"../main.kdl\" includes itself"), "{errors}");
    assert!(errors.contains(&format!("{}:2:1: error: \"host\" is already set at ", main.display())), "{errors}");
    assert!(errors.contains(&b), "{errors}");
    for n in 0..12 {
        write(dir.path(), &format!("{n}.kdl"), &format!("include \"{}.kdl\"", n + 1), 0o644);
    }
    assert!(
        load(&dir.path().join("0.kdl")).unwrap_err().contains("9.kdl:1:1: error: includes are nested deeper than 10")
    );
}

#[test]
fn missing_odd_and_unsafe_files() {
    let dir = folder();
    let (_, warnings) = load(&dir.path().join("none.kdl")).unwrap();
    assert!(warnings[0].ends_with("none.kdl: warning: no such file; the defaults are used"), "{warnings:?}");
    assert!(load(dir.path()).unwrap_err().contains("not a regular file"));
    assert!(load(Path::new("/dev/zero")).unwrap_err().contains("larger than 16 MiB"));
    assert!(load(Path::new("/dev/null")).is_ok());
    let path = write(dir.path(), "all.kdl", "", 0o666);
    assert!(load(&path).unwrap_err().contains("unsafe permissions: everybody may write this file (mode 0666)"));
    // In a sticky folder our own file is ours, another's may have been put there.
    let sticky = folder();
    std::fs::set_permissions(sticky.path(), std::os::unix::fs::PermissionsExt::from_mode(0o1777)).unwrap();
    let path = write(sticky.path(), "ours.kdl", "", 0o644);
    assert!(load(&path).is_ok());
    if std::os::unix::fs::chown(&path, Some(65_534), None).is_ok() {
        let told = format!("everybody may write this folder {} (mode 1777)", sticky.path().display());
        assert!(load(&path).unwrap_err().contains(&told));
    }
    let path = write(dir.path(), "latin.kdl", "", 0o644);
    std::fs::write(&path, b"\nhost \"caf\xe9\"").unwrap();
    assert!(load(&path).unwrap_err().contains("latin.kdl:2:1: error: not UTF-8"));
}

#[test]
fn lists_come_from_files_too() {
    let dir = folder();
    let names = write(dir.path(), "local-host-names", "# ours\nexample.org # main\na.example b.example\n", 0o644);
    let relay = write(dir.path(), "relay-domains", "example.com note\n192.0.2\nIPv6:2001:db8\n.sub.example\n", 0o644);
    let text = format!(
        "local-domains \"own.example\" file=\"{}\"\nrelay-domains file=\"{}\" words=\"first\"",
        names.display(),
        relay.display()
    );
    let (config, _) = good(&text);
    assert_eq!(config.route.local_domains, ["a.example", "b.example", "example.org", "own.example"]);
    assert_eq!(config.route.relay_domains, [".sub.example", "example.com"]);
    assert_eq!(config.route.relay_clients, ["192.0.2.0/24", "2001:db8::/32"]);
    std::fs::write(&names, "ok.example\nb@d\n").unwrap();
    let (config, warnings) = good(&text);
    assert_eq!(config.route.local_domains, ["ok.example", "own.example"]);
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.ends_with("local-host-names:2:1: warning: \"b@d\" is no domain; left out"), "{warning}");
    // sendmail's classes are compared as text with names that have no dot at their end: such a line opens nothing.
    std::fs::write(&names, "ok.example\nmine.example.\n").unwrap();
    std::fs::write(&relay, "partner.example.\n.sub.example.\n10.4.\n").unwrap();
    let (config, warnings) = good(&text);
    assert_eq!(config.route.local_domains, ["ok.example", "own.example"]);
    assert_eq!(
        (config.route.relay_domains.len(), &config.route.relay_clients[..]),
        (0, &["10.4.0.0/16".to_owned()][..])
    );
    let dotted = ": warning: \"mine.example.\" ends in a dot and would match nothing; left out";
    assert!(warnings.len() == 3 && warnings.iter().any(|warning| warning.ends_with(dotted)), "{warnings:?}");
    let optional =
        |more: &str| good(&format!("local-domains file={:?}{more}", names.display())).0.lists[0].files[0].optional;
    // There now: if it is not when the engine looks, it is being replaced.
    assert!(!optional(" optional=#true") && !optional(""));
    std::fs::remove_file(&names).unwrap();
    assert!(good(&format!("local-domains file={:?} optional=#true", names.display())).0.lists[0].files[0].optional);
    let errors = Config::parse("t.kdl", &text, &system()).unwrap_err().to_string();
    assert!(errors.starts_with("t.kdl:1:29: error: ") || errors.contains("No such file"), "{errors}");
}

#[test]
fn tables_are_pairs_of_inputs() {
    let dir = folder();
    let text = write(dir.path(), "virtual", "", 0o644).display().to_string();
    let names = write(dir.path(), "names", "v.example\n", 0o644).display().to_string();
    let (config, warnings) = good(&format!(
        "virtual-users \"{text}\" {{ domains file=\"{names}\" }}\naccess \"/no/such\"\nmailers \"cidr:{text}\"\n\
         domains \"/no/such\" optional=#true\nmasquerade {{ exposed-users \"root\" }}\ntrust \"MapInUnsafeDirPath\" \"NonRootSafeAddr\""
    ));
    assert_eq!(
        warnings,
        [
            "t.kdl:2:1: warning: /no/such: no such file; mail waits until it is there, unless optional=#true",
            "t.kdl:6:1: warning: NonRootSafeAddr has no effect here"
        ]
    );
    let inputs: Vec<(String, u32, u32)> =
        config.inputs.iter().map(|i| (i.path.display().to_string(), i.file, i.folders)).collect();
    let pair = |path: &str| [(path.to_owned(), 2, 0), (format!("{path}.db"), 2, 0)];
    let mut expected = vec![("/etc/aliases".to_owned(), 0o22, 0), ("/etc/aliases.db".to_owned(), 0o22, 0)];
    expected.extend(pair(&text));
    expected.push((text.clone(), 2, 0));
    expected.extend(pair("/no/such"));
    expected.extend(pair("/no/such"));
    expected.push((names, 2, 0o1022));
    assert_eq!(inputs, expected);
    let tables = &config.tables;
    let kinds: Vec<&str> = tables.iter().map(|table| &table.kind[..]).collect();
    assert_eq!(kinds, ["aliases", "hash", "cidr", "hash", "hash"]);
    assert_eq!(tables.mailers.as_ref().unwrap().compiled, None);
    assert_eq!(config.route.virtual_domains, ["v.example"]);
    assert_eq!(config.route.exposed_users, ["root"]);
    // The engine fills the lists again from descriptors; a bad word costs nothing else.
    let mut route = config.route.clone();
    let problems = fill(&mut route, &config.lists, |_| Some(b"b@d x.example\n".to_vec()));
    assert_eq!(route.virtual_domains, ["x.example"]);
    assert_eq!(problems, [(9, 1, "\"b@d\" is no domain".to_owned())]);
}

#[test]
fn tables_may_be_in_no_file() {
    let (config, warnings) = good(
        "virtual-users \"socketmap:unix:/run/v:virt\" {\n    entry \"@old.example\" \"%1@new.example\"\n}\n\
         mailers {\n    entry \"far.example\" \"esmtp:[hub.example]\"\n    entry \".far.example\" \"relay:hub\"\n}\n\
         bitdomain { entry \"vm1\" \"vm1.example\" }",
    );
    assert_eq!(warnings, [""; 0]);
    let entries = |at: &str, rows: &[(&str, &str)]| {
        let rows = rows.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Some(Entries { at: at.to_owned(), rows })
    };
    let none = |kind: &str, name: &str, optional, entries| {
        Some(TableFiles { kind: kind.into(), name: name.into(), text: None, compiled: None, optional, entries })
    };
    let tables = &config.tables;
    let virtual_users =
        none("socketmap", "unix:/run/v:virt", false, entries("t.kdl:2", &[("@old.example", "%1@new.example")]));
    assert_eq!(tables.virtual_users, virtual_users);
    let rows = [("far.example", "esmtp:[hub.example]"), (".far.example", "relay:hub")];
    assert_eq!(tables.mailers, none("inline", "t.kdl:5", true, entries("t.kdl:5", &rows)));
    assert_eq!(tables.bitdomain.as_ref().unwrap().kind, "inline");
    // Only the aliases have files.
    assert_eq!((config.inputs.len(), tables.iter().count()), (2, 4));
    assert_eq!(good(&config.show()).0.show().matches("entry").count(), 4);
    for (bad, expected) in [
        (
            "mailers",
            "t.kdl:1:1: error: \"mailers\" needs an absolute path, or \"kind:/path\", or an \"entry\" in its block",
        ),
        ("mailers { entry \"a\" }", "t.kdl:1:11: error: \"entry\" needs a key and a value"),
        ("mailers { entry \"a\" \"b\" \"c\" }", "t.kdl:1:11: error: \"entry\" needs a key and a value"),
        ("aliases \"socketmap:unix:/run/v:a\"", "t.kdl:1:1: error: aliases cannot be asked of a socketmap"),
        ("aliases \"pcre:/etc\"", "t.kdl:1:1: error: \"aliases\" cannot be of kind \"pcre\""),
        ("user-database \"regexp:/etc\"", "t.kdl:1:1: error: \"user-database\" cannot be of kind \"regexp\""),
        ("mailers \"regex:/etc/m\"", "t.kdl:1:9: error: \"regex\" is no kind of table (did you mean \"regexp\"?)"),
        (
            "aliases \"passwd:/etc/passwd\"",
            "t.kdl:1:9: error: \"passwd\" is no kind of table: accounts are found without one, after the aliases",
        ),
        (
            "access \"union:/etc/a\"",
            "t.kdl:1:8: error: \"union\" is no kind of table; name the tables one after the other, for aliases with union=#true",
        ),
    ] {
        assert_eq!(Config::parse("t.kdl", bad, &system()).unwrap_err().to_string(), expected);
    }
}

#[test]
fn aliases_that_are_not_there() {
    let dir = folder();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let there = write(dir.path(), "there", "", 0o600).display().to_string();
    write(dir.path(), "compiled.db", "", 0o600);
    std::os::unix::fs::symlink("/no/such", dir.path().join("link")).unwrap();
    // What is named has to be there; what was there, or is a link to somewhere, is on its way back.
    for (name, more, optional, warned) in [
        (path("none"), "", false, true),
        (format!("lmdb:{}", path("none")), "", false, true),
        (path("link"), "", false, true),
        (path("compiled"), "", false, false),
        (format!("text:{}", path("compiled")), "", false, true),
        (there.clone(), "", false, false),
        (path("none"), " optional=#true", true, false),
        (path("link"), " optional=#true", false, false),
        (path("compiled"), " optional=#true", false, false),
        (format!("text:{}", path("compiled")), " optional=#true", true, false),
        (there.clone(), " optional=#true", false, false),
    ] {
        let (config, warnings) = good(&format!("aliases {name:?}{more}"));
        let so = "no such file; mail waits until it is there, unless optional=#true";
        assert_eq!(config.tables.aliases[0].optional, optional, "{name}{more}");
        assert!(
            warnings.len() == usize::from(warned) && warnings.iter().all(|told| told.ends_with(so)),
            "{warnings:?}"
        );
        assert_eq!(good(&config.show()).0.tables, config.tables);
    }
    // The format is that of aliases, whatever stands before the path.
    for (kind, compiled) in [("", true), ("hash:", true), ("text:", false)] {
        let (config, _) = good(&format!("aliases \"{kind}{there}\""));
        let table = &config.tables.aliases[0];
        assert_eq!((&table.kind[..], &table.name, table.compiled.is_some()), ("aliases", &there, compiled));
    }
}

#[test]
fn tables_of_other_kinds() {
    let dir = folder();
    let list = write(dir.path(), "lists.lmdb", "", 0o600).display().to_string();
    let without = list.strip_suffix(".lmdb").unwrap();
    let text = write(dir.path(), "aliases", "", 0o600).display().to_string();
    let (config, warnings) = good(&format!(
        "aliases \"{text}\" \"lmdb:{without}\" union=#true\nvirtual-users \"lmdb:{list}\"\nmailers \"lmdb:/no/such\""
    ));
    assert_eq!(
        warnings,
        ["t.kdl:3:1: warning: /no/such.lmdb: no such file; mail waits until it is there, unless optional=#true"]
    );
    let tables = &config.tables;
    let named: Vec<_> =
        tables.iter().map(|table| (&table.kind[..], &table.name[..], table.compiled.is_some())).collect();
    let lmdb = |name| ("lmdb", name, false);
    let expected = [("aliases", &text[..], true), lmdb(&list[..]), lmdb(&list[..]), lmdb("/no/such.lmdb")];
    assert_eq!(named, expected);
    assert!(tables.union && tables.aliases.iter().all(|table| !table.optional));
    assert!(config.inputs.iter().any(|input| input.path.display().to_string() == list));
    assert!(!good("aliases \"/etc/aliases\"").0.tables.union);
}

#[test]
fn the_sample_of_the_design_needs_only_later_issues() {
    let dir = folder();
    let at = |name: &str| write(dir.path(), name, "", 0o600).display().to_string();
    let sample = include_str!("golden/design.kdl")
        .replace("/etc/mail/local-host-names", &at("local-host-names"))
        .replace("/etc/mail/relay-domains", &at("relay-domains"))
        .replace("/etc/mail/virtusertable", &at("virtusertable"))
        .replace("/etc/mail/mailertable", &at("mailertable"))
        .replace("\"/etc/mail/access\"", &format!("\"{}\"", at("access")))
        .replace("/etc/ssl/mail.pem", &at("mail.pem"))
        .replace("/etc/ssl/private/mail.key", &at("mail.key"));
    let errors = Config::parse("t.kdl", &sample, &system()).unwrap_err().to_string();
    let expected = [
        "t.kdl:10:39: error: \"auth\" in \"listen\" is not built yet",
        "t.kdl:16:1: error: \"milter\" is not built yet",
    ];
    assert_eq!(errors.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_command_for_mailboxes() {
    let of = |text: &str| Config::parse("t.kdl", text, &system()).map_err(|errors| errors.to_string());
    let procmail = r#"mailbox "command" { run "/usr/bin/procmail" "-a" "{extension}" "" }"#;
    let config = of(procmail).unwrap().0;
    assert!(config.deliver.command && !config.deliver.maildir);
    let plan = plan_text(&config, &Ids { mail_gid: 8, ..Ids::default() }, COMMAND_LINE);
    let words = "\t--command\t/usr/bin/procmail\t--command\t-a\t--command\t{extension}\t--command\t\n";
    assert!(
        plan.contains("\nuser-agent\t") && plan.contains(words) && plan.contains("\t--format\tcommand\t"),
        "{plan}"
    );
    for (text, wrong) in [
        (r#"mailbox "command""#, "\"command\" needs \"run\" in its block"),
        (r#"mailbox "mbox" { run "/bin/x" }"#, "only a mailbox of kind \"command\" has one"),
        (r#"mailbox "command" { run "procmail" }"#, "\"procmail\" is no absolute path of a program"),
        (r#"mailbox "command" { run "/bin/{user}" }"#, "is no absolute path of a program"),
        (
            r#"mailbox "command" { run "/bin/x" "{detail}" }"#,
            "\"{detail}\" is nothing here, expected {user}, {extension}",
        ),
        (r#"mailbox "command" { run "/bin/sh" "-c" "x {sender}" }"#, "a shell would read"),
        (r#"mailbox "command" { run "/usr/bin/env" "/bin/bash" "-ec" "x {sender}" }"#, "a shell would read"),
    ] {
        assert!(of(text).unwrap_err().contains(wrong), "{text}: {}", of(text).unwrap_err());
    }
    assert!(of(r#"mailbox "command" { run "/bin/sh" "-c" "x \"${1}\"" "sh" "{user}" }"#).is_ok());
}

#[test]
fn mailboxes_without_accounts() {
    let of = |text: &str| Config::parse("t.kdl", text, &system()).map_err(|errors| errors.to_string());
    let domain = |rest: &str| format!("virtual-mailboxes {{ entry \"bob@a.example\" \"OK\"; {rest} }}");
    let good = r#"domain "A.example" "b.example" path="/v/{domain}/{user}/" uid=5000 gid=5001; domain "c.example" path="/c/{user}" uid=1 gid=1 kind="mbox""#;
    let config = of(&domain(good)).unwrap().0;
    assert_eq!(config.route.virtual_mailboxes, ["a.example", "b.example", "c.example"]);
    let plan = plan_text(&config, &Ids { mail_gid: 8, ..Ids::default() }, COMMAND_LINE);
    let line = plan.lines().find(|line| line.starts_with("virtual-agent\t")).unwrap();
    let told = "--virtual\ta.example:5000:5001:maildir:/v/{domain}/{user}\t--virtual\tb.example:5000:5001:maildir:/v/{domain}/{user}\t\
        --virtual\tc.example:1:1:mbox:/c/{user}";
    assert!(line.ends_with(told), "{line}");
    assert!(!plan_text(&good_config(), &Ids::default(), COMMAND_LINE).contains("virtual-agent"));
    for (rest, wrong) in [
        (r#"domain "a.example" path="/v/{user}" uid=0 gid=1"#, "0 is out of range"),
        (r#"domain "a.example" path="/v/{user}" uid=5"#, "\"domain\" needs gid="),
        (r#"domain "a.example" path="/v/{user}" gid=5"#, "\"domain\" needs uid="),
        (r#"domain path="/v/{user}" uid=5 gid=5"#, "\"domain\" needs a domain"),
        (r#"domain "a.example" path="/v/x" uid=5 gid=5"#, "is the same for all users"),
        (r#"domain "a.example" path="/v/../{user}" uid=5 gid=5"#, "is no path such as"),
        (r#"domain "a.example" path="/{domain}/{user}" uid=5 gid=5"#, "is no path such as"),
        (r#"domain "a.example" "b.example" path="/v/{user}" uid=5 gid=5"#, "it needs {domain}"),
        (r#"domain "a.example" path="/v/{home}/{user}" uid=5 gid=5"#, "may stand in braces"),
        (
            r#"domain "a.example" path="/v/{user}" uid=5 gid=5; domain "a.example" path="/w/{user}" uid=5 gid=5"#,
            "has its mailboxes already",
        ),
    ] {
        let told = of(&domain(rest)).unwrap_err();
        assert!(told.contains(wrong), "{rest}: {told}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("domains");
    let with = |lines: &str| {
        std::fs::write(&file, lines).unwrap();
        of(&domain(&format!("{good}; domains-file \"{}\"", file.display())))
    };
    let config = with("# comment\n\nD.example 7 8 /d/{user}\ne.example 7 9 /e/{user} mbox\n").unwrap().0;
    assert_eq!(config.route.virtual_mailboxes.len(), 5);
    let plan = plan_text(&config, &Ids::default(), COMMAND_LINE);
    assert!(plan.contains("d.example:7:8:maildir:/d/{user}\t--virtual\te.example:7:9:mbox:/e/{user}\n"), "{plan}");
    for (line, wrong) in [
        ("d.example 0 8 /d/{user}", "domains:1:1: error: \"0\" is no uid"),
        ("d.example 7 8 /d", "is the same for all users"),
        ("d.example 7 8", "expected a domain, uid, gid"),
        ("d.example 7 8 /d/{user} lmtp", "unknown value \"lmtp\""),
        ("a.example 7 8 /d/{user}", "has its mailboxes already"),
    ] {
        let told = with(line).unwrap_err();
        assert!(told.contains(wrong), "{line}: {told}");
    }
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    assert!(with("d.example 7 8 /d/{user}").is_err(), "everybody could choose a uid");
    let both = domain(good) + "\nlocal-domains \"a.example\"\nrun { min-uid 5000 }";
    let told = of(&both).unwrap_err();
    assert!(told.contains("\"a.example\" is local") && told.contains("the uid is below \"min-uid\""), "{told}");
}

fn good_config() -> Config {
    good("").0
}

#[test]
fn the_shipped_configurations_are_clean() {
    for (name, text) in [
        ("procmail", include_str!("../../conf/procmail.kdl")),
        ("virtual-mailboxes", include_str!("../../conf/virtual-mailboxes.kdl")),
        ("null-client", include_str!("../../conf/null-client.kdl")),
        ("local-host", include_str!("../../conf/local-host.kdl")),
        ("relay", include_str!("../../conf/relay.kdl")),
        ("tables", include_str!("../../conf/tables.kdl")),
    ] {
        let (config, warnings) = Config::parse(name, text, &system()).unwrap_or_else(|errors| panic!("{errors}"));
        let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert!(warnings.is_empty(), "{name}: {warnings:?}");
        assert!(config.given.iter().next().is_some(), "{name}");
    }
}

#[test]
fn authorities_are_an_input_of_their_own() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let (config, _) = Config::parse("t.kdl", &format!("tls {{ authorities {path:?} }}"), &system()).unwrap();
    let number = usize::from(config.receive.authorities.unwrap());
    assert_eq!((config.inputs[number].path.to_str().unwrap(), config.inputs[number].file), (path, 0o002));
    // The system's stand for none, and need not be there.
    let own = System { authorities: Some(path.to_owned()), ..system() };
    let (config, _) = Config::parse("t.kdl", "", &own).unwrap();
    assert!(
        config.receive.authorities.is_some() && config.show().contains(&format!("authorities {path:?} // default"))
    );
    assert_eq!(Config::parse("t.kdl", "", &system()).unwrap().0.receive.authorities, None);
    let gone = Config::parse("t.kdl", "tls { authorities \"/nonexistent/ca.pem\" }", &system()).unwrap_err();
    assert!(gone.to_string().contains("t.kdl:1:7: error: /nonexistent/ca.pem: no such file"), "{gone}");
}
