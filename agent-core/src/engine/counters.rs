//! One counter per thing that can happen, one per thing that can be dropped.

pub use crate::associate::AssociationCounters;
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
    /// Bytes held now: because bytes in front of them are missing, because it is not known yet what they are, or of handshake
    /// messages that are not whole yet.
    pub buffered_bytes: usize,
    /// Gaps given up early because [`max_buffered_bytes`](super::EngineConfig::max_buffered_bytes) were held.
    pub gaps_forced_by_total_buffer: u64,
    /// Connections older than the source whose first
    /// [`max_midstream_segments`](super::EngineConfig::max_midstream_segments) segments proved nothing.
    pub midstream_given_up: u64,
    /// Handshake messages given up before they were whole because
    /// [`max_buffered_bytes`](super::EngineConfig::max_buffered_bytes) were held, or half of it and theirs were long.
    pub messages_forced_by_total_buffer: u64,
    /// Connections of which it was not known yet what they carry, and that were not looked at any more for the same reason.
    pub recognitions_given_up_by_total_buffer: u64,
    /// TLS connections whose verdict had to do without all facts after
    /// [`max_encrypted_records`](super::EngineConfig::max_encrypted_records).
    pub encrypted_record_limits: u64,
    /// Values that ClientHellos offered beyond those that are kept: cipher suites, groups, versions, protocols.
    pub offered_values_cut: u64,
    /// TLS <= 1.2 sessions remembered.
    pub sessions_stored: u64,
    /// TLS <= 1.2 sessions not remembered because their certificates are longer than any in use.
    pub sessions_too_long: u64,
    /// TLS <= 1.2 sessions resumed whose beginning was remembered.
    pub sessions_found: u64,
    /// TLS <= 1.2 sessions resumed whose beginning was not.
    pub sessions_missed: u64,
    /// TLS <= 1.2 sessions, and certificates of some, forgotten to make room.
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
    /// Certificates that probes handed over.
    pub association: AssociationCounters,
}

impl Counters {
    /// Every counter with its name, those of a layer behind the layer's name.
    pub fn named(&self) -> Vec<(&'static str, u64)> {
        // Taken apart whole, so that a new counter cannot be left out.
        let Self {
            opened,
            opened_twice,
            closed,
            never_established,
            connections_refused,
            events_of_unknown_connections,
            segments,
            segments_after_verdict,
            buffered_bytes,
            gaps_forced_by_total_buffer,
            midstream_given_up,
            messages_forced_by_total_buffer,
            recognitions_given_up_by_total_buffer,
            encrypted_record_limits,
            offered_values_cut,
            sessions_stored,
            sessions_too_long,
            sessions_found,
            sessions_missed,
            sessions_evicted,
            deadlines_postponed,
            reassembly:
                ReassemblyCounters {
                    out_of_order_segments: reassembly_out_of_order_segments,
                    retransmitted_segments: reassembly_retransmitted_segments,
                    retransmitted_bytes: reassembly_retransmitted_bytes,
                    far_off_segments: reassembly_far_off_segments,
                    lost_gaps: reassembly_lost_gaps,
                    lost_bytes: reassembly_lost_bytes,
                    gaps_forced_by_full_buffer: reassembly_gaps_forced_by_full_buffer,
                    elided_bytes: reassembly_elided_bytes,
                },
            recognize:
                RecognizeCounters {
                    prefix_cut_bytes: recognize_prefix_cut_bytes,
                    upgrade_given_up: recognize_upgrade_given_up,
                    held_cut_bytes: recognize_held_cut_bytes,
                    runs_cut: recognize_runs_cut,
                    lines_cut: recognize_lines_cut,
                },
            tls:
                TlsCounters {
                    records: tls_records,
                    handshake_messages: tls_handshake_messages,
                    oversized_messages: tls_oversized_messages,
                    lost_messages: tls_lost_messages,
                    gaps: tls_gaps,
                },
            certificates:
                CertificateCounters {
                    hits: certificates_hits,
                    misses: certificates_misses,
                    evicted: certificates_evicted,
                    malformed: certificates_malformed,
                    cut: certificates_cut,
                    not_kept: certificates_not_kept,
                    responses_not_kept: certificates_responses_not_kept,
                    held_bytes: certificates_held_bytes,
                },
            association:
                AssociationCounters {
                    chains: association_chains,
                    empty: association_empty,
                    cut: association_cut,
                    malformed: association_malformed,
                    tied_by_client_random: association_tied_by_client_random,
                    tied_by_last_read: association_tied_by_last_read,
                    tied_by_length: association_tied_by_length,
                    shared: association_shared,
                    repeated: association_repeated,
                    older_versions: association_older_versions,
                    hints_contradicted: association_hints_contradicted,
                    replaced: association_replaced,
                    no_connection: association_no_connection,
                    several_connections: association_several_connections,
                    pending_evicted: association_pending_evicted,
                    candidates_cut: association_candidates_cut,
                    handshakes_not_indexed: association_handshakes_not_indexed,
                    randoms_cut: association_randoms_cut,
                    evidence_dropped: association_evidence_dropped,
                },
        } = self;
        vec![
            ("opened", *opened),
            ("opened_twice", *opened_twice),
            ("closed", *closed),
            ("never_established", *never_established),
            ("connections_refused", *connections_refused),
            ("events_of_unknown_connections", *events_of_unknown_connections),
            ("segments", *segments),
            ("segments_after_verdict", *segments_after_verdict),
            ("buffered_bytes", u64::try_from(*buffered_bytes).unwrap_or(u64::MAX)),
            ("gaps_forced_by_total_buffer", *gaps_forced_by_total_buffer),
            ("midstream_given_up", *midstream_given_up),
            ("messages_forced_by_total_buffer", *messages_forced_by_total_buffer),
            ("recognitions_given_up_by_total_buffer", *recognitions_given_up_by_total_buffer),
            ("encrypted_record_limits", *encrypted_record_limits),
            ("offered_values_cut", *offered_values_cut),
            ("sessions_stored", *sessions_stored),
            ("sessions_too_long", *sessions_too_long),
            ("sessions_found", *sessions_found),
            ("sessions_missed", *sessions_missed),
            ("sessions_evicted", *sessions_evicted),
            ("deadlines_postponed", *deadlines_postponed),
            ("reassembly.out_of_order_segments", *reassembly_out_of_order_segments),
            ("reassembly.retransmitted_segments", *reassembly_retransmitted_segments),
            ("reassembly.retransmitted_bytes", *reassembly_retransmitted_bytes),
            ("reassembly.far_off_segments", *reassembly_far_off_segments),
            ("reassembly.lost_gaps", *reassembly_lost_gaps),
            ("reassembly.lost_bytes", *reassembly_lost_bytes),
            ("reassembly.gaps_forced_by_full_buffer", *reassembly_gaps_forced_by_full_buffer),
            ("reassembly.elided_bytes", *reassembly_elided_bytes),
            ("recognize.prefix_cut_bytes", *recognize_prefix_cut_bytes),
            ("recognize.upgrade_given_up", *recognize_upgrade_given_up),
            ("recognize.held_cut_bytes", *recognize_held_cut_bytes),
            ("recognize.runs_cut", *recognize_runs_cut),
            ("recognize.lines_cut", *recognize_lines_cut),
            ("tls.records", *tls_records),
            ("tls.handshake_messages", *tls_handshake_messages),
            ("tls.oversized_messages", *tls_oversized_messages),
            ("tls.lost_messages", *tls_lost_messages),
            ("tls.gaps", *tls_gaps),
            ("certificates.hits", *certificates_hits),
            ("certificates.misses", *certificates_misses),
            ("certificates.evicted", *certificates_evicted),
            ("certificates.malformed", *certificates_malformed),
            ("certificates.cut", *certificates_cut),
            ("certificates.not_kept", *certificates_not_kept),
            ("certificates.responses_not_kept", *certificates_responses_not_kept),
            ("certificates.held_bytes", u64::try_from(*certificates_held_bytes).unwrap_or(u64::MAX)),
            ("association.chains", *association_chains),
            ("association.empty", *association_empty),
            ("association.cut", *association_cut),
            ("association.malformed", *association_malformed),
            ("association.tied_by_client_random", *association_tied_by_client_random),
            ("association.tied_by_last_read", *association_tied_by_last_read),
            ("association.tied_by_length", *association_tied_by_length),
            ("association.shared", *association_shared),
            ("association.repeated", *association_repeated),
            ("association.older_versions", *association_older_versions),
            ("association.hints_contradicted", *association_hints_contradicted),
            ("association.replaced", *association_replaced),
            ("association.no_connection", *association_no_connection),
            ("association.several_connections", *association_several_connections),
            ("association.pending_evicted", *association_pending_evicted),
            ("association.candidates_cut", *association_candidates_cut),
            ("association.handshakes_not_indexed", *association_handshakes_not_indexed),
            ("association.randoms_cut", *association_randoms_cut),
            ("association.evidence_dropped", *association_evidence_dropped),
        ]
    }
}
