//! Mail readers that rewrite a mailbox while mail arrives in it.

use crate::host::{Host, host, shell};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use testsuite::{Smtp, mbox, message, seconds};

/// Runs `reader` over and over while 500 messages arrive for `user`; then all are in the mailbox or where the reader saved them.
fn while_mail_arrives(host: &Host, user: &str, reader: &str) {
    let (end, passes, start) = (AtomicBool::new(false), AtomicUsize::new(0), Instant::now());
    let (end, passes) = (&end, &passes);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while !end.load(Ordering::SeqCst) {
                let out = shell(user, reader);
                passes.fetch_add(usize::from(out.status.success()), Ordering::SeqCst);
            }
        });
        let senders: Vec<_> = (0..5)
            .map(|t| {
                scope.spawn(move || {
                    let mut session = Smtp::hello(SocketAddr::from(([127, 0, 0, 1], 25))).unwrap();
                    for n in 0..100 {
                        let text = message::text(&format!("t{t}n{n}"), user, 30);
                        let to = format!("{user}@mx.test");
                        assert_eq!(session.message("a@client.test", &[&to], &text).unwrap().code, 250);
                        std::thread::sleep(Duration::from_millis(10));
                        // A slow machine's reader, too, has mail arrive in several of its passes.
                        while passes.load(Ordering::SeqCst) < n / 20 && start.elapsed() < seconds(60) {
                            std::thread::sleep(Duration::from_millis(10));
                        }
                    }
                })
            })
            .collect();
        for sender in senders {
            sender.join().unwrap();
        }
        host.server.wait_empty(seconds(180));
        end.store(true, Ordering::SeqCst);
    });
    let passes = passes.load(Ordering::SeqCst);
    let places = [format!("/var/mail/{user}"), format!("/home/{user}/saved")];
    let counts: Vec<BTreeMap<String, usize>> = places.iter().map(|p| mbox::count([p]).0).collect();
    let (all, wrong) = mbox::count(&places);
    println!(
        "{user}: {passes} passes of the reader, {} still in the mailbox, {} saved, {} copies too many",
        counts[0].len(),
        counts[1].len(),
        all.values().map(|n| n - 1).sum::<usize>()
    );
    assert!(wrong.is_empty(), "torn: {wrong:?}");
    assert_eq!(all.len(), 500, "lost");
    assert!(passes > 3 && !counts[1].is_empty(), "the reader did its part");
}

#[test]
fn bsd_mailx_empties_the_mailbox_while_500_messages_arrive() {
    let Some(host) = host("/usr/bin/bsd-mailx") else { return };
    let reader =
        "test -s /var/mail/u10 && printf 's * /home/u10/saved\\nq\\n' | bsd-mailx -n -N >/dev/null 2>&1; sleep 0.2";
    while_mail_arrives(&host, "u10", reader);
}

#[test]
fn mutt_empties_the_mailbox_while_500_messages_arrive() {
    let Some(host) = host("/usr/bin/mutt") else { return };
    let keys = "<tag-pattern>~A<enter><tag-prefix><save-message>/home/u11/saved<enter><sync-mailbox><exit>";
    let rc = host.server.path("muttrc");
    fs::write(
        &rc,
        format!("set confirmcreate=no confirmappend=no delete=yes quit=yes move=no mark_old=no mbox_type=mbox wait_key=no sleep_time=0\npush \"{keys}\"\n"),
    )
    .unwrap();
    // mutt wants a terminal; python gives it one.
    let reader = format!(
        "test -s /var/mail/u11 || exit 0; /usr/bin/timeout 20 /usr/bin/python3 -c 'import pty,sys; sys.exit(pty.spawn([\"mutt\",\"-n\",\"-F\",\"{}\",\"-f\",\"/var/mail/u11\"]) >> 8)' >/dev/null 2>&1 </dev/null; sleep 0.2",
        rc.display()
    );
    while_mail_arrives(&host, "u11", &reader);
}
