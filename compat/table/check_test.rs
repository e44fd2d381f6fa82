use super::*;

fn told(format: Format, text: &str) -> Vec<String> {
    check_text(format, "/t", text.as_bytes()).iter().map(ToString::to_string).collect()
}

/// Each line is told once, with its number and what was expected.
fn each(format: Format, lines: &[(&str, &str)]) {
    for (line, part) in lines {
        let told = told(format, &format!("# a comment\n{line}\n"));
        assert!(
            told.len() == 1 && told[0].starts_with("/t:2: expected ") && told[0].contains(part),
            "{line}: {told:?}"
        );
    }
}

fn silent(format: Format, text: &str) {
    assert_eq!(told(format, text), [""; 0]);
}

const ACCESS: Format = Format::Access(access::Options {
    skip: true,
    look_up_dot_domain: false,
    relay_to_full_address: false,
    compressed_ipv6: false,
});

#[test]
fn the_encoding() {
    for format in [ACCESS, Format::VirtualUsers, Format::Mailers] {
        let marked = told(format, "\u{feff}# a comment\na@x.example\tREJECT\n");
        assert_eq!(
            marked.first().map(String::as_str),
            Some("/t: expected no byte order mark in front of the first entry")
        );
    }
    let wide = check_text(ACCESS, "/t", b"\xff\xfea\0 \0O\0K\0\n\0");
    assert!(wide[0].to_string().contains("not UTF-16"), "{wide:?}");
}

#[test]
fn access_lines() {
    silent(
        ACCESS,
        "localhost.localdomain\tRELAY\nConnect:10.1.2\trelay\nConnect:IPv6:2001:db8 RELAY\nIPv6:2001:db8:0:0:0:0:0:1 REJECT\n\
         cyber.example 550 We take no mail from you\nFrom:u@x.example ERROR:5.7.1:\"550 go away\"\nTo:u@ ERROR:550 full\nx SKIP\n\
         Spam:u@ FRIEND\nGreetPause: 5000\nClientRate:10 0\nTLS_Srv:x PERM+ENCR:128\nTLS_Rcpt:u@x VERIFY:256+CN:m.x++CI:/O=y\n\
         Srv_Features: v S l\nCERTISSUER:/C=US/O=x+20y SUBJECT\nCERTSUBJECT:/CN=x RELAY\nQGRP:x.example slow\nTry_TLS:broken.example NO\n\
         AuthInfo:relay.example \"U:joe\" \"P:x\"\nFrom:s QUARANTINE:later\nx.example \"550 no\"\n",
    );
    each(
        ACCESS,
        &[
            ("example RELEY", "\"RELEY\" refuses"),
            ("10.1.2.3 RELAY # office", "behind RELAY"),
            ("10.0.0.0/8 RELAY", "no \"/\""),
            ("IPv6:2001:db8::1 RELAY", "IPv6:2001:db8:0:0:0:0:0:1"),
            ("2001:db8::1 RELAY", "IPv6:2001:db8::1"),
            ("*.example REJECT", "\"example\""),
            ("@example REJECT", "\"example\""),
            (".example REJECT", "lookupdotdomain"),
            ("10.1. RELAY", "\"10.1\""),
            ("Conect:10.1 RELAY", "\"conect:\""),
            ("From:u@x SKIP", "SKIP for a domain"),
            ("x HATER", "only behind Spam:"),
            ("x ERROR:5.7.1 550 go", "colon behind the status"),
            ("x ERROR:5.7.1:450 go", "same class"),
            ("x ERROR:go away", "reply code"),
            ("x go away please", "reply code"),
            ("x ERROR:5.7.1:\"550 open", "closing quote"),
            ("x QUARANTINE:", "reason"),
            ("Spam:u@ OK", "FRIEND or HATER"),
            ("GreetPause: 5s", "milliseconds"),
            ("AuthInfo:x joe:secret", "waits"),
            ("TLS_Rcpt:x yes", "ENCR:bits"),
            ("TLS_Clt:x VERIFY:128 no", "\" no\""),
            ("TLS_Clt:x ENCR:128+CN:x", "expected VERIFY"),
            ("TLS_Srv:x VERIFY+CITag:x", "\"CITag:x\": never met"),
            ("Srv_Features:x SV", "blanks between"),
            ("Srv_Features: A", "changes nothing"),
            ("Clt_Features: D", "not built yet"),
            ("CERTISSUER:/C=US/O=x OK", "RELAY or SUBJECT"),
            ("CERTSUBJECT:/C=US/O=x SUBJECT", "expected RELAY"),
        ],
    );
    let plain = Format::Access(access::Options::default());
    each(plain, &[("x SKIP", "used with skip")]);
}

#[test]
fn virtual_mailbox_lines() {
    silent(Format::VirtualMailboxes, "bob@v.test OK\nCarol@V.test x y\n");
    each(
        Format::VirtualMailboxes,
        &[
            ("bob OK", "user@domain"),
            ("@v.test OK", "user@domain"),
            ("bob+x@v.test OK", "plus"),
            ("../bob@v.test OK", "folder"),
            ("a/b@v.test OK", "folder"),
            ("bob@v.test. OK", "\"v.test\""),
        ],
    );
}

#[test]
fn virtual_user_lines() {
    silent(
        Format::VirtualUsers,
        "u@v.test alice\nw@v.test Alice X <a@x.example>\n@v.test %1%3@x.example\nn@v.test error:nouser 550 No such user\n\
         m@v.test error:5.7.0:550 no\nl@v.test \\alice\nk@v.test alice (note)\nj+*@v.test %1@x\n",
    );
    each(
        Format::VirtualUsers,
        &[
            ("user alice", "user@domain"),
            ("*@v.test alice", "\"@v.test\""),
            ("u@v.test. alice", "\"v.test\""),
            ("u@v.test a,b", "one address"),
            ("u@v.test U@V.test", "itself"),
            ("u@v.test |/bin/cat", "alias"),
            ("u@v.test /tmp/f", "alias"),
            ("u@v.test alice # note", "no comments"),
            ("u@v.test alice bob", "\"alice.bob\""),
            ("u@v.test error:nouser:550 x", "blank behind"),
            ("u@v.test error:5.7.0 550 x", "colon behind"),
            ("u@v.test error:nosuch 550 x", "\"nosuch\""),
            ("u@v.test error:nouser gone", "reply code"),
            ("u@v.test \"\"", "an address"),
        ],
    );
}

#[test]
fn mailer_lines() {
    silent(
        Format::Mailers,
        "a.test esmtp:[b.test]:c.test\n.a.test smtp:%1.b.test\n. relay:[127.0.0.1]\nb.test local:\nc.test local:bob\n\
         d.test error:nohost:550 gone\ne.test error:5.1.2:550 gone\nf.test esmtp:[IPv6:2001:db8::1]\ng.test smtp:h_1.test.\n",
    );
    each(
        Format::Mailers,
        &[
            ("a.test esmtp:[h]:2525", "not a port"),
            ("a.test esmtp:h:25", "\"25\""),
            ("a.test relay.test", "mailer:host"),
            ("a.test esmtp:", "mail waits"),
            ("a.test uucp:x", "mail waits"),
            ("a.test smtp:u@h", "mail waits"),
            ("a.test esmtp:h # note", "h.#.note"),
            ("a.test smtp:%1.x", "dot"),
            ("*.a.test smtp:x", "\".a.test\""),
            ("u@a.test smtp:x", "not an address"),
            ("a.test. smtp:x", "\"a.test\""),
            ("a.test error:nohost gone", "all of this"),
            ("a.test prog:/bin/cat", "550"),
        ],
    );
}

#[test]
fn the_other_formats() {
    silent(Format::Generics, "u@g.test u@x.example\nu ux\n@g.test %1@x.example\nu+*@g.test %1.u@x\n");
    each(
        Format::Generics,
        &[("u a,b", "one address"), ("*@g.test x", "\"@g.test\""), ("u |x", "one address"), ("u x # y", "no comments")],
    );
    silent(Format::Domains, "old.example new.example\n");
    each(Format::Domains, &[("@old new", "as key"), (".old new", "as key"), ("old new # x", "as value")]);
    silent(Format::UserDatabase, "bob:maildrop bob@far.example\n");
    each(
        Format::UserDatabase,
        &[
            ("bob:mailname b@x.example", "user:maildrop"),
            ("bob bob@x.example", "user:maildrop"),
            ("bob:maildrop eve, |/bin/prog", "put them into aliases"),
            ("bob:maildrop \"|/bin/prog\"", "put them into aliases"),
            ("bob:maildrop :include:/etc/list", "put them into aliases"),
            ("bob:MailDrop /var/x", "put them into aliases"),
        ],
    );
    silent(Format::AuthInfo, "AuthInfo:h \"U:u\" \"P:p\"\nauthinfo: \"I:u\" \"P=cA==\"\n");
    each(Format::AuthInfo, &[("h \"U:u\" \"P:p\"", "\"AuthInfo:\""), ("AuthInfo:h u", "waits")]);
}

#[test]
fn lines_that_are_none_and_too_many_problems() {
    let found = told(Format::VirtualUsers, " u@v.test x\nalone\n");
    assert!(found.len() == 2 && found[0].starts_with("/t:1: ") && found[1].starts_with("/t:2: "), "{found:?}");
    let many = told(Format::VirtualUsers, &"u a,b\n".repeat(2_000));
    assert_eq!((many.len(), many.last().unwrap().as_str()), (1_001, "/t: 3000 more problems"));
    let given = check(Format::Domains, "/t", [(7, "a", "b c")]);
    assert_eq!(given[0].line, 7);
}
