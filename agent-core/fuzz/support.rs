//! What several targets share: a conversation as an input format simple enough to write seeds in.

use agent_core::net::Direction;

/// Bytes of both directions of a connection, in the order of their delivery, then whatever is left of the input.
#[derive(Debug)]
pub struct Conversation<'a> {
    /// The first byte of the input, for the target to make its choices from.
    pub flags: u8,
    /// Who sent what.
    pub runs: Vec<(Direction, &'a [u8])>,
    /// Input behind the last run.
    pub rest: &'a [u8],
}

impl<'a> Conversation<'a> {
    /// Reads one byte of flags, then runs: a big-endian 16-bit header (top bit: ingress; the others: length) and the
    /// bytes. A header of zero, or a run longer than what is left, ends the conversation.
    pub fn read(input: &'a [u8]) -> Option<Self> {
        let (&flags, mut rest) = input.split_first()?;
        let mut runs = Vec::new();
        while let Some((header, behind)) = rest.split_first_chunk::<2>() {
            let header = u16::from_be_bytes(*header);
            let len = usize::from(header & 0x7fff);
            if header == 0 {
                rest = behind;
                break;
            }
            let Some((bytes, behind)) = behind.split_at_checked(len) else {
                rest = behind;
                break;
            };
            let direction = if header & 0x8000 == 0 { Direction::Egress } else { Direction::Ingress };
            runs.push((direction, bytes));
            rest = behind;
        }
        Some(Self { flags, runs, rest })
    }
}
