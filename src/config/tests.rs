//! Whole files in, settings and messages out.

use super::*;

fn system() -> System {
    System { hostname: "mail.example.org".into(), interfaces: vec!["192.0.2.1".parse().unwrap()] }
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
    assert_eq!(config.inputs, [PathBuf::from("/etc/aliases")]);
    assert_eq!(config.aliases, Some(0));
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
    assert!(config.deliver.maildir && config.route.null_client);
    assert_eq!(config.mailbox.path, "{home}/Maildir");
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
    let ids = Ids { engine_uid: 101, engine_gid: 102, users_uid: 103, users_gid: 104, mail_gid: 8 };
    let plan = plan_text(&config, &ids);
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
    let errors = Config::parse("t.kdl", &text, &system()).unwrap_err().to_string();
    assert!(errors.ends_with("local-host-names:2:1: error: \"b@d\" is no domain"), "{errors}");
    std::fs::remove_file(&names).unwrap();
    let errors = Config::parse("t.kdl", &text, &system()).unwrap_err().to_string();
    assert!(errors.starts_with("t.kdl:1:29: error: ") || errors.contains("No such file"), "{errors}");
}

#[test]
fn the_sample_of_the_design_needs_only_later_issues() {
    let dir = folder();
    let at = |name: &str| write(dir.path(), name, "", 0o600).display().to_string();
    let sample = include_str!("golden/design.kdl")
        .replace("/etc/mail/local-host-names", &at("local-host-names"))
        .replace("/etc/mail/relay-domains", &at("relay-domains"))
        .replace("/etc/ssl/mail.pem", &at("mail.pem"))
        .replace("/etc/ssl/private/mail.key", &at("mail.key"));
    let errors = Config::parse("t.kdl", &sample, &system()).unwrap_err().to_string();
    let expected = [
        "t.kdl:4:1: error: \"virtual-users\" is not built yet",
        "t.kdl:5:1: error: \"mailers\" is not built yet",
        "t.kdl:6:1: error: \"access\" is not built yet",
        "t.kdl:10:39: error: \"auth\" in \"listen\" is not built yet",
        "t.kdl:16:1: error: \"milter\" is not built yet",
    ];
    assert_eq!(errors.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn the_shipped_configurations_are_clean() {
    for (name, text) in [
        ("null-client", include_str!("../../conf/null-client.kdl")),
        ("local-host", include_str!("../../conf/local-host.kdl")),
        ("relay", include_str!("../../conf/relay.kdl")),
    ] {
        let (config, warnings) = Config::parse(name, text, &system()).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(warnings, [], "{name}");
        assert!(config.given.iter().next().is_some(), "{name}");
    }
}
