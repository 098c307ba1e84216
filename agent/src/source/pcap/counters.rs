//! What could not be read from capture files, and why.

use super::file::BlockCounters;

/// Packets that gave no segment, or less than a whole one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets in the file.
    pub packets: u64,
    /// Of these, TCP segments.
    pub segments: u64,
    /// Packets that are not TCP over IP; nothing is wrong with them.
    pub not_tcp: u64,
    /// Packets of a link type that is not read.
    pub unknown_link_type: u64,
    /// The last link type that is not read.
    pub last_unknown_link_type: Option<i32>,
    /// IP fragments: they are not put together.
    pub fragments: u64,
    /// Packets whose headers cannot be (impossible lengths, wrong versions).
    pub malformed_headers: u64,
    /// Packets cut by the snap length before the end of their headers.
    pub cut_headers: u64,
    /// Segments whose payload was cut by the snap length; what is there is used.
    pub cut_payloads: u64,
    /// Packets with more tunnels inside each other than are looked into.
    pub too_deep: u64,
    /// Blocks passed over.
    pub blocks: BlockCounters,
    /// Resets of connections of which nothing else was seen.
    pub stray_resets: u64,
    /// Segments after the end of their connection.
    pub late_segments: u64,
    /// Connections given up because too many were open at once.
    pub evicted_open: u64,
    /// Connections given up because nothing was heard of them for hours.
    pub evicted_idle: u64,
    /// Closed connections forgotten early because too many closed at once.
    pub evicted_closed: u64,
}

impl Counters {
    /// One line for each thing that a reader of the result should know.
    pub fn notes(&self) -> Vec<String> {
        let link = match self.last_unknown_link_type {
            Some(n) => format!("packets of a link type that is not supported (such as {n})"),
            None => String::new(),
        };
        let lines: [(u64, &str); 10] = [
            (self.unknown_link_type, &link),
            (self.fragments, "IP fragments, which are not put together"),
            (self.malformed_headers, "packets with malformed headers"),
            (self.cut_headers, "packets cut inside their headers (capture with a longer snap length)"),
            (self.cut_payloads, "segments cut by the snap length: some facts may be missing"),
            (self.too_deep, "packets with too many tunnels inside each other"),
            (self.blocks.malformed_blocks, "malformed pcapng blocks"),
            (self.blocks.unknown_interface, "packets of an interface that the file does not describe"),
            (self.blocks.obsolete_blocks, "packets in obsolete pcapng packet blocks"),
            (self.evicted_open, "connections given up: too many open at once"),
        ];
        lines.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect()
    }

    /// Whether packets were lost to damage of the file itself.
    pub fn is_damaged(&self) -> bool {
        self.blocks.malformed_blocks + self.blocks.unknown_interface > 0
    }
}
