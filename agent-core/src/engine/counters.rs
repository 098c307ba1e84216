//! One counter per thing that can happen, one per thing that can be dropped.

use crate::reassembly::ReassemblyCounters;
use crate::recognize::RecognizeCounters;
use crate::tls::TlsCounters;
use crate::x509::CertificateCounters;

/// What the engine saw, dropped and gave up since it started. All but `buffered_bytes` only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connection ends that came into view.
    pub opened: u64,
    /// Connection ends that came into view a second time; the second time only adds what was not known.
    pub opened_twice: u64,
    /// Connection ends that are over.
    pub closed: u64,
    /// Of those: never established, so that nothing is said about them.
    pub never_established: u64,
    /// Connection ends not tracked because [`max_connections`](super::EngineConfig::max_connections) were.
    pub connections_refused: u64,
    /// Events of connections that are not tracked: refused ones, or their opening was lost.
    pub events_of_unknown_connections: u64,
    /// Segments with payload handed in.
    pub segments: u64,
    /// Of those: ignored because the verdict was known.
    pub segments_after_verdict: u64,
    /// Bytes held now because bytes in front of them are missing.
    pub buffered_bytes: usize,
    /// Gaps given up early because [`max_buffered_bytes`](super::EngineConfig::max_buffered_bytes) were held.
    pub gaps_forced_by_total_buffer: u64,
    /// Connections older than the source whose first
    /// [`max_midstream_segments`](super::EngineConfig::max_midstream_segments) segments proved nothing.
    pub midstream_given_up: u64,
    /// TLS connections whose verdict had to do without all facts after
    /// [`max_encrypted_records`](super::EngineConfig::max_encrypted_records).
    pub encrypted_record_limits: u64,
    /// TLS <= 1.2 sessions remembered.
    pub sessions_stored: u64,
    /// TLS <= 1.2 sessions resumed whose beginning was remembered.
    pub sessions_found: u64,
    /// TLS <= 1.2 sessions resumed whose beginning was not.
    pub sessions_missed: u64,
    /// TLS <= 1.2 sessions forgotten to make room.
    pub sessions_evicted: u64,
    /// Deadlines that were due but could not be met at once. Always zero unless there is a mistake in the engine.
    pub deadlines_postponed: u64,
    /// Stream reassembly.
    pub reassembly: ReassemblyCounters,
    /// Protocol recognition.
    pub recognize: RecognizeCounters,
    /// TLS records and messages.
    pub tls: TlsCounters,
    /// Certificates.
    pub certificates: CertificateCounters,
}
