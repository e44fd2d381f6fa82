//! sendmail's options, `-oXvalue` and `-O Name=value`, as data (sendmail.md 1.4). `command_line` applies them.
//!
//! An option is ignored only if it cannot change what happens to this message; everything else that is not done
//! yet ends the call with exit 70, nothing sent.

/// What becomes of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Applied to this message.
    Done(Effect),
    /// Without effect: about the server's load, its own files, or something that is always or never so here.
    Ignored,
    /// Ignored with one of these values (first character, either case), not built with any other.
    IgnoredIf(&'static str),
    /// Not built: exit 70.
    NotBuilt,
}

/// What a done option does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A lone dot is data.
    IgnoreDots,
    /// Delivery mode.
    DeliveryMode,
    /// Error mode.
    ErrorMode,
    /// The From_ line stays.
    SaveFromLine,
    /// As -v.
    Verbose,
    /// Right-hand sides are looked at while alias files are rebuilt.
    CheckAliases,
    /// Other alias files to rebuild.
    AliasFile,
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The old letter, or `'\0'`.
    pub letter: char,
    /// The long name.
    pub name: &'static str,
    /// What becomes of it.
    pub class: Class,
}

const fn opt(letter: char, name: &'static str, class: Class) -> Setting {
    Setting { letter, name, class }
}

use Class::{Done, Ignored, IgnoredIf, NotBuilt};
const N: char = '\0';

/// Every option of sendmail 8.18, in the order of its own table as far as letters go.
#[rustfmt::skip] // one entry, one line
pub const SETTINGS: &[Setting] = &[
    opt('7', "SevenBitInput", IgnoredIf("fn0")),
    opt('8', "EightBitMode", IgnoredIf("p")), // pass8 is what we do
    opt('A', "AliasFile", Done(Effect::AliasFile)), // with -bi only
    opt('a', "AliasWait", Ignored),
    opt('B', "BlankSub", NotBuilt),
    opt('b', "MinFreeBlocks", Ignored),
    opt('C', "CheckpointInterval", Ignored), // every outcome is recorded
    opt('c', "HoldExpensive", Ignored), // no mailer is expensive
    opt('D', "AutoRebuildAliases", Ignored), // gone since 8.12; the table is read as it changes
    opt('d', "DeliveryMode", Done(Effect::DeliveryMode)),
    opt('E', "ErrorHeader", NotBuilt),
    opt('e', "ErrorMode", Done(Effect::ErrorMode)),
    opt('F', "TempFileMode", Ignored),
    opt('f', "SaveFromLine", Done(Effect::SaveFromLine)),
    opt('G', "MatchGECOS", IgnoredIf("fn0")),
    opt('g', "DefaultGroup", NotBuilt),
    opt('H', "HelpFile", Ignored),
    opt('h', "MaxHopCount", NotBuilt),
    opt('I', "ResolverOptions", Ignored),
    opt('i', "IgnoreDots", Done(Effect::IgnoreDots)),
    opt('J', "ForwardPath", NotBuilt),
    opt('j', "SendMimeErrors", Ignored), // always
    opt('k', "ConnectionCacheSize", Ignored),
    opt('K', "ConnectionCacheTimeout", Ignored),
    opt('l', "UseErrorsTo", IgnoredIf("fn0")),
    opt('L', "LogLevel", Ignored),
    opt('m', "MeToo", Ignored), // always
    opt('M', "Macro", NotBuilt),
    opt('n', "CheckAliases", Done(Effect::CheckAliases)),
    opt('O', "DaemonPortOptions", NotBuilt),
    opt('o', "OldStyleHeaders", Ignored), // commas are used by everything since 1982
    opt('P', "PostmasterCopy", NotBuilt),
    opt('p', "PrivacyOptions", Ignored), // may only become stricter; this program shows nothing to others
    opt('q', "QueueFactor", Ignored),
    opt('Q', "QueueDirectory", NotBuilt),
    opt('R', "DontPruneRoutes", Ignored),
    opt('r', "Timeout", NotBuilt),
    opt('S', "StatusFile", Ignored),
    opt('s', "SuperSafe", Ignored), // always
    opt('T', "QueueTimeout", NotBuilt),
    opt('t', "TimeZoneSpec", NotBuilt),
    opt('U', "UserDatabaseSpec", NotBuilt),
    opt('u', "DefaultUser", NotBuilt),
    opt('V', "FallbackMXhost", NotBuilt),
    opt('v', "Verbose", Done(Effect::Verbose)),
    opt('w', "TryNullMXList", Ignored),
    opt('x', "QueueLA", Ignored),
    opt('X', "RefuseLA", Ignored),
    opt('y', "RecipientFactor", Ignored),
    opt('Y', "ForkEachJob", Ignored),
    opt('z', "ClassFactor", Ignored),
    opt('Z', "RetryFactor", Ignored),
    opt(N, "AllowBogusHELO", Ignored),
    opt(N, "AuthMaxBits", NotBuilt),
    opt(N, "AuthMechanisms", NotBuilt),
    opt(N, "AuthOptions", NotBuilt),
    opt(N, "AuthRealm", NotBuilt),
    opt(N, "BadRcptShutdown", Ignored),
    opt(N, "BadRcptShutdownGood", Ignored),
    opt(N, "BadRcptThrottle", Ignored),
    opt(N, "CACertFile", NotBuilt),
    opt(N, "CACertPath", NotBuilt),
    opt(N, "CertFingerprintAlgorithm", NotBuilt),
    opt(N, "CipherList", NotBuilt),
    opt(N, "ClientCertFile", NotBuilt),
    opt(N, "ClientKeyFile", NotBuilt),
    opt(N, "ClientPortOptions", NotBuilt),
    opt(N, "ClientSSLOptions", NotBuilt),
    opt(N, "ColonOkInAddr", IgnoredIf("ty1")),
    opt(N, "ConnectOnlyTo", NotBuilt),
    opt(N, "ConnectionRateThrottle", Ignored),
    opt(N, "ConnectionRateWindowSize", Ignored),
    opt(N, "ControlSocketName", Ignored),
    opt(N, "CRLFile", NotBuilt),
    opt(N, "CRLPath", NotBuilt),
    opt(N, "DANE", NotBuilt),
    opt(N, "DataFileBufferSize", Ignored),
    opt(N, "DeadLetterDrop", NotBuilt),
    opt(N, "DefaultAuthInfo", NotBuilt),
    opt(N, "DefaultCharSet", Ignored), // only used when converting, which pass8 never does
    opt(N, "DelayLA", Ignored),
    opt(N, "DeliverByMin", Ignored),
    opt(N, "DHParameters", NotBuilt),
    opt(N, "DialDelay", Ignored),
    opt(N, "DirectSubmissionModifiers", NotBuilt),
    opt(N, "DontBlameSendmail", Ignored),
    opt(N, "DontExpandCnames", NotBuilt),
    opt(N, "DontInitGroups", NotBuilt),
    opt(N, "DontProbeInterfaces", NotBuilt),
    opt(N, "DoubleBounceAddress", NotBuilt),
    opt(N, "EightBitAddrOK", NotBuilt),
    opt(N, "FallbackSmartHost", NotBuilt),
    opt(N, "FastSplit", Ignored),
    opt(N, "HeloName", NotBuilt),
    opt(N, "HostsFile", NotBuilt),
    opt(N, "HostStatusDirectory", Ignored),
    opt(N, "InputMailFilters", NotBuilt),
    opt(N, "LDAPDefaultSpec", NotBuilt),
    opt(N, "MailboxDatabase", NotBuilt),
    opt(N, "MaxAliasRecursion", NotBuilt),
    opt(N, "MaxDaemonChildren", Ignored),
    opt(N, "MaxHeadersLength", NotBuilt),
    opt(N, "MaxMessageSize", NotBuilt),
    opt(N, "MaxMimeHeaderLength", NotBuilt),
    opt(N, "MaxNOOPCommands", Ignored),
    opt(N, "MaxQueueChildren", Ignored),
    opt(N, "MaxQueueRunSize", Ignored),
    opt(N, "MaxRecipientsPerMessage", Ignored),
    opt(N, "MaxRunnersPerQueue", Ignored),
    opt(N, "Milter", NotBuilt),
    opt(N, "MinQueueAge", Ignored),
    opt(N, "MustQuoteChars", NotBuilt),
    opt(N, "NiceQueueRun", Ignored),
    opt(N, "NoRecipientAction", IgnoredIf("n")), // none is the default
    opt(N, "OperatorChars", NotBuilt),
    opt(N, "PidFile", Ignored),
    opt(N, "ProcessTitlePrefix", Ignored),
    opt(N, "QueueFileMode", Ignored),
    opt(N, "QueueSortOrder", Ignored),
    opt(N, "RandFile", Ignored),
    opt(N, "RejectLogInterval", Ignored),
    opt(N, "RejectNUL", IgnoredIf("ty1")),
    opt(N, "RequiresDirfsync", Ignored),
    opt(N, "RrtImpliesDsn", IgnoredIf("fn0")),
    opt(N, "RunAsUser", NotBuilt),
    opt(N, "SafeFileEnvironment", NotBuilt),
    opt(N, "ServerCertFile", NotBuilt),
    opt(N, "ServerKeyFile", NotBuilt),
    opt(N, "ServerSSLOptions", NotBuilt),
    opt(N, "ServiceSwitchFile", NotBuilt),
    opt(N, "SetCertAltnames", NotBuilt),
    opt(N, "SharedMemoryKey", Ignored),
    opt(N, "SharedMemoryKeyFile", Ignored),
    opt(N, "SingleLineFromHeader", NotBuilt),
    opt(N, "SingleThreadDelivery", NotBuilt),
    opt(N, "SmtpGreetingMessage", Ignored),
    opt(N, "SoftBounce", NotBuilt),
    opt(N, "SSLEngine", NotBuilt),
    opt(N, "SSLEnginePath", NotBuilt),
    opt(N, "TLSFallbacktoClear", NotBuilt),
    opt(N, "TLSSrvOptions", NotBuilt),
    opt(N, "TrustedUser", Ignored),
    opt(N, "UnixFromLine", NotBuilt),
    opt(N, "UnsafeGroupWrites", Ignored),
    opt(N, "UseCompressedIPv6Addresses", Ignored),
    opt(N, "UseMSP", Ignored),
    opt(N, "XscriptFileBufferSize", Ignored),
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

/// Looks up a long name: any case, may be abbreviated.
#[must_use]
pub fn by_name(name: &str) -> Found {
    if let Some(exact) = SETTINGS.iter().find(|s| s.name.eq_ignore_ascii_case(name)) {
        return Found::Exact(exact);
    }
    let starts = |s: &&Setting| s.name.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name));
    let mut matches = SETTINGS.iter().filter(starts);
    match (matches.next(), matches.next()) {
        _ if name.is_empty() => Found::Unknown,
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
        assert!(matches!(by_name("Foo"), Found::Unknown));
        assert!(matches!(by_name(""), Found::Unknown));
    }

    #[test]
    fn no_letter_and_no_name_stands_twice() {
        for (n, one) in SETTINGS.iter().enumerate() {
            for two in &SETTINGS[n + 1..] {
                assert!(!one.name.eq_ignore_ascii_case(two.name), "{}", one.name);
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
