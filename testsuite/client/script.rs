//! What programs send mail with: languages and their libraries, and tools made of them.

use crate::host::{BODY, compare, good, host, shell};
use std::fs;

const SENDER: &str = "u05@mx.test";

/// A body for those who call `sendmail` without `-i`: there a lone dot is the end, and of two dots one goes, as in the original.
const NO_DOTS: &str = "Grüße\nFrom here on\n.x\n\ttab and trailing blank \n\nlast line\n";

#[test]
fn php_mail() {
    let php = fs::read_dir("/usr/bin").unwrap().map(|e| e.unwrap().path());
    let php = php.map(|p| p.to_string_lossy().into_owned()).find(|p| p.starts_with("/usr/bin/php8"));
    let php = php.unwrap_or_else(|| "/usr/bin/php8".into());
    let Some(host) = host(&php) else { return };
    let script = format!(
        "<?php $h = \"From: {SENDER}\\r\\nCc: u02@mx.test\\r\\nBcc: u03@mx.test\\r\\nX-Kept: a\\r\\n b\"; exit(mail('u01@mx.test', 'php', '{BODY}', $h) ? 0 : 1);"
    );
    let path = host.script("mail.php", &script);
    good(&shell("u05", &format!("{php} -d sendmail_path='/usr/sbin/sendmail -t -i' {path}")));
    host.delivered(&["u01", "u02", "u03"], SENDER);
}

fn perl(module: &str, script: &str, users: &[&str], arguments: &str) {
    let Some(host) = host(module) else { return };
    let path = host.script("send.pl", script);
    good(&shell("u05", &format!("/usr/bin/perl {path}")));
    host.delivered(users, SENDER);
    assert_eq!(host.arguments(), arguments);
}

#[test]
fn perl_mime_lite() {
    let script = format!(
        "use MIME::Lite; MIME::Lite->new(From => '{SENDER}', To => 'u01@mx.test', Cc => 'u02@mx.test', Bcc => 'u03@mx.test',\n\
         Subject => 'MIME::Lite', Encoding => '8bit', Data => '{BODY}')->send or die;"
    );
    perl("/usr/share/perl5/MIME/Lite.pm", &script, &["u01", "u02", "u03"], &format!("-t -oi -oem -f{SENDER}"));
}

#[test]
fn perl_email_sender() {
    let script = format!(
        "use Email::Sender::Simple qw(sendmail); use Email::Sender::Transport::Sendmail; use Email::Simple;\n\
         my $mail = Email::Simple->create(header => [From => '{SENDER}', To => 'u01@mx.test', Subject => 'Email::Sender'], body => '{BODY}');\n\
         sendmail($mail, {{from => '{SENDER}', to => ['u01@mx.test', 'u03@mx.test'], transport => Email::Sender::Transport::Sendmail->new}});"
    );
    let arguments = format!("-i -f {SENDER} -- u01@mx.test u03@mx.test");
    perl("/usr/share/perl5/Email/Sender.pm", &script, &["u01", "u03"], &arguments);
}

#[test]
fn perl_mail_mailer() {
    let script = format!(
        "use Mail::Mailer; my $mail = Mail::Mailer->new('sendmail');\n\
         $mail->open({{From => '{SENDER}', To => 'u01@mx.test', Cc => 'u02@mx.test', Bcc => 'u03@mx.test', Subject => 'Mail::Mailer'}});\n\
         print $mail '{NO_DOTS}'; $mail->close or die;"
    );
    perl("/usr/share/perl5/Mail/Mailer.pm", &script, &["u01", "u02", "u03"], "-t");
}

#[test]
fn python_smtplib() {
    let Some(host) = host("/usr/bin/python3") else { return };
    let script = format!(
        "import smtplib\nm = b'From: a@client.test\\r\\nTo: u01@mx.test\\r\\nSubject: smtplib\\r\\nX-Kept: yes\\r\\n\\r\\n' + '''{BODY}'''.encode().replace(b'\\n', b'\\r\\n')\n\
         s = smtplib.SMTP('127.0.0.1', 25, local_hostname='client.test')\nprint(s.sendmail('a@client.test', ['u01@mx.test', 'u02@mx.test'], m, ['BODY=8BITMIME']))\ns.quit()\n"
    );
    let path = host.script("send.py", &script);
    good(&shell("u05", &format!("/usr/bin/python3 {path}")));
    let given = format!("From: a@client.test\nTo: u01@mx.test\nSubject: smtplib\nX-Kept: yes\n\n{BODY}");
    for user in ["u01", "u02"] {
        compare(given.as_bytes(), &host.mail(user, 1)[0], "a@client.test");
    }
    host.nobody_but(&["u01", "u02"]);
}

#[test]
fn python_subprocess() {
    let Some(host) = host("/usr/bin/python3") else { return };
    let script = format!(
        "import subprocess\nfrom email.message import EmailMessage\nm = EmailMessage()\n\
         m['From'], m['To'], m['Cc'], m['Bcc'], m['Subject'] = '{SENDER}', 'u01@mx.test', 'u02@mx.test', 'u03@mx.test', 'Grüße'\n\
         m.set_content('''{BODY}''', cte='8bit')\nsubprocess.run(['/usr/sbin/sendmail', '-t', '-oi'], input=m.as_bytes(), check=True)\n"
    );
    let path = host.script("send.py", &script);
    good(&shell("u05", &format!("/usr/bin/python3 {path}")));
    host.delivered(&["u01", "u02", "u03"], SENDER);
}

/// The mail gem, which ActionMailer sends with.
#[test]
fn ruby_mail() {
    let Some(host) = host("/usr/bin/ruby") else { return };
    let script = format!(
        "require 'mail'\nm = Mail.new {{ from '{SENDER}'; to 'u01@mx.test'; cc 'u02@mx.test'; bcc 'u03@mx.test'; subject 'Grüße'; body '{BODY}' }}\n\
         m.charset = 'UTF-8'\nm.delivery_method :sendmail\nm.deliver!\n"
    );
    let path = host.script("send.rb", &script);
    good(&shell("u05", &format!("ruby {path}")));
    host.delivered(&["u01", "u02", "u03"], SENDER);
    assert_eq!(host.arguments(), format!("-i -f {SENDER} -- u01@mx.test u02@mx.test u03@mx.test"));
}

#[test]
fn git_send_email() {
    let Some(host) = host("/usr/lib/git-core/git-send-email") else { return };
    let command = "set -e; d=$(mktemp -d); cd $d; export HOME=$d GIT_AUTHOR_NAME=Author GIT_AUTHOR_EMAIL=u05@mx.test GIT_COMMITTER_NAME=Author GIT_COMMITTER_EMAIL=u05@mx.test
        git init -q . 2>/dev/null; printf 'From the start\\n.\\n' >file; git add file; git commit -q -m 'Grüße: a patch'
        git format-patch -q -1 --root -o out
        git send-email --quiet --confirm=never --suppress-cc=all --to=u01@mx.test --cc=u02@mx.test --envelope-sender=u05@mx.test --from='Author <u05@mx.test>' out/*.patch </dev/null; rm -rf $d";
    good(&shell("u05", command));
    host.delivered(&["u01", "u02"], SENDER);
}

#[test]
fn swaks() {
    let Some(host) = host("/usr/bin/swaks") else { return };
    let command = "swaks --server 127.0.0.1 --ehlo client.test --from a@client.test --to u01@mx.test,u02@mx.test --header 'Subject: swaks' --body 'one\\n.\\ntwo' --pipeline 2>&1";
    let out = shell("u05", command);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    for user in ["u01", "u02"] {
        let mail = host.mail(user, 1);
        assert!(mail[0].from_line.starts_with("From a@client.test "), "{}", mail[0].from_line);
        assert_eq!(mail[0].field("Subject").as_deref(), Some("swaks"));
        assert!(String::from_utf8_lossy(mail[0].body()).starts_with("one\n.\ntwo\n"), "{:?}", mail[0]);
    }
    host.nobody_but(&["u01", "u02"]);
}
