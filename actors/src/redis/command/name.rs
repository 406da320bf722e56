/// A command's name in capitals, without an allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Name {
    bytes: [u8; LEN_BYTES_MAX],
    len_bytes: usize,
}

/// A longer name is never learned.
pub(super) const LEN_BYTES_MAX: usize = 64;

impl Name {
    pub(super) fn new(name: &[u8]) -> Option<Self> {
        let mut bytes = [0; LEN_BYTES_MAX];
        let upper = bytes.get_mut(..name.len())?;
        upper.copy_from_slice(name);
        upper.make_ascii_uppercase();
        Some(Self { bytes, len_bytes: name.len() })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len_bytes]
    }

    /// Whether the server can be asked about such a name. With a `|` it would answer about a sub-command, which no
    /// client can send as one word.
    pub(super) fn can_be_asked_about(&self) -> bool {
        self.len_bytes > 0
            && self.as_bytes().iter().all(|byte| byte.is_ascii_graphic() && *byte != b'|')
    }
}
