//! Whole files in, settings and messages out.

use super::*;

fn system() -> System {
    System {
        hostname: "mail.example.org".into(),
        interfaces: vec!["192.0.2.1".parse().unwrap()],
    }
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
    let listen: Vec<String> = config
        .listen
        .iter()
        .map(|l| format!("{} {} {}", l.name, l.address, l.required))
        .collect();
    assert_eq!(
        listen,
        [
            "MTA 127.0.0.1:25 true",
            "MTA [::1]:25 false",
            "MSA 127.0.0.1:587 true",
            "MSA [::1]:587 false"
        ]
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
fn show_debug() {
    println!("{}", good("").0.show());
    println!("{}", reference());
    println!("{}", plan_text(&good("").0, &Ids::default(), "x"));
    for bad in [
        "a=",
        "log { syslog true }",
        "host \"x",
        "a {",
        "}",
        "a b=",
        "host \"a\" x=\nlog {\n",
        "/* x",
    ] {
        println!("{bad:?}: {}", Config::parse("t.kdl", bad, &system()).unwrap_err());
    }
}
