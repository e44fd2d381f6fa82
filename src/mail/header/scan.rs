//! Looks at a header as it streams in, in bounded memory: 64 bytes of a name and at most 1,000 of a Message-Id, however
//! long the header is (S-10, S-62).

use super::is_name;

const NAME: usize = 64;
const MESSAGE_ID: usize = 1_000;

/// Fields whose presence matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the field of that name")]
pub enum Known {
    Received,
    MessageId,
    Date,
    From,
    Sender,
    To,
    Cc,
    Bcc,
    ReturnPath,
    ContentLength,
    FullName,
    ResentTo,
    ResentCc,
    ResentBcc,
    ResentFrom,
    ResentDate,
    ResentMessageId,
}

const KNOWN: [(&[u8], Known); 17] = [
    (b"received", Known::Received),
    (b"message-id", Known::MessageId),
    (b"date", Known::Date),
    (b"from", Known::From),
    (b"sender", Known::Sender),
    (b"to", Known::To),
    (b"cc", Known::Cc),
    (b"bcc", Known::Bcc),
    (b"return-path", Known::ReturnPath),
    (b"content-length", Known::ContentLength),
    (b"full-name", Known::FullName),
    (b"resent-to", Known::ResentTo),
    (b"resent-cc", Known::ResentCc),
    (b"resent-bcc", Known::ResentBcc),
    (b"resent-from", Known::ResentFrom),
    (b"resent-date", Known::ResentDate),
    (b"resent-message-id", Known::ResentMessageId),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the start of a line.
    Line,
    /// In a name; blanks were seen after it.
    Name { blank: bool },
    /// In a field's body; whether it is the Message-Id's.
    Body { id: bool },
    /// A CR at the start of a line.
    Cr,
    /// An empty line ended the header.
    Empty,
    /// A line that is no field ended it.
    Junk,
}

/// A streaming scan of one header.
#[derive(Clone, Debug)]
pub struct Scan {
    state: State,
    /// Bytes of the header's whole fields so far, then of the header.
    size: u64,
    /// Bytes of the present line while it may still turn out to be no field.
    tentative: u64,
    name: Vec<u8>,
    received: u32,
    seen: u32,
    id: Vec<u8>,
    in_field: bool,
    /// The last field was the Message-Id: a folded line goes on with it.
    in_id: bool,
    eight_bit: bool,
}

impl Default for Scan {
    fn default() -> Self {
        Self::new()
    }
}

impl Scan {
    /// At the start of the content.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Line,
            size: 0,
            tentative: 0,
            name: Vec::new(),
            received: 0,
            seen: 0,
            id: Vec::new(),
            in_field: false,
            in_id: false,
            eight_bit: false,
        }
    }
    /// The next piece of content; costs nothing once the header has ended.
    pub fn feed(&mut self, mut input: &[u8]) {
        while !self.ended()
            && let Some((&byte, rest)) = input.split_first()
        {
            if let State::Body { id } = self.state {
                input = self.body(id, input);
                continue;
            }
            input = rest;
            self.tentative += 1;
            self.state = self.step(byte);
        }
    }
    /// Takes the rest of a line of a field's body.
    fn body<'a>(&mut self, id: bool, input: &'a [u8]) -> &'a [u8] {
        let end = memchr::memchr(b'\n', input);
        let (text, rest) = input.split_at_checked(end.map_or(input.len(), |at| at + 1)).unwrap_or((input, &[]));
        self.size += text.len() as u64;
        self.eight_bit |= !text.is_ascii();
        if id {
            let room = MESSAGE_ID.saturating_sub(self.id.len());
            self.id.extend_from_slice(text.get(..room).unwrap_or(text));
        }
        if end.is_some() {
            self.state = State::Line;
        }
        rest
    }
    fn step(&mut self, byte: u8) -> State {
        match (self.state, byte) {
            (State::Line, b'\n') | (State::Cr, b'\n') => State::Empty,
            (State::Line, b'\r') => State::Cr,
            (State::Line, b' ' | b'\t') if self.in_field => {
                self.commit();
                State::Body { id: self.in_id }
            }
            (State::Line | State::Name { blank: false }, _) if is_name(byte) => {
                if self.state == State::Line {
                    self.name.clear();
                }
                if self.name.len() <= NAME {
                    self.name.push(byte.to_ascii_lowercase());
                }
                State::Name { blank: false }
            }
            (State::Name { .. }, b' ' | b'\t') => State::Name { blank: true },
            (State::Name { .. }, b':') => self.field(),
            _ => State::Junk,
        }
    }
    fn commit(&mut self) {
        self.size += self.tentative;
        self.tentative = 0;
    }
    /// A colon after a name: this line is a field.
    fn field(&mut self) -> State {
        self.commit();
        self.in_field = true;
        self.in_id = false;
        let name = self.name.as_slice();
        if let Some((_, known)) = KNOWN.iter().find(|(known, _)| *known == name) {
            let first = !self.has(*known);
            self.seen |= 1 << (*known as u32);
            if *known == Known::Received {
                self.received = self.received.saturating_add(1);
            }
            self.in_id = *known == Known::MessageId && first;
        }
        State::Body { id: self.in_id }
    }
    /// Whether the header is over.
    #[must_use]
    pub fn ended(&self) -> bool {
        matches!(self.state, State::Empty | State::Junk)
    }
    /// Whether an empty line ended it (otherwise a line that is no field did).
    #[must_use]
    pub fn is_separated(&self) -> bool {
        self.state == State::Empty
    }
    /// Bytes of the fields so far, line ends included.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }
    /// Received fields so far (loop detection, RFC 5321 6.3).
    #[must_use]
    pub fn received_count(&self) -> u32 {
        self.received
    }
    /// Whether a field of that name was seen.
    #[must_use]
    pub fn has(&self, known: Known) -> bool {
        self.seen & (1 << (known as u32)) != 0
    }
    /// The first Message-Id field's value on one line, at most 1,000 bytes of it; empty if there is none.
    #[must_use]
    pub fn message_id(&self) -> String {
        super::unfold(&self.id, MESSAGE_ID)
    }
    /// Whether a field's body holds a byte over 127.
    #[must_use]
    pub fn is_eight_bit(&self) -> bool {
        self.eight_bit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(content: &[u8], step: usize) -> Scan {
        let mut scan = Scan::new();
        content.chunks(step).for_each(|piece| scan.feed(piece));
        scan
    }

    #[test]
    fn sees_the_same_in_pieces_of_any_size() {
        let content = b"Received: a\r\n b\r\nreceived : c\r\nX: Received: no\r\nMessage-Id:\r\n <1@x>\r\nDATE: now\r\n\r\nFrom: body\r\n";
        for step in [1, 2, 3, 7, 1_000] {
            let scan = scan(content, step);
            assert_eq!(scan.received_count(), 2);
            assert_eq!(scan.message_id(), "<1@x>");
            assert!(scan.ended() && scan.is_separated());
            assert!(scan.has(Known::Date) && !scan.has(Known::From));
            assert_eq!(scan.size(), crate::header::split(content).header as u64);
        }
    }

    #[test]
    fn agrees_with_the_reader_of_whole_headers() {
        for content in [
            &b"A: b\nhello there\n"[..],
            b"hello\n",
            b" x: y\n",
            b"A: b\r\n\r\n",
            b"A: b\r\n\rx: y\n",
            b"A:\n\n",
            b"",
            b"A : b\n\t\nB:\nC",
        ] {
            assert_eq!(scan(content, 1).size(), crate::header::split(content).header as u64, "{content:?}");
        }
    }

    #[test]
    fn memory_stays_bounded() {
        let mut scan = Scan::new();
        scan.feed(b"Message-Id: ");
        for _ in 0..1_000 {
            scan.feed(&[b'x'; 1_000]);
        }
        assert!(scan.id.len() <= MESSAGE_ID && scan.message_id().len() <= MESSAGE_ID);
        assert_eq!(scan.size(), 1_000_012);
        let mut scan = Scan::new();
        (0..100).for_each(|_| scan.feed(&[b'n'; 1_000]));
        assert!(scan.name.len() <= NAME + 1 && !scan.ended());
    }
}
