//! Tagged fields: `u16` tag, `u32` length, bytes; little-endian. Reading never panics and never trusts a length.

/// Writes fields.
#[derive(Default, Debug)]
pub(crate) struct Fields(pub Vec<u8>);

impl Fields {
    pub fn put(&mut self, tag: u16, bytes: &[u8]) {
        self.0.extend_from_slice(&tag.to_le_bytes());
        self.0.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.0.extend_from_slice(bytes);
    }
    /// Text that is empty by default is left out.
    pub fn text(&mut self, tag: u16, text: &str) {
        if !text.is_empty() {
            self.put(tag, text.as_bytes());
        }
    }
    /// A number that is zero by default is left out.
    pub fn number(&mut self, tag: u16, n: u64) {
        if n != 0 {
            let bytes = n.to_le_bytes();
            let used = 8 - n.leading_zeros() as usize / 8;
            self.put(tag, &bytes[..used]);
        }
    }
    /// A field that holds fields.
    pub fn nested(&mut self, tag: u16, fill: impl FnOnce(&mut Self)) {
        self.0.extend_from_slice(&tag.to_le_bytes());
        let at = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        fill(self);
        let length = (self.0.len() - at - 4) as u32;
        self.0[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }
}

/// Reads fields; ends with an error item if a length does not fit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub &'a [u8]);

/// The bytes do not have the form they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl<'a> Iterator for Reader<'a> {
    type Item = Result<(u16, &'a [u8]), Malformed>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut self.0);
        let field = || {
            let (head, rest) = bytes.split_first_chunk::<6>()?;
            let tag = u16::from_le_bytes([head[0], head[1]]);
            let length = u32::from_le_bytes([head[2], head[3], head[4], head[5]]);
            let (field, rest) = rest.split_at_checked(length as usize)?;
            Some((tag, field, rest))
        };
        match field() {
            Some((tag, field, rest)) => {
                self.0 = rest;
                Some(Ok((tag, field)))
            }
            None => Some(Err(Malformed)),
        }
    }
}

/// A number of at most 8 bytes.
pub(crate) fn number(bytes: &[u8]) -> Result<u64, Malformed> {
    let mut all = [0u8; 8];
    all.get_mut(..bytes.len()).ok_or(Malformed)?.copy_from_slice(bytes);
    Ok(u64::from_le_bytes(all))
}

/// A number that must fit in 32 bits.
pub(crate) fn small(bytes: &[u8]) -> Result<u32, Malformed> {
    u32::try_from(number(bytes)?).map_err(|_| Malformed)
}

/// Text.
pub(crate) fn text(bytes: &[u8]) -> Result<String, Malformed> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Malformed)
}

/// A list of 32-bit numbers.
pub(crate) fn words(bytes: &[u8]) -> Result<Vec<u32>, Malformed> {
    let (chunks, rest) = bytes.as_chunks::<4>();
    if rest.is_empty() { Ok(chunks.iter().map(|chunk| u32::from_le_bytes(*chunk)).collect()) } else { Err(Malformed) }
}

/// A list of ids.
pub(crate) fn ids(bytes: &[u8]) -> Result<impl Iterator<Item = mail::QueueId> + '_, Malformed> {
    let (chunks, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(Malformed);
    }
    Ok(chunks.iter().map(|chunk| mail::QueueId::from_u64(u64::from_le_bytes(*chunk))))
}
