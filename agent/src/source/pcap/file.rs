//! The container: packets out of pcap and pcapng files.
//!
//! Blocks are framed here, so that a file that ends early or lies about a length is told apart from one that cannot be
//! read, with the place where it happened; their content is parsed by `pcap-parser`.

use std::io::{self, Read};

use agent_core::time::Timestamp;
use pcap_parser::{
    Block, Linktype, OptionCode, PcapHeader, PcapNGOption, parse_block_be, parse_block_le, parse_pcap_header,
};

/// Longest packet record or block taken for real. Capture programs stop at 256 KiB a packet; blocks of TLS secrets or of
/// host names may be longer.
const MAX_BLOCK: u32 = 16 * 1024 * 1024;
/// Most interfaces remembered of one section (dumpcap writes one per interface it captures on).
const MAX_INTERFACES: usize = 4096;
/// Bytes asked for at a time, so that a lying length allocates no more than the file has.
const CHUNK: usize = 256 * 1024;

/// One captured packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// When it was captured. The packet before it lends its time where the format has none (simple packet blocks).
    pub time: Timestamp,
    /// What its first header is.
    pub link: Linktype,
    /// The captured bytes.
    pub data: &'a [u8],
}

/// Why nothing can be read from the input.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system said no.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// No byte at all.
    #[error("the file is empty")]
    Empty,
    /// It starts with neither of the two formats' magic numbers.
    #[error("not a pcap or pcapng file")]
    NotACapture,
    /// It is a compressed file; the name of the program that unpacks it.
    #[error("the file is compressed")]
    Compressed(&'static str),
}

/// Why reading stopped before the end of the file.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// The operating system said no.
    #[error("reading failed at byte {at}: {error}")]
    Io {
        /// Offset of the block that could not be read.
        at: u64,
        /// What it said.
        error: io::Error,
    },
    /// The file ends inside a packet or block.
    #[error("the file ends in the middle of a packet (byte {at})")]
    Truncated {
        /// Offset of the block that is cut.
        at: u64,
    },
    /// A length or magic number cannot be; what follows cannot be found.
    #[error("the file is damaged at byte {at}: {what}")]
    Malformed {
        /// Offset of the block.
        at: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Blocks that were passed over, with the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockCounters {
    /// Blocks whose content is not well-formed, or packets that are longer than their block.
    pub malformed_blocks: u64,
    /// Packets of an interface that the file does not describe.
    pub unknown_interface: u64,
    /// Packets in the obsolete packet block of pcapng drafts.
    pub obsolete_blocks: u64,
}

/// Reads the packets of one file.
#[derive(Debug)]
pub struct CaptureFile<R> {
    input: R,
    format: Format,
    /// Bytes of the block at hand; grows to the longest one, never shrinks.
    buffer: Vec<u8>,
    offset: u64,
    time: Timestamp,
    /// Blocks passed over.
    pub counters: BlockCounters,
}

#[derive(Debug)]
enum Format {
    Pcap { big_endian: bool, nanoseconds: bool, header: usize, link: Linktype },
    PcapNg { big_endian: bool, interfaces: Vec<Interface>, section_pending: bool },
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: Linktype,
    /// Units per second; 0 when the file's value cannot be represented.
    resolution: u64,
    offset_secs: i64,
    snaplen: u32,
}

/// What came of looking for a whole block.
enum Fill {
    Whole,
    End,
    Short,
}

const PCAPNG_SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// The obsolete Packet Block (pcapng draft, appendix A).
const OBSOLETE_PACKET: u32 = 2;

impl<R: Read> CaptureFile<R> {
    /// Reads the file header.
    pub fn open(input: R) -> Result<Self, OpenError> {
        let mut file = Self {
            input,
            format: Format::PcapNg { big_endian: false, interfaces: Vec::new(), section_pending: true },
            buffer: Vec::new(),
            offset: 0,
            time: Timestamp::default(),
            counters: BlockCounters::default(),
        };
        let magic = match file.fill(0, 4)? {
            Fill::Whole => file.head::<4>().unwrap_or_default(),
            Fill::End => return Err(OpenError::Empty),
            Fill::Short => return Err(OpenError::NotACapture),
        };
        match magic {
            PCAPNG_SECTION => return Ok(file),
            [0x1f, 0x8b, ..] => return Err(OpenError::Compressed("gzip -dc")),
            [0x28, 0xb5, 0x2f, 0xfd] => return Err(OpenError::Compressed("zstd -dc")),
            [0xfd, b'7', b'z', b'X'] => return Err(OpenError::Compressed("xz -dc")),
            [0x04, 0x22, 0x4d, 0x18] => return Err(OpenError::Compressed("lz4 -dc")),
            _ => {}
        }
        let Fill::Whole = file.fill(4, 24)? else { return Err(OpenError::NotACapture) };
        let bytes = file.buffer.get(..24).unwrap_or_default();
        let Ok((_, header)) = parse_pcap_header(bytes) else { return Err(OpenError::NotACapture) };
        file.format = Format::pcap(&header);
        file.offset = 24;
        Ok(file)
    }

    /// Bytes of the file used so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next packet; `None` at the end of the file. After damage, nothing more can be read.
    pub fn next_packet(&mut self) -> Result<Option<Packet<'_>>, Damage> {
        match self.format {
            Format::Pcap { big_endian, nanoseconds, header, link } => {
                self.next_pcap(big_endian, nanoseconds, header, link)
            }
            Format::PcapNg { .. } => self.next_pcapng(),
        }
    }

    fn next_pcap(
        &mut self,
        big_endian: bool,
        nanoseconds: bool,
        header_len: usize,
        link: Linktype,
    ) -> Result<Option<Packet<'_>>, Damage> {
        let at = self.offset;
        match self.fill(0, header_len).map_err(|error| Damage::Io { at, error })? {
            Fill::Whole => {}
            Fill::End => return Ok(None),
            Fill::Short => return Err(Damage::Truncated { at }),
        }
        let header = self.head::<16>().unwrap_or_default();
        let word = |i: usize| {
            let bytes = header.get(i..).and_then(|b| b.first_chunk::<4>()).copied().unwrap_or_default();
            if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        let (secs, fraction, captured) = (word(0), word(4), word(8));
        if captured > MAX_BLOCK {
            return Err(Damage::Malformed { at, what: "a packet of impossible length" });
        }
        let Fill::Whole = self.fill(0, captured as usize).map_err(|error| Damage::Io { at, error })? else {
            return Err(Damage::Truncated { at });
        };
        self.offset = at + header_len as u64 + u64::from(captured);
        let nanos = u64::from(fraction) * if nanoseconds { 1 } else { 1000 };
        self.time = Timestamp(u64::from(secs) * 1_000_000_000 + nanos);
        let data = self.buffer.get(..captured as usize).unwrap_or_default();
        Ok(Some(Packet { time: self.time, link, data }))
    }

    fn next_pcapng(&mut self) -> Result<Option<Packet<'_>>, Damage> {
        // Finding the packet and lending it are two steps: a packet lent inside the loop would keep `self` borrowed.
        let (link, start, len) = loop {
            let Some(block_len) = self.next_block()? else { return Ok(None) };
            let Format::PcapNg { big_endian, interfaces, .. } = &mut self.format else { return Ok(None) };
            let block = self.buffer.get(..block_len).unwrap_or_default();
            let parse = if *big_endian { parse_block_be } else { parse_block_le };
            let Ok((_, parsed)) = parse(block) else {
                self.counters.malformed_blocks += 1;
                continue;
            };
            match parsed {
                // Packets of an interface past the bound are counted as of an unknown one.
                Block::InterfaceDescription(idb) if interfaces.len() < MAX_INTERFACES => {
                    interfaces.push(Interface {
                        link: idb.linktype,
                        resolution: resolution(idb.if_tsresol),
                        offset_secs: offset_secs(&idb.options, *big_endian),
                        snaplen: idb.snaplen,
                    });
                }
                Block::EnhancedPacket(epb) => {
                    let Some(interface) = interfaces.get(epb.if_id as usize) else {
                        self.counters.unknown_interface += 1;
                        continue;
                    };
                    if epb.caplen as usize > epb.data.len() {
                        self.counters.malformed_blocks += 1;
                        continue;
                    }
                    self.time = interface.time(epb.ts_high, epb.ts_low);
                    // Fixed part of an enhanced packet block before the packet (pcapng, section 4.3).
                    break (interface.link, 28, epb.caplen as usize);
                }
                Block::SimplePacket(spb) => {
                    let Some(interface) = interfaces.first() else {
                        self.counters.unknown_interface += 1;
                        continue;
                    };
                    let snaplen = if interface.snaplen == 0 { u32::MAX } else { interface.snaplen };
                    let captured = spb.origlen.min(snaplen) as usize;
                    break (interface.link, 12, captured.min(spb.data.len()));
                }
                Block::Unknown(block) if block.block_type == OBSOLETE_PACKET => {
                    self.counters.obsolete_blocks += 1;
                }
                _ => {}
            }
        };
        let data = self.buffer.get(start..start + len).unwrap_or_default();
        Ok(Some(Packet { time: self.time, link, data }))
    }

    /// Reads one whole pcapng block into the buffer and gives its length.
    fn next_block(&mut self) -> Result<Option<usize>, Damage> {
        let at = self.offset;
        let io = |error| Damage::Io { at, error };
        let Format::PcapNg { big_endian, section_pending, .. } = &mut self.format else { return Ok(None) };
        // The magic number of the first section was read to find the format.
        let have = if std::mem::take(section_pending) { 4 } else { 0 };
        let mut big = *big_endian;
        match self.fill(have, 12).map_err(io)? {
            Fill::Whole => {}
            Fill::End => return Ok(None),
            Fill::Short => return Err(Damage::Truncated { at }),
        }
        let head = self.head::<12>().unwrap_or_default();
        let [t0, t1, t2, t3, l0, l1, l2, l3, m0, m1, m2, m3] = head;
        if [t0, t1, t2, t3] == PCAPNG_SECTION {
            big = match [m0, m1, m2, m3] {
                [0x1a, 0x2b, 0x3c, 0x4d] => true,
                [0x4d, 0x3c, 0x2b, 0x1a] => false,
                _ => return Err(Damage::Malformed { at, what: "a section without byte-order magic" }),
            };
            if let Format::PcapNg { big_endian, interfaces, .. } = &mut self.format {
                *big_endian = big;
                interfaces.clear();
            }
        }
        let length = [l0, l1, l2, l3];
        let length = if big { u32::from_be_bytes(length) } else { u32::from_le_bytes(length) };
        if !(12..=MAX_BLOCK).contains(&length) || length % 4 != 0 {
            return Err(Damage::Malformed { at, what: "a block of impossible length" });
        }
        let length = length as usize;
        let Fill::Whole = self.fill(12, length).map_err(io)? else { return Err(Damage::Truncated { at }) };
        self.offset = at + length as u64;
        Ok(Some(length))
    }

    /// Reads until the buffer holds `want` bytes, of which it has `have`.
    fn fill(&mut self, have: usize, want: usize) -> io::Result<Fill> {
        let mut filled = have;
        while filled < want {
            let upto = want.min(filled + CHUNK);
            if self.buffer.len() < upto {
                self.buffer.resize(upto, 0);
            }
            let Some(space) = self.buffer.get_mut(filled..upto) else { break };
            match self.input.read(space) {
                Ok(0) if filled == 0 => return Ok(Fill::End),
                Ok(0) => return Ok(Fill::Short),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(Fill::Whole)
    }

    fn head<const N: usize>(&self) -> Option<[u8; N]> {
        self.buffer.first_chunk::<N>().copied()
    }
}

impl Format {
    fn pcap(header: &PcapHeader) -> Self {
        Format::Pcap {
            big_endian: header.is_bigendian(),
            nanoseconds: header.is_nanosecond_precision(),
            // Kuznetzov's patched libpcap has eight more bytes in front of each packet.
            header: if header.is_modified_format() { 24 } else { 16 },
            // The upper bits tell about frame check sequences (pcap file format, section 4).
            link: Linktype(header.network.0 & 0xffff),
        }
    }
}

/// Units per second (if_tsresol, pcapng section 4.2): a power of two when the highest bit is set, else of ten; 0 when it
/// is past any clock.
fn resolution(tsresol: u8) -> u64 {
    let exponent = u32::from(tsresol & 0x7f);
    let base: u64 = if tsresol & 0x80 == 0 { 10 } else { 2 };
    base.checked_pow(exponent).unwrap_or(0)
}

/// Seconds to add to every time of an interface (if_tsoffset, pcapng section 4.2). `pcap-parser` reads it in one byte
/// order only.
fn offset_secs(options: &[PcapNGOption<'_>], big_endian: bool) -> i64 {
    let option = options.iter().find(|option| option.code == OptionCode::IfTsoffset);
    match option.and_then(|option| option.value.first_chunk::<8>()) {
        Some(bytes) if big_endian => i64::from_be_bytes(*bytes),
        Some(bytes) => i64::from_le_bytes(*bytes),
        None => 0,
    }
}

impl Interface {
    fn time(&self, high: u32, low: u32) -> Timestamp {
        let units = u128::from(high) << 32 | u128::from(low);
        if self.resolution == 0 {
            return Timestamp::default();
        }
        let nanos = units * 1_000_000_000 / u128::from(self.resolution);
        let offset = i128::from(self.offset_secs) * 1_000_000_000;
        let nanos = i128::try_from(nanos).unwrap_or(i128::MAX).saturating_add(offset);
        Timestamp(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests;
