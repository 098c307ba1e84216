//! Reading events out of bytes, without `unsafe` and without trust.

use crate::{
    ABI_VERSION, CertificatesEvent, CloseEvent, DataEvent, EstablishedEvent, EventHeader, OpenEvent,
    OwnerEvent, Task, Tuple, kind,
};

/// An event, checked and copied out of the ring buffer.
#[derive(Clone, Copy)]
pub enum KernelEvent<'a> {
    /// CONNECT, ACCEPT, LISTEN or SEEN; see the header's kind.
    Open(OpenEvent),
    /// ESTABLISHED.
    Established(EstablishedEvent),
    /// DATA and its payload.
    Data(DataEvent, &'a [u8]),
    /// CLOSE.
    Close(CloseEvent),
    /// OWNER.
    Owner(OwnerEvent),
    /// CERTIFICATES and their entries.
    Certificates(CertificatesEvent, &'a [u8]),
}

impl KernelEvent<'_> {
    /// What every event starts with.
    pub const fn header(&self) -> &EventHeader {
        match self {
            KernelEvent::Open(e) => &e.header,
            KernelEvent::Established(e) => &e.header,
            KernelEvent::Data(e, _) => &e.header,
            KernelEvent::Close(e) => &e.header,
            KernelEvent::Owner(e) => &e.header,
            KernelEvent::Certificates(e, _) => &e.header,
        }
    }
}

/// Why bytes from the ring buffer are not an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// Fewer bytes than the event needs.
    Truncated,
    /// Another [`ABI_VERSION`].
    Abi(u16),
    /// No such kind.
    Kind(u16),
}

impl ReadError {
    /// The error without its payload, in snake case.
    pub const fn reason(self) -> &'static str {
        match self {
            ReadError::Truncated => "truncated",
            ReadError::Abi(_) => "abi_version",
            ReadError::Kind(_) => "kind",
        }
    }
}

impl core::fmt::Display for ReadError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            ReadError::Truncated => f.write_str("event is shorter than its kind needs"),
            ReadError::Abi(v) => write!(f, "event of ABI version {v}, expected {ABI_VERSION}"),
            ReadError::Kind(k) => write!(f, "event of unknown kind {k}"),
        }
    }
}

impl core::error::Error for ReadError {}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], ReadError> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(ReadError::Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        self.take(N)?.try_into().map_err(|_| ReadError::Truncated)
    }

    fn u8(&mut self) -> Result<u8, ReadError> {
        self.array().map(u8::from_ne_bytes)
    }

    fn u16(&mut self) -> Result<u16, ReadError> {
        self.array().map(u16::from_ne_bytes)
    }

    fn u32(&mut self) -> Result<u32, ReadError> {
        self.array().map(u32::from_ne_bytes)
    }

    fn u64(&mut self) -> Result<u64, ReadError> {
        self.array().map(u64::from_ne_bytes)
    }

    fn task(&mut self) -> Result<Task, ReadError> {
        Ok(Task { pid: self.u32()?, tid: self.u32()?, comm: self.array()? })
    }

    fn tuple(&mut self) -> Result<Tuple, ReadError> {
        Ok(Tuple {
            local_addr: self.array()?,
            peer_addr: self.array()?,
            local_port: self.u16()?,
            peer_port: self.u16()?,
        })
    }
}

/// Reads one event.
///
/// # Errors
/// [`ReadError`] when the bytes are not an event of this ABI version.
pub fn read(bytes: &[u8]) -> Result<KernelEvent<'_>, ReadError> {
    let mut r = Reader(bytes);
    let header =
        EventHeader { kind: r.u16()?, abi: r.u16()?, len: r.u32()?, time: r.u64()?, cookie: r.u64()? };
    if header.abi != ABI_VERSION {
        return Err(ReadError::Abi(header.abi));
    }
    Ok(match header.kind {
        kind::CONNECT | kind::ACCEPT | kind::LISTEN | kind::SEEN => KernelEvent::Open(OpenEvent {
            header,
            listener: r.u64()?,
            tuple: r.tuple()?,
            task: r.task()?,
            egress_start: r.u32()?,
            ingress_start: r.u32()?,
            reserved: 0,
        }),
        kind::ESTABLISHED => KernelEvent::Established(EstablishedEvent {
            header,
            egress_start: r.u32()?,
            ingress_start: r.u32()?,
        }),
        kind::DATA => {
            let event = DataEvent {
                header,
                seq: r.u32()?,
                wire_len: r.u32()?,
                cap_len: r.u32()?,
                direction: r.u32()?,
            };
            let len = usize::try_from(event.cap_len).map_err(|_| ReadError::Truncated)?;
            KernelEvent::Data(event, r.take(len)?)
        }
        kind::CLOSE => KernelEvent::Close(CloseEvent {
            header,
            bytes_egress: r.u64()?,
            bytes_ingress: r.u64()?,
            old_state: r.u8()?,
            flags: r.u8()?,
            reserved: [0; 6],
        }),
        kind::OWNER => KernelEvent::Owner(OwnerEvent { header, task: r.task()? }),
        kind::CERTIFICATES => {
            let event = CertificatesEvent {
                header,
                task: r.task()?,
                earlier: r.u64()?,
                earlier_time: r.u64()?,
                client_random: r.array()?,
                list_len: r.u32()?,
                cap_len: r.u32()?,
                library: r.u8()?,
                peer: r.u8()?,
                flags: r.u16()?,
                reserved: r.u32()?,
            };
            let len = usize::try_from(event.cap_len).map_err(|_| ReadError::Truncated)?;
            KernelEvent::Certificates(event, r.take(len)?)
        }
        other => return Err(ReadError::Kind(other)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_event(cap_len: u32, payload: &[u8]) -> ([u8; 128], usize) {
        let mut b = [0u8; 128];
        b[..2].copy_from_slice(&kind::DATA.to_ne_bytes());
        b[2..4].copy_from_slice(&ABI_VERSION.to_ne_bytes());
        b[8..16].copy_from_slice(&7u64.to_ne_bytes());
        b[16..24].copy_from_slice(&9u64.to_ne_bytes());
        b[24..28].copy_from_slice(&100u32.to_ne_bytes());
        b[28..32].copy_from_slice(&50u32.to_ne_bytes());
        b[32..36].copy_from_slice(&cap_len.to_ne_bytes());
        b[36..40].copy_from_slice(&crate::INGRESS.to_ne_bytes());
        b[40..40 + payload.len()].copy_from_slice(payload);
        (b, 40 + payload.len())
    }

    #[test]
    fn reads_a_data_event_with_its_payload() {
        let (b, n) = data_event(3, b"abc");
        let Ok(KernelEvent::Data(e, payload)) = read(&b[..n]) else { panic!("not data") };
        assert_eq!((e.seq, e.wire_len, e.cap_len, e.direction), (100, 50, 3, crate::INGRESS));
        assert_eq!((e.header.time, e.header.cookie, payload), (7, 9, &b"abc"[..]));
    }

    #[test]
    fn rejects_every_truncation() {
        let (b, n) = data_event(3, b"abc");
        for len in 0..n {
            assert!(matches!(read(&b[..len]), Err(ReadError::Truncated)), "{len}");
        }
    }

    #[test]
    fn rejects_another_abi_version_and_unknown_kinds() {
        let (mut b, n) = data_event(0, b"");
        b[2] ^= 0x40;
        assert!(matches!(read(&b[..n]), Err(ReadError::Abi(_))));
        let (mut b, n) = data_event(0, b"");
        b[0] = 99;
        assert!(matches!(read(&b[..n]), Err(ReadError::Kind(_))));
    }
}
