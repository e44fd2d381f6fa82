//! sendmail's options, `-oXvalue` and `-O Name=value`, as data (sendmail.md 1.4, 4.5). `setting` applies them; `-bO` prints the names; the
//! manual page is made from them (`manual`).
//!
//! An option is ignored only if it cannot change what happens to this message here. Most are the server's: given to a submission, they reach
//! the submission program and never the server that delivers, in sendmail as here; given with -bd, they are named (`server`).

/// What becomes of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Has an effect.
    Done(Effect),
    /// Without effect, for the given reason.
    Ignored(&'static str),
    /// Only in builds with an experiment of that name; unknown, as in stock builds.
    Absent,
}

/// What a done option does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Which file `-bi` rebuilds.
    AliasFile,
    /// Refused with `-bd`.
    DaemonPorts,
    /// Delivery mode.
    DeliveryMode,
    /// A word, checked: eight-bit text is passed as it is.
    EightBitMode,
    /// Error mode.
    ErrorMode,
    /// A lone dot is data.
    IgnoreDots,
    /// As `-M`.
    Macro,
    /// How many entries `-bp` prints.
    MaxQueueRunSize,
    /// A sub-option is wanted.
    Milter,
    /// What to do about a message without recipient fields.
    NoRecipientAction,
    /// Restrictions for this call.
    Privacy,
    /// Which queue `-bp` prints.
    QueueDirectory,
    /// The From_ line stays.
    SaveFromLine,
    /// The eighth bit goes.
    SevenBit,
    /// A word, checked.
    SortOrder,
    /// Two times, checked.
    QueueTimes,
    /// A time, checked.
    Time,
    /// A time with a name of its own, checked.
    Timeout,
    /// As -v.
    Verbose,
    /// Right-hand sides are looked at while alias files are rebuilt.
    CheckAliases,
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The old letter, or `'\0'`.
    pub letter: char,
    /// The long name; two that have only a letter have none.
    pub name: &'static str,
    /// What becomes of it.
    pub class: Class,
    /// What a done one does, for the man page.
    pub man: &'static str,
}

const fn done(letter: char, name: &'static str, effect: Effect, man: &'static str) -> Setting {
    Setting { letter, name, class: Class::Done(effect), man }
}

const fn ignored(letter: char, name: &'static str, why: &'static str) -> Setting {
    Setting { letter, name, class: Class::Ignored(why), man: "" }
}

const fn absent(name: &'static str) -> Setting {
    Setting { letter: N, name, class: Class::Absent, man: "" }
}

const N: char = '\0';
const CHECKED: &str = "Checked, and left to the server.";
const SERVER: &str = "the server's configuration decides, as it does behind sendmail's submission program";
const LOAD: &str = "about the load of the server, not about a message";
const TUNING: &str = "tuning of sendmail's own machinery";
const FILES: &str = "files of the queue are never open to others";
const OWN: &str = "about a file of sendmail's own";
const GRAMMAR: &str = "addresses are read by the grammar of RFC 5321 and 5322";

/// Every option of sendmail 8.18, in the order in which it prints them; then those of experimental builds.
#[rustfmt::skip] // one entry, one line
pub const SETTINGS: &[Setting] = &[
    done('7', "SevenBitInput", Effect::SevenBit, "Clear the eighth bit of every byte of the message."),
    done('8', "EightBitMode", Effect::EightBitMode, "Checked. Eight-bit text is always passed as it is (p): nothing is converted or refused for it."),
    done('A', "AliasFile", Effect::AliasFile, "With -bi, the alias file to rebuild."),
    done('a', "AliasWait", Effect::Time, CHECKED),
    ignored('B', "BlankSub", "blanks separate addresses, as they do in sendmail 8.18"),
    ignored('b', "MinFreeBlocks", LOAD),
    ignored('C', "CheckpointInterval", "every outcome is recorded at once"),
    ignored('c', "HoldExpensive", "no mailer is expensive"),
    done('d', "DeliveryMode", Effect::DeliveryMode, "i and b hand the message over for delivery at once, q and d leave it in the queue for the next run. In every mode the exit status says whether the message is safe."),
    ignored('E', "ErrorHeader", SERVER),
    done('e', "ErrorMode", Effect::ErrorMode, "As -e."),
    ignored('F', "TempFileMode", FILES),
    done('f', "SaveFromLine", Effect::SaveFromLine, "As -s."),
    ignored('G', "MatchGECOS", SERVER),
    ignored('g', "", SERVER),
    ignored('H', "HelpFile", OWN),
    ignored('h', "MaxHopCount", SERVER),
    ignored('I', "ResolverOptions", SERVER),
    done('i', "IgnoreDots", Effect::IgnoreDots, "As -i."),
    ignored('J', "ForwardPath", SERVER),
    ignored('j', "SendMimeErrors", "always so"),
    ignored('k', "ConnectionCacheSize", TUNING),
    done('K', "ConnectionCacheTimeout", Effect::Time, CHECKED),
    ignored('l', "UseErrorsTo", SERVER),
    ignored('L', "LogLevel", "the server writes the log"),
    ignored('m', "MeToo", "always so"),
    done('M', "", Effect::Macro, "As -M."),
    done('n', "CheckAliases", Effect::CheckAliases, "With -bi, the right-hand sides are looked at, and what is wrong in them is told."),
    ignored('o', "OldStyleHeaders", "blanks and commas are both understood"),
    done('O', "DaemonPortOptions", Effect::DaemonPorts, "Refused with -bd and -bD: the server listens where its configuration says, and must not listen more widely than was asked for. Otherwise without effect."),
    done('p', "PrivacyOptions", Effect::Privacy, "Words separated by commas; they can only make things stricter. restrictmailq and restrictqrun are for this call; the server has its own."),
    ignored('P', "PostmasterCopy", SERVER),
    ignored('q', "QueueFactor", TUNING),
    done('Q', "QueueDirectory", Effect::QueueDirectory, "There is one queue, the server's. With -bp another folder is looked at, and said to be empty if it is."),
    ignored('R', "DontPruneRoutes", "source routes are ignored, as RFC 5321 says"),
    done('r', "Timeout", Effect::Timeout, CHECKED),
    ignored('S', "StatusFile", OWN),
    ignored('s', "SuperSafe", "always so"),
    done('T', "QueueTimeout", Effect::QueueTimes, CHECKED),
    ignored('t', "TimeZoneSpec", "the date names the same moment in the zone of the host"),
    ignored('U', "UserDatabaseSpec", SERVER),
    ignored('u', "DefaultUser", SERVER),
    ignored('V', "FallbackMXhost", SERVER),
    done('v', "Verbose", Effect::Verbose, "As -v."),
    ignored('w', "TryNullMXList", SERVER),
    ignored('x', "QueueLA", LOAD),
    ignored('X', "RefuseLA", LOAD),
    ignored('y', "RecipientFactor", TUNING),
    ignored('Y', "ForkEachJob", TUNING),
    ignored('z', "ClassFactor", TUNING),
    ignored('Z', "RetryFactor", TUNING),
    done(N, "QueueSortOrder", Effect::SortOrder, CHECKED),
    ignored(N, "HostsFile", SERVER),
    done(N, "MinQueueAge", Effect::Time, CHECKED),
    ignored(N, "DefaultCharSet", "only the word for unlabelled text"),
    ignored(N, "ServiceSwitchFile", SERVER),
    done(N, "DialDelay", Effect::Time, CHECKED),
    done(N, "NoRecipientAction", Effect::NoRecipientAction, "What to do about a message without To, Cc and Bcc: none, add-to, add-apparently-to, add-bcc, add-to-undisclosed."),
    ignored(N, "SafeFileEnvironment", SERVER),
    ignored(N, "MaxMessageSize", SERVER),
    ignored(N, "ColonOkInAddr", "colons are read as RFC 5322 does"),
    done(N, "MaxQueueRunSize", Effect::MaxQueueRunSize, "With -bp, print at most that many entries."),
    ignored(N, "MaxDaemonChildren", LOAD),
    ignored(N, "DontExpandCnames", SERVER),
    ignored(N, "MustQuoteChars", GRAMMAR),
    ignored(N, "SmtpGreetingMessage", SERVER),
    ignored(N, "UnixFromLine", SERVER),
    ignored(N, "OperatorChars", GRAMMAR),
    ignored(N, "DontInitGroups", SERVER),
    ignored(N, "SingleLineFromHeader", "a work-around for one gateway of the nineties"),
    ignored(N, "AllowBogusHELO", SERVER),
    ignored(N, "ConnectionRateThrottle", LOAD),
    ignored(N, "UnsafeGroupWrites", SERVER),
    ignored(N, "DoubleBounceAddress", SERVER),
    ignored(N, "HostStatusDirectory", OWN),
    ignored(N, "SingleThreadDelivery", TUNING),
    ignored(N, "RunAsUser", SERVER),
    ignored(N, "RrtImpliesDsn", SERVER),
    ignored(N, "PidFile", SERVER),
    ignored(N, "DontBlameSendmail", SERVER),
    ignored(N, "DontProbeInterfaces", SERVER),
    ignored(N, "MaxRecipientsPerMessage", SERVER),
    ignored(N, "DeadLetterDrop", SERVER),
    ignored(N, "MaxAliasRecursion", SERVER),
    ignored(N, "ConnectOnlyTo", SERVER),
    ignored(N, "TrustedUser", SERVER),
    ignored(N, "MaxMimeHeaderLength", SERVER),
    ignored(N, "ControlSocketName", OWN),
    ignored(N, "MaxHeadersLength", SERVER),
    ignored(N, "ProcessTitlePrefix", OWN),
    ignored(N, "DefaultAuthInfo", SERVER),
    ignored(N, "AuthMechanisms", SERVER),
    ignored(N, "ClientPortOptions", SERVER),
    ignored(N, "DataFileBufferSize", TUNING),
    ignored(N, "XscriptFileBufferSize", TUNING),
    ignored(N, "LDAPDefaultSpec", SERVER),
    ignored(N, "ServerCertFile", SERVER),
    ignored(N, "ServerKeyFile", SERVER),
    ignored(N, "ClientCertFile", SERVER),
    ignored(N, "ClientKeyFile", SERVER),
    ignored(N, "CACertFile", SERVER),
    ignored(N, "CACertPath", SERVER),
    ignored(N, "DHParameters", SERVER),
    ignored(N, "InputMailFilters", SERVER),
    done(N, "Milter", Effect::Milter, CHECKED),
    ignored(N, "AuthOptions", SERVER),
    ignored(N, "QueueFileMode", FILES),
    ignored(N, "CertFingerprintAlgorithm", SERVER),
    ignored(N, "CipherList", SERVER),
    ignored(N, "RandFile", OWN),
    ignored(N, "TLSSrvOptions", SERVER),
    ignored(N, "BadRcptThrottle", SERVER),
    done(N, "DeliverByMin", Effect::Time, CHECKED),
    ignored(N, "MaxQueueChildren", TUNING),
    ignored(N, "MaxRunnersPerQueue", TUNING),
    ignored(N, "DirectSubmissionModifiers", SERVER),
    ignored(N, "NiceQueueRun", TUNING),
    ignored(N, "SharedMemoryKey", OWN),
    ignored(N, "AuthMaxBits", SERVER),
    ignored(N, "MailboxDatabase", SERVER),
    ignored(N, "UseMSP", "always so"),
    ignored(N, "DelayLA", LOAD),
    ignored(N, "FastSplit", TUNING),
    ignored(N, "SoftBounce", SERVER),
    ignored(N, "SharedMemoryKeyFile", OWN),
    done(N, "RejectLogInterval", Effect::Time, CHECKED),
    ignored(N, "RequiresDirfsync", "always so"),
    done(N, "ConnectionRateWindowSize", Effect::Time, CHECKED),
    ignored(N, "CRLFile", SERVER),
    ignored(N, "FallbackSmartHost", SERVER),
    ignored(N, "AuthRealm", SERVER),
    ignored(N, "CRLPath", SERVER),
    ignored(N, "HeloName", SERVER),
    ignored(N, "MaxNOOPCommands", SERVER),
    ignored(N, "BadRcptShutdown", SERVER),
    ignored(N, "BadRcptShutdownGood", SERVER),
    ignored(N, "ServerSSLOptions", SERVER),
    ignored(N, "ClientSSLOptions", SERVER),
    done(N, "MaxQueueAge", Effect::Time, CHECKED),
    ignored(N, "RejectNUL", "always so"),
    ignored(N, "UseCompressedIPv6Addresses", SERVER),
    ignored(N, "SSLEngine", SERVER),
    ignored(N, "SSLEnginePath", SERVER),
    ignored(N, "TLSFallbacktoClear", SERVER),
    ignored(N, "SetCertAltnames", SERVER),
    ignored(N, "SmtpUTF8", SERVER),
    ignored(N, "StrictTransportSecurity", SERVER),
    ignored(N, "CipherSuites", SERVER),
    absent("AddBcc"),
    absent("AddrTypeModes"),
    absent("BounceQueue"),
    absent("DANE"),
    absent("CheckQueueRunners"),
    absent("ClientCACertFile"),
    absent("ClientCACertPath"),
    absent("DontLockFilesForRead"),
    absent("FIPSMode"),
    absent("Hacks"),
    absent("InetQoS"),
    absent("KeepBcc"),
    absent("MaxForwardEntries"),
    absent("MemoryResource"),
    absent("MessageAccept"),
    absent("NameSearchList"),
    absent("NameServer"),
    absent("QueueLowMem"),
    absent("RefuseLowMem"),
];

/// What an option name on the command line means.
#[derive(Debug)]
pub enum Found {
    /// The whole name.
    Exact(&'static Setting),
    /// A prefix of exactly one name: sendmail says so and goes on.
    Abbreviated(&'static Setting),
    /// A prefix of two or more; the first two, as sendmail names them.
    Ambiguous(&'static str, &'static str),
    /// Nothing like it.
    Unknown,
}

/// The options that stock builds have.
pub fn known() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(|setting| setting.class != Class::Absent)
}

/// Looks up a long name: any case, may be abbreviated.
#[must_use]
pub fn by_name(name: &str) -> Found {
    if name.is_empty() {
        return Found::Unknown;
    }
    if let Some(exact) = known().find(|s| s.name.eq_ignore_ascii_case(name)) {
        return Found::Exact(exact);
    }
    let starts = |s: &&Setting| s.name.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name));
    let mut matches = known().filter(starts);
    match (matches.next(), matches.next()) {
        (None, _) => Found::Unknown,
        (Some(one), None) => Found::Abbreviated(one),
        (Some(one), Some(two)) => Found::Ambiguous(one.name, two.name),
    }
}

/// Looks up a letter.
#[must_use]
pub fn by_letter(letter: char) -> Option<&'static Setting> {
    SETTINGS.iter().find(|s| s.letter == letter && letter != N)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_be_short_and_in_any_case() {
        assert!(matches!(by_name("deliverymode"), Found::Exact(s) if s.letter == 'd'));
        assert!(matches!(by_name("Log"), Found::Abbreviated(s) if s.name == "LogLevel"));
        assert!(matches!(by_name("Queue"), Found::Ambiguous("QueueFactor", "QueueDirectory")));
        for unknown in ["Foo", "", "KeepBcc", "Keep"] {
            assert!(matches!(by_name(unknown), Found::Unknown), "{unknown}");
        }
    }

    #[test]
    fn no_letter_and_no_name_stands_twice() {
        for (n, one) in SETTINGS.iter().enumerate() {
            for two in &SETTINGS[n + 1..] {
                assert!(one.name.is_empty() || !one.name.eq_ignore_ascii_case(two.name), "{}", one.name);
                assert!(one.letter == N || one.letter != two.letter, "{}", one.letter);
            }
        }
    }

    #[test]
    fn every_letter_of_the_manual_has_an_entry() {
        for letter in "78AaBbCcdEeFfGgHhIiJjkKlLmMnoOPpqQRrSsTtUuVvwxXyYzZ".chars() {
            assert!(by_letter(letter).is_some(), "{letter}");
        }
    }
}
