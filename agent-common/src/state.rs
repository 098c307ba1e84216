//! What both halves keep in maps: configuration, per-connection state, counters.

use core::mem::size_of;

/// Bounds of the capture. Set once, before the programs are loaded.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureConfig {
    /// Plaintext: bytes let through per segment.
    pub plaintext_segment: u32,
    /// Plaintext: bytes let through per direction until user space has a verdict.
    pub plaintext_total: u32,
    /// TLS: bytes of clear-text records (hellos, certificates, alerts) per direction.
    pub clear_total: u32,
    /// TLS: headers of encrypted records per direction.
    pub encrypted_records: u32,
    /// Bytes per direction once its segments came out of order: records cannot be told apart there.
    pub raw_total: u32,
    /// Share of the ring buffer, in bytes, that payload may fill; the rest is kept for opens and closes.
    pub ring_data_max: u32,
    /// 1: the socket that a task reads from is noted, for the probes in TLS libraries.
    pub certificates: u32,
}

impl CaptureConfig {
    /// Defaults; see docs for what each costs.
    pub const DEFAULT: CaptureConfig = CaptureConfig {
        // An upgrade may have its ClientHello in the same segment (MySQL), and one with post-quantum key shares is long.
        plaintext_segment: 2048,
        plaintext_total: 16 * 1024,
        clear_total: 64 * 1024,
        encrypted_records: 24,
        raw_total: 64 * 1024,
        ring_data_max: 7 * 1024 * 1024,
        certificates: 1,
    };
}

/// Longest payload one DATA event carries.
pub const MAX_CHUNK: u32 = 4096;

/// Values of [`DirState::phase`].
pub mod phase {
    /// Nothing but plaintext so far; every segment is checked for the start of a TLS record.
    pub const PLAIN: u8 = 0;
    /// Records are walked: clear ones copied, encrypted ones named by their header.
    pub const TLS: u8 = 1;
    /// Segments came out of order, or not as records: bytes are copied as they come, up to a bound.
    pub const RAW: u8 = 2;
    /// Nothing more is wanted.
    pub const DONE: u8 = 3;
}

/// [`DirState::flags`]: `next` is set.
pub const DIR_SYNCED: u8 = 1;
/// [`DirState::flags`]: the rest of the current record is copied, not elided.
pub const DIR_COPY: u8 = 2;

/// One direction of a connection, in the kernel. 48 bytes.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct DirState {
    /// Next sequence number in order.
    pub next: u32,
    /// Sequence number of the first payload byte.
    pub start: u32,
    /// Bytes left of the current record.
    pub rec_left: u32,
    /// Bytes emitted in the current phase.
    pub used: u32,
    /// A record header of which only a part has come.
    pub header: [u8; 8],
    /// Bytes of `header` that are there.
    pub header_len: u32,
    /// Headers of encrypted records emitted.
    pub encrypted: u16,
    /// One of [`phase`].
    pub phase: u8,
    /// Bits of `DIR_*`.
    pub flags: u8,
    /// The packet at hand.
    pub cursor: Cursor,
}

/// Where the walk stands in the packet at hand. It lives in the map because a value that went through a map is unknown to
/// the verifier, which then walks a loop's body once per turn instead of once per value its variables could have.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Cursor {
    /// Offset in the packet of what is left.
    pub offset: u32,
    /// Bytes left.
    pub len: u32,
    /// Sequence number of what is left.
    pub seq: u32,
    /// Bytes to copy next.
    pub cap_len: u32,
}

/// A connection in the kernel, keyed by socket cookie. 112 bytes.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct ConnState {
    /// 1: the verdict is known; every packet costs this one look-up.
    pub done: u32,
    /// Zero.
    pub reserved: u32,
    /// When it came into this table (`bpf_ktime_get_ns`). A socket that connects again keeps its cookie: what user space
    /// says of the connection before must not be taken for this one.
    pub opened: u64,
    /// By [`crate::EGRESS`], [`crate::INGRESS`].
    pub dirs: [DirState; 2],
}

/// [`SockEntry::flags`]: the connection is older than the programs; its close comes from the tracepoint.
pub const SOCK_EXISTING: u32 = 1;
/// [`SockEntry::flags`]: the first task that reads is to be reported as owner.
pub const SOCK_OWNER_WANTED: u32 = 2;

/// [`SockEntry::flags`]: this end called `connect`.
pub const SOCK_ACTIVE: u32 = 4;

/// [`SockEntry::flags`]: the upper half counts reads since the capture of the connection was over.
pub const SOCK_READS_SHIFT: u32 = 16;
/// Reads for which a connection whose capture is over is still noted as the one that its reader read from last: the verdict
/// may be known before the reader has come to the certificates. A record is read in two parts, and a long one in many.
pub const SOCK_READS_MAX: u32 = 64;

/// Age in jiffies (1 to 10 seconds, by the kernel's tick) from which on the note of what a task read last counts for
/// nothing: certificates are parsed right after the read that completed them.
pub const LAST_READ_JIFFIES: u64 = 1000;

/// The connection that a task read from last.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct LastRead {
    /// Socket cookie.
    pub cookie: u64,
    /// When, in jiffies.
    pub jiffies: u64,
    /// When, CLOCK_MONOTONIC in nanoseconds.
    pub time: u64,
    /// The other connection that it read from before that, 0 where there was none.
    pub earlier: u64,
    /// When it last read from that one, CLOCK_MONOTONIC in nanoseconds.
    pub earlier_time: u64,
}

/// A goroutine.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Goroutine {
    /// Process.
    pub pid: u64,
    /// Address of its `g`.
    pub g: u64,
}

/// Age in jiffies (60 to 600 seconds) from which on a goroutine's `ClientHello.random` counts for nothing. A goroutine that
/// ended without having parsed certificates leaves its own behind, and its `g` is used again.
pub const GO_RANDOM_JIFFIES: u64 = 60_000;

/// `ClientHello.random` of the TLS 1.3 handshake that a goroutine is in.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct GoRandom {
    /// The random.
    pub random: [u8; 32],
    /// When it was noted, in jiffies.
    pub jiffies: u64,
}

/// Certificates that one event carries; of a longer chain the first ones.
pub const MAX_CHAIN: u32 = 16;

/// From the kernel's socket address (as tracepoints give it) to the connection.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct SockEntry {
    /// Socket cookie.
    pub cookie: u64,
    /// Bits of `SOCK_*`.
    pub flags: u32,
    /// `bytes_received` (low half) when the socket came to FIN_WAIT2.
    pub received: u32,
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// What the kernel side did, cut or lost: index into the per-CPU array `COUNTERS`.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Counter {
            /// All of them, in the order of their index.
            pub const ALL: &'static [Counter] = &[$(Counter::$variant),+];

            /// The name in snake case.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Counter::$variant => $name,)+
                }
            }
        }
    };
}

counters! {
    /// Opens, closes and owners that found the ring buffer full.
    LifecycleLost = "lifecycle_events_lost",
    /// Payload events that found the ring buffer full.
    DataLost = "data_events_lost",
    /// Connections that found the connection table full.
    ConnectionTableFull = "connection_table_full",
    /// Directions cut at the plaintext bound.
    PlaintextCut = "plaintext_bytes_cut",
    /// Directions cut at the bound for clear-text TLS records.
    ClearCut = "clear_tls_bytes_cut",
    /// Directions cut at the bound for headers of encrypted records.
    EncryptedCut = "encrypted_records_cut",
    /// Directions cut at the bound for out-of-order bytes.
    RawCut = "raw_bytes_cut",
    /// Segments that came before an earlier one.
    OutOfOrder = "segments_out_of_order",
    /// Segments that had been seen in full before.
    Retransmitted = "segments_retransmitted",
    /// Packets whose headers could not be read.
    Unreadable = "packets_unreadable",
    /// Packets with more records than one program run may walk; the rest of such a packet is copied as it is.
    RecordsPerPacket = "records_per_packet_cut",
    /// Probe hits in OpenSSL.
    ProbeHitsOpenSsl = "probe_hits_openssl",
    /// Probe hits in GnuTLS.
    ProbeHitsGnuTls = "probe_hits_gnutls",
    /// Probe hits in Go where certificates are parsed.
    ProbeHitsGo = "probe_hits_go",
    /// Probe hits in Go where `ClientHello.random` is told.
    ProbeHitsGoRandom = "probe_hits_go_random",
    /// Certificate messages handed to user space, of OpenSSL.
    CertificatesOpenSsl = "certificates_openssl",
    /// The same of GnuTLS.
    CertificatesGnuTls = "certificates_gnutls",
    /// The same of Go.
    CertificatesGo = "certificates_go",
    /// Probe hits that were no Certificate message of TLS 1.3: older versions (seen on the wire), certificates from files,
    /// the second and further of a chain. Nothing is copied.
    ProbeOther = "probe_hits_without_message",
    /// Certificate messages of which only the first certificates were handed over: more, or longer, than the bounds.
    CertificatesCut = "certificates_cut",
    /// Probe hits whose memory could not be read.
    ProbeUnreadable = "probe_memory_unreadable",
    /// Certificate messages lost because a program that this one interrupted was copying another.
    ProbeBusy = "certificates_lost_busy",
    /// Certificate messages that found the ring buffer full.
    CertificatesLost = "certificates_lost",
}

const _: () = {
    assert!(size_of::<CaptureConfig>() == 28);
    assert!(size_of::<DirState>() == 48);
    assert!(size_of::<ConnState>() == 112);
    assert!(size_of::<SockEntry>() == 16);
    assert!(size_of::<LastRead>() == 40);
    assert!(size_of::<Goroutine>() == 16);
    assert!(size_of::<GoRandom>() == 40);
};
