//! A call of `sendmail` and what became of it.

/// What standard input is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// These bytes. `@M@` stands for the call's mark, by which its messages are found.
    Bytes(Vec<u8>),
    /// An SMTP client: each piece is sent when the reply to the one before (first the greeting) is here.
    Dialogue(Vec<Vec<u8>>),
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name, once in all calls; begins with its row (`invocations: `, `generated: `).
    pub name: String,
    /// Login name of the caller.
    pub user: &'static str,
    /// Path of the program.
    pub program: &'static str,
    /// Arguments; bytes, for not all of them are UTF-8.
    pub arguments: Vec<Vec<u8>>,
    /// Variables beside the usual ones.
    pub environment: Vec<(&'static str, &'static str)>,
    /// Standard input.
    pub input: Input,
    /// Runs when nothing else does: it looks at the queue.
    pub alone: bool,
    /// Arguments and input that sendmail gets in place of these, which it cannot take ([`crate::better`]).
    pub instead: Option<(Vec<Vec<u8>>, Input)>,
}

impl Call {
    /// As alice, with `/usr/sbin/sendmail`.
    pub fn new(name: &str, arguments: &[&str], input: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            user: "alice",
            program: "/usr/sbin/sendmail",
            arguments: arguments.iter().map(|a| a.as_bytes().to_vec()).collect(),
            environment: Vec::new(),
            input: Input::Bytes(input.to_vec()),
            alone: false,
            instead: None,
        }
    }
    /// The call that sendmail gets.
    pub fn theirs(&self) -> Self {
        let (arguments, input) = self.instead.clone().unwrap_or_else(|| (self.arguments.clone(), self.input.clone()));
        Self { arguments, input, instead: None, ..self.clone() }
    }
    /// By another user.
    pub fn by(mut self, user: &'static str) -> Self {
        self.user = user;
        self
    }
    /// Under another path.
    pub fn with_program(mut self, program: &'static str) -> Self {
        self.program = program;
        self
    }
    /// With a variable.
    pub fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.push((name, value));
        self
    }
    /// As an SMTP client.
    pub fn talks(mut self, lines: &[&str]) -> Self {
        self.input = Input::Dialogue(lines.iter().map(|l| l.replace('\n', "\r\n").into_bytes()).collect());
        self
    }
    /// When nothing else runs.
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }
}

/// A message somewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message {
    /// `mailbox bob`, `sink MAIL … RCPT …`, `dead.letter of alice`.
    pub place: String,
    /// From its From_ line on, LF line ends, in the normal form of [`crate::normal`].
    pub text: String,
}

/// What became of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Exit code; -1 for a signal.
    pub exit: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// All its messages, sorted.
    pub messages: Vec<Message>,
}
