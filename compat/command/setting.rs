//! Applies options to a command line: `-oXvalue`, `-O Name=value`, with sendmail's texts for wrong ones (sendmail.md 1.4, and seen on the
//! real program). Called by `command_line`; the options are data in [`crate::option`].

use crate::command_line::{Command, ErrorMode, Stop, usage};
use crate::exit;
use crate::option::{self, Class, Effect, Found, Setting};
use crate::queue_run;
use call::submit::Mode as Delivery;

/// What to do about a message without To, Cc and Bcc.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoRecipient {
    /// Nothing.
    #[default]
    None,
    /// `To:` with the recipients of the envelope.
    To,
    /// `Apparently-To:` with them.
    ApparentlyTo,
    /// An empty `Bcc:`.
    Bcc,
    /// `To: undisclosed-recipients:;`.
    Undisclosed,
}

const PRIVACY: &[&str] = &[
    "public",
    "needmailhelo",
    "needexpnhelo",
    "needvrfyhelo",
    "noexpn",
    "novrfy",
    "restrictexpand",
    "restrictmailq",
    "restrictqrun",
    "noetrn",
    "noverb",
    "authwarnings",
    "noreceipts",
    "nobodyreturn",
    "goaway",
    "noactualrecipient",
    "noreflection",
];
const TIMEOUTS: &[&str] = &[
    "initial",
    "mail",
    "rcpt",
    "datainit",
    "datablock",
    "datafinal",
    "command",
    "rset",
    "helo",
    "quit",
    "misc",
    "ident",
    "fileopen",
    "connect",
    "iconnect",
    "aconnect",
    "queuewarn",
    "queuereturn",
    "hoststatus",
    "resolver",
    "control",
    "lhlo",
    "auth",
    "starttls",
];

fn internal(text: String) -> Stop {
    Stop::Refused(exit::SOFTWARE, text)
}

impl Command {
    /// `-oXvalue`.
    pub(crate) fn letter_option(&mut self, value: &str) -> Result<(), Stop> {
        let mut rest = value.chars();
        let letter = rest.next().unwrap_or('\0');
        match option::by_letter(letter) {
            Some(setting) => self.option(setting, "", rest.as_str()),
            None => Err(internal(format!("readcf: unknown option name {:#x}", u32::from(letter)))),
        }
    }

    /// `-O Name=value`, `-O Name.part=value`.
    pub(crate) fn long_option(&mut self, given: &str) -> Result<(), Stop> {
        let (name, value) = given.split_once('=').unwrap_or((given, ""));
        let (name, part) = name.trim().split_once('.').unwrap_or((name.trim(), ""));
        if name.is_empty() {
            return Err(internal("readcf: null option name".into()));
        }
        let setting = match option::by_name(name) {
            Found::Exact(setting) => setting,
            Found::Abbreviated(setting) => {
                self.notices.push(format!("Option {name} used as abbreviation for {}", setting.name));
                setting
            }
            Found::Ambiguous(one, two) => {
                return Err(internal(format!("readcf: ambiguous option name {name} (matches {one} and {two})")));
            }
            Found::Unknown => return Err(internal(format!("readcf: unknown option name {name}"))),
        };
        self.option(setting, part, value.trim())
    }

    fn option(&mut self, setting: &'static Setting, part: &str, value: &str) -> Result<(), Stop> {
        let first = value.chars().next();
        // sendmail's atobool: no value, t, T, y, Y are true.
        let on = matches!(first, None | Some('t' | 'T' | 'y' | 'Y' | '1'));
        let effect = match setting.class {
            Class::Done(effect) => effect,
            Class::Ignored(_) | Class::Absent => {
                self.ignored.push(setting);
                return Ok(());
            }
        };
        match effect {
            Effect::CheckAliases => self.check_aliases = on,
            Effect::AliasFile => self.alias_file = Some(value.to_owned()),
            Effect::DaemonPorts => self.daemon_ports = true,
            Effect::DeliveryMode => self.delivery_mode(first)?,
            Effect::EightBitMode => {
                if let Some(other) = first.filter(|first| !"mps".contains(*first)) {
                    self.ended = true;
                    return Err(usage(format!("Unknown 8-bit mode {other}")));
                }
            }
            Effect::ErrorMode => self.error_mode(value),
            Effect::IgnoreDots => self.ignore_dots = on,
            Effect::Macro => self.set_macro(value)?,
            // As atoi: what is no number is none.
            Effect::MaxQueueRunSize => self.print_at_most = value.parse().ok().filter(|most| *most > 0),
            Effect::Milter => milter(part)?,
            Effect::NoRecipientAction => self.no_recipient = no_recipient(value)?,
            Effect::Privacy => self.privacy(value)?,
            Effect::QueueDirectory => self.queue_directory = Some(value.to_owned()),
            Effect::SaveFromLine => self.save_from_line = on,
            Effect::SevenBit => self.seven_bit = on,
            Effect::SortOrder => sort_order(value)?,
            // Return and warning: `5d/4h`.
            Effect::QueueTimes => value.split('/').for_each(|part| self.time(part, 2)),
            Effect::Time => self.time(value, 1),
            Effect::Timeout => self.timeout(part, value)?,
            Effect::Verbose => self.verbose = on,
        }
        Ok(())
    }

    fn delivery_mode(&mut self, first: Option<char>) -> Result<(), Stop> {
        match first {
            None | Some('i' | 'b') => self.delivery = Delivery::Background,
            Some('q' | 'd') => self.delivery = Delivery::Queue,
            Some(other) => {
                self.ended = true;
                return Err(usage(format!("Unknown delivery mode {other}")));
            }
        }
        self.in_background = first == Some('b');
        Ok(())
    }

    pub(crate) fn error_mode(&mut self, value: &str) {
        match value.chars().next() {
            Some('p') => self.errors = ErrorMode::Print,
            Some('q') => self.errors = ErrorMode::Quiet,
            // w writes to the user's terminal if he has one; mail is never missed.
            Some('m' | 'w') => self.errors = ErrorMode::Mail,
            Some('e') => self.errors = ErrorMode::Berknet,
            _ => {} // as sendmail: the mode stays
        }
    }

    fn privacy(&mut self, value: &str) -> Result<(), Stop> {
        let mut wrong = Vec::new();
        for word in value.split([',', ' ', '\t']).filter(|word| !word.is_empty()) {
            if !PRIVACY.iter().any(|known| known.eq_ignore_ascii_case(word)) {
                wrong.push(format!("readcf: Op line: {word} unrecognized"));
            }
            self.restrict_queue_print |= word.eq_ignore_ascii_case("restrictmailq");
            self.restrict_queue_run |= word.eq_ignore_ascii_case("restrictqrun");
        }
        if wrong.is_empty() { Ok(()) } else { Err(internal(wrong.join("\n"))) }
    }

    fn timeout(&mut self, part: &str, value: &str) -> Result<(), Stop> {
        let name = part.split('.').next().unwrap_or_default();
        if !name.is_empty() && !TIMEOUTS.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return Err(internal(format!("settimeout: invalid timeout {name}")));
        }
        // Those of the queue are set twice.
        self.time(value, if name.starts_with("queue") { 2 } else { 1 });
        Ok(())
    }

    /// A wrong time is said, as often as sendmail looks at it, and the call goes on to end with 64.
    pub(crate) fn time(&mut self, value: &str, times: usize) {
        if let Err(Stop::Refused(code, text)) = queue_run::interval(value) {
            self.notices.extend(std::iter::repeat_n(text, times));
            self.exit = code;
        }
    }
}

fn sort_order(value: &str) -> Result<(), Stop> {
    match value.chars().next() {
        Some(first) if !"fhmnprst".contains(first.to_ascii_lowercase()) => {
            Err(internal(format!("Invalid queue sort order \"{value}\"")))
        }
        _ => Ok(()),
    }
}

fn no_recipient(value: &str) -> Result<NoRecipient, Stop> {
    match value.to_ascii_lowercase().as_str() {
        "none" => Ok(NoRecipient::None),
        "add-to" => Ok(NoRecipient::To),
        "add-apparently-to" => Ok(NoRecipient::ApparentlyTo),
        "add-bcc" => Ok(NoRecipient::Bcc),
        "add-to-undisclosed" => Ok(NoRecipient::Undisclosed),
        _ => Err(internal(format!("Invalid NoRecipientAction: {value}"))),
    }
}

fn milter(part: &str) -> Result<(), Stop> {
    match part.split('.').next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "" => Err(internal("milter_set_option: invalid Milter option, must specify suboption".into())),
        "macros" | "loglevel" | "maxdatasize" => Ok(()),
        _ => Err(internal(format!("milter_set_option: invalid Milter option {part}"))),
    }
}

/// Checks the name of a macro that `-M` or `-oM` sets.
pub(crate) fn macro_name(value: &str) -> Result<(), Stop> {
    match value.strip_prefix('{') {
        Some(name) if !name.contains('}') => {
            let second = "Unable to assign macro/class ID (mid = 0xffffffff)";
            Err(internal(format!("Unbalanced {{ on {name}\n{second}")))
        }
        None if value.is_empty() => Err(internal("Name required for macro/class".into())),
        _ => Ok(()),
    }
}
