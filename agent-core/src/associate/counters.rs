//! What became of the certificates that probes handed over.

/// What happened to certificates from probes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AssociationCounters {
    /// Chains that probes handed over.
    pub chains: u64,
    /// Of those: without a single certificate that could be read.
    pub empty: u64,
    /// Of those: entries, or the end of one, were missing, or there were more certificates than are looked at.
    pub cut: u64,
    /// Of those: not well-formed; what comes before the mistake is kept.
    pub malformed: u64,
    /// Tied by `ClientHello.random`.
    pub tied_by_client_random: u64,
    /// Tied to the connection that the thread read from last.
    pub tied_by_last_read: u64,
    /// Tied by their exact length.
    pub tied_by_length: u64,
    /// Other connections that observe the same handshake and got a chain with it.
    pub shared: u64,
    /// Parsed again by the same process for a connection that had them.
    pub repeated: u64,
    /// Of a connection of TLS 1.2 or before, whose certificates are on the wire.
    pub older_versions: u64,
    /// The connection that the thread read from last cannot be theirs.
    pub hints_contradicted: u64,
    /// Chains that took the place of one tied by weaker evidence.
    pub replaced: u64,
    /// Told of the process because no connection fits.
    pub no_connection: u64,
    /// Told of the process because several connections fit.
    pub several_connections: u64,
    /// Decided before their time because [`max_pending_certificates`](crate::engine::EngineConfig::max_pending_certificates)
    /// were waiting.
    pub pending_evicted: u64,
    /// Not compared with every connection that may fit, because those were more than
    /// [`max_certificate_candidates`](crate::engine::EngineConfig::max_certificate_candidates).
    pub candidates_cut: u64,
    /// Handshakes that can be found neither by random nor by length, because
    /// [`max_indexed_handshakes`](crate::engine::EngineConfig::max_indexed_handshakes) were.
    pub handshakes_not_indexed: u64,
    /// Connections with the same `ClientHello.random` as too many others to be found by it.
    pub randoms_cut: u64,
    /// What was kept of handshakes given up before its time because
    /// [`max_indexed_handshakes`](crate::engine::EngineConfig::max_indexed_handshakes) were ending.
    pub evidence_dropped: u64,
}
