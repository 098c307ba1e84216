//! Events, kernel to user space.

use core::mem::{offset_of, size_of};

/// Values of [`EventHeader::kind`].
pub mod kind {
    /// [`super::OpenEvent`]: `connect` was called; sent in the context of the calling process.
    pub const CONNECT: u16 = 1;
    /// [`super::EstablishedEvent`]: an active open got its SYN-ACK.
    pub const ESTABLISHED: u16 = 2;
    /// [`super::OpenEvent`]: a passive open completed its handshake.
    pub const ACCEPT: u16 = 3;
    /// [`super::OpenEvent`]: a socket began to listen; only the local half of the tuple is set.
    pub const LISTEN: u16 = 4;
    /// [`super::DataEvent`], followed by its payload.
    pub const DATA: u16 = 5;
    /// [`super::CloseEvent`].
    pub const CLOSE: u16 = 6;
    /// [`super::OwnerEvent`]: who reads from an accepted connection.
    pub const OWNER: u16 = 7;
    /// [`super::OpenEvent`]: first packet of a connection that is older than the programs. No process, no sequence numbers.
    pub const SEEN: u16 = 8;
    /// [`super::CertificatesEvent`], followed by certificate entries.
    pub const CERTIFICATES: u16 = 9;
}

/// Start of every event. 24 bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct EventHeader {
    /// One of [`kind`].
    pub kind: u16,
    /// [`crate::ABI_VERSION`] of the BPF object.
    pub abi: u16,
    /// Bytes that count, header included; the ring buffer record may be longer.
    pub len: u32,
    /// `bpf_ktime_get_ns`: CLOCK_MONOTONIC, nanoseconds.
    pub time: u64,
    /// Socket cookie (`SO_COOKIE`), unique until reboot.
    pub cookie: u64,
}

/// Addresses and ports of a socket. 36 bytes.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Tuple {
    /// Local address, network order, IPv4 as `::ffff:a.b.c.d`.
    pub local_addr: [u8; 16],
    /// Peer address in the same form.
    pub peer_addr: [u8; 16],
    /// Local port, host order.
    pub local_port: u16,
    /// Peer port, host order.
    pub peer_port: u16,
}

/// A task as the kernel names it. 24 bytes.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Task {
    /// Thread group id in the initial pid namespace; 0 when not known.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// `comm`, zero-terminated unless 16 bytes long.
    pub comm: [u8; 16],
}

/// A connection or a listener came into being, or into view.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct OpenEvent {
    /// Kind CONNECT, ACCEPT, LISTEN or SEEN.
    pub header: EventHeader,
    /// Cookie of the listener that accepted it; 0 when not known.
    pub listener: u64,
    /// Ends.
    pub tuple: Tuple,
    /// Who called `connect` or `listen`.
    pub task: Task,
    /// ACCEPT: sequence number of the first byte sent.
    pub egress_start: u32,
    /// ACCEPT: sequence number of the first byte received.
    pub ingress_start: u32,
    /// Zero.
    pub reserved: u32,
}

/// An active open got its SYN-ACK.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct EstablishedEvent {
    /// Kind ESTABLISHED.
    pub header: EventHeader,
    /// Sequence number of the first byte sent.
    pub egress_start: u32,
    /// Sequence number of the first byte received.
    pub ingress_start: u32,
}

/// [`DataEvent::direction`]: sent by the socket.
pub const EGRESS: u32 = 0;
/// [`DataEvent::direction`]: received by the socket.
pub const INGRESS: u32 = 1;

/// Payload. `cap_len` bytes follow this struct; they are the first of `wire_len`, the others are never sent.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct DataEvent {
    /// Kind DATA.
    pub header: EventHeader,
    /// Sequence number of the first byte.
    pub seq: u32,
    /// Bytes on the wire that this event stands for.
    pub wire_len: u32,
    /// Bytes that follow.
    pub cap_len: u32,
    /// [`EGRESS`] or [`INGRESS`].
    pub direction: u32,
}

/// [`CloseEvent::flags`]: `bytes_egress` and `bytes_ingress` are set.
pub const CLOSE_HAS_BYTES: u8 = 1;

/// A connection is over.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CloseEvent {
    /// Kind CLOSE.
    pub header: EventHeader,
    /// Payload bytes sent and acknowledged.
    pub bytes_egress: u64,
    /// Payload bytes received in order.
    pub bytes_ingress: u64,
    /// TCP state it was in before ([`tcp_state`]).
    pub old_state: u8,
    /// Bits of `CLOSE_*`.
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

/// Who owns an accepted connection.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct OwnerEvent {
    /// Kind OWNER.
    pub header: EventHeader,
    /// The task that read from it first.
    pub task: Task,
}

/// Values of [`CertificatesEvent::library`].
pub mod library {
    /// OpenSSL's libssl, shared or linked into an executable.
    pub const OPENSSL: u8 = 1;
    /// GnuTLS.
    pub const GNUTLS: u8 = 2;
    /// Go's crypto/tls.
    pub const GO: u8 = 3;
}

/// Values of [`CertificatesEvent::peer`].
pub mod peer {
    /// The probe does not tell.
    pub const UNKNOWN: u8 = 0;
    /// A client parsed the server's certificates.
    pub const SERVER: u8 = 1;
    /// A server parsed the client's certificates.
    pub const CLIENT: u8 = 2;
}

/// [`CertificatesEvent::flags`]: `client_random` is set.
pub const CERTIFICATES_HAVE_RANDOM: u16 = 1;
/// [`CertificatesEvent::flags`]: each entry has its extensions behind it, as in a TLS 1.3 Certificate message.
pub const CERTIFICATES_HAVE_EXTENSIONS: u16 = 2;
/// [`CertificatesEvent::flags`]: entries, or the end of one, did not fit.
pub const CERTIFICATES_CUT: u16 = 4;

/// Longest certificate list that one CERTIFICATES event carries, in bytes.
pub const MAX_CERTIFICATES: u32 = 32 * 1024;

/// A TLS library parses certificates of its peer. `cap_len` bytes follow: entries as in `certificate_list` of RFC 8446
/// section 4.4.2, leaf first: a 24-bit length and the DER certificate, then, with [`CERTIFICATES_HAVE_EXTENSIONS`], a
/// 16-bit length and the extensions. 112 bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CertificatesEvent {
    /// Kind CERTIFICATES; the cookie is that of the connection that the task read from last, 0 when not known or where a
    /// task says nothing (goroutines).
    pub header: EventHeader,
    /// Who parses.
    pub task: Task,
    /// Cookie of the other connection that the task read from before that; 0 when there was none, or it is not known.
    pub earlier: u64,
    /// When it last read from that one, CLOCK_MONOTONIC in nanoseconds.
    pub earlier_time: u64,
    /// `ClientHello.random` of the handshake, where the library hands it to the probe.
    pub client_random: [u8; 32],
    /// Length of `certificate_list` on the wire in bytes; 0 when not known.
    pub list_len: u32,
    /// Bytes that follow.
    pub cap_len: u32,
    /// One of [`library`].
    pub library: u8,
    /// One of [`peer`].
    pub peer: u8,
    /// Bits of `CERTIFICATES_*`.
    pub flags: u16,
    /// Zero.
    pub reserved: u32,
}

/// TCP states as in `include/net/tcp_states.h` (a stable ABI: `/proc/net/tcp` and `sock_diag` show them).
pub mod tcp_state {
    /// TCP_ESTABLISHED
    pub const ESTABLISHED: u8 = 1;
    /// TCP_SYN_SENT
    pub const SYN_SENT: u8 = 2;
    /// TCP_SYN_RECV
    pub const SYN_RECV: u8 = 3;
    /// TCP_FIN_WAIT1
    pub const FIN_WAIT1: u8 = 4;
    /// TCP_FIN_WAIT2
    pub const FIN_WAIT2: u8 = 5;
    /// TCP_TIME_WAIT
    pub const TIME_WAIT: u8 = 6;
    /// TCP_CLOSE
    pub const CLOSE: u8 = 7;
    /// TCP_CLOSE_WAIT
    pub const CLOSE_WAIT: u8 = 8;
    /// TCP_LAST_ACK
    pub const LAST_ACK: u8 = 9;
    /// TCP_LISTEN
    pub const LISTEN: u8 = 10;
    /// TCP_CLOSING
    pub const CLOSING: u8 = 11;
}

const _: () = {
    assert!(size_of::<EventHeader>() == 24);
    assert!(offset_of!(EventHeader, len) == 4);
    assert!(offset_of!(EventHeader, time) == 8);
    assert!(offset_of!(EventHeader, cookie) == 16);
    assert!(size_of::<Tuple>() == 36);
    assert!(offset_of!(Tuple, peer_addr) == 16);
    assert!(offset_of!(Tuple, local_port) == 32);
    assert!(size_of::<Task>() == 24);
    assert!(size_of::<OpenEvent>() == 104);
    assert!(offset_of!(OpenEvent, listener) == 24);
    assert!(offset_of!(OpenEvent, tuple) == 32);
    assert!(offset_of!(OpenEvent, task) == 68);
    assert!(offset_of!(OpenEvent, egress_start) == 92);
    assert!(size_of::<EstablishedEvent>() == 32);
    assert!(size_of::<DataEvent>() == 40);
    assert!(offset_of!(DataEvent, seq) == 24);
    assert!(offset_of!(DataEvent, cap_len) == 32);
    assert!(offset_of!(DataEvent, direction) == 36);
    assert!(size_of::<CloseEvent>() == 48);
    assert!(offset_of!(CloseEvent, old_state) == 40);
    assert!(size_of::<OwnerEvent>() == 48);
    assert!(size_of::<CertificatesEvent>() == 112);
    assert!(offset_of!(CertificatesEvent, client_random) == 64);
    assert!(offset_of!(CertificatesEvent, list_len) == 96);
    assert!(offset_of!(CertificatesEvent, library) == 104);
    assert!(offset_of!(CertificatesEvent, flags) == 106);
};
