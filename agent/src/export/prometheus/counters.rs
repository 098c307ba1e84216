//! What the counters of all layers mean to whoever looks at metrics. Each name stands here; a test walks all that there are.

/// The metric that a counter becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Events were lost at this place.
    Lost(&'static str),
    /// A bound was reached: something was left out, cut or forgotten.
    Dropped,
    /// It goes up and down.
    Gauge,
    /// It counts what happens.
    Counter,
}

use Class::{Counter, Dropped, Gauge, Lost};

/// Events that did not fit between kernel and agent.
const RING: Class = Lost("kernel_ring_buffer");

/// By name. Those of the engine come with or without `engine.` in front.
const TABLE: &[(&str, Class)] = &[
    ("kernel.lifecycle_events_lost", RING),
    ("kernel.data_events_lost", RING),
    ("kernel.certificates_lost", RING),
    ("kernel.certificates_lost_busy", Lost("kernel_probe_busy")),
    ("kernel.connection_table_full", Dropped),
    ("kernel.plaintext_bytes_cut", Dropped),
    ("kernel.clear_tls_bytes_cut", Dropped),
    ("kernel.encrypted_records_cut", Dropped),
    ("kernel.raw_bytes_cut", Dropped),
    ("kernel.records_per_packet_cut", Dropped),
    ("kernel.certificates_cut", Dropped),
    ("kernel.segments_out_of_order", Counter),
    ("kernel.segments_retransmitted", Counter),
    ("kernel.packets_unreadable", Counter),
    ("kernel.events_not_understood", Lost("decoding")),
    ("kernel.probe_hits_openssl", Counter),
    ("kernel.probe_hits_gnutls", Counter),
    ("kernel.probe_hits_go", Counter),
    ("kernel.probe_hits_go_random", Counter),
    ("kernel.certificates_openssl", Counter),
    ("kernel.certificates_gnutls", Counter),
    ("kernel.certificates_go", Counter),
    ("kernel.probe_hits_without_message", Counter),
    ("kernel.probe_memory_unreadable", Counter),
    ("opened", Counter),
    ("opened_twice", Counter),
    ("closed", Counter),
    ("never_established", Counter),
    ("connections_refused", Dropped),
    ("events_of_unknown_connections", Counter),
    ("segments", Counter),
    ("segments_after_verdict", Counter),
    ("buffered_bytes", Gauge),
    ("gaps_forced_by_total_buffer", Dropped),
    ("midstream_given_up", Dropped),
    ("messages_forced_by_total_buffer", Dropped),
    ("recognitions_given_up_by_total_buffer", Dropped),
    ("encrypted_record_limits", Dropped),
    ("offered_values_cut", Dropped),
    ("sessions_stored", Counter),
    ("sessions_too_long", Dropped),
    ("sessions_found", Counter),
    ("sessions_missed", Counter),
    ("sessions_evicted", Dropped),
    ("deadlines_postponed", Counter),
    ("reassembly.out_of_order_segments", Counter),
    ("reassembly.retransmitted_segments", Counter),
    ("reassembly.retransmitted_bytes", Counter),
    ("reassembly.far_off_segments", Dropped),
    ("reassembly.lost_gaps", Counter),
    ("reassembly.lost_bytes", Counter),
    ("reassembly.gaps_forced_by_full_buffer", Dropped),
    ("reassembly.elided_bytes", Counter),
    ("recognize.prefix_cut_bytes", Dropped),
    ("recognize.upgrade_given_up", Dropped),
    ("recognize.held_cut_bytes", Dropped),
    ("recognize.runs_cut", Dropped),
    ("recognize.lines_cut", Dropped),
    ("tls.records", Counter),
    ("tls.handshake_messages", Counter),
    ("tls.oversized_messages", Dropped),
    ("tls.lost_messages", Counter),
    ("tls.gaps", Counter),
    ("certificates.hits", Counter),
    ("certificates.misses", Counter),
    ("certificates.evicted", Dropped),
    ("certificates.malformed", Counter),
    ("certificates.cut", Dropped),
    ("certificates.not_kept", Dropped),
    ("certificates.responses_not_kept", Dropped),
    ("certificates.held_bytes", Gauge),
    ("association.chains", Counter),
    ("association.empty", Counter),
    ("association.cut", Dropped),
    ("association.malformed", Counter),
    ("association.tied_by_client_random", Counter),
    ("association.tied_by_last_read", Counter),
    ("association.tied_by_length", Counter),
    ("association.shared", Counter),
    ("association.repeated", Counter),
    ("association.older_versions", Counter),
    ("association.hints_contradicted", Counter),
    ("association.replaced", Counter),
    ("association.no_connection", Counter),
    ("association.several_connections", Counter),
    ("association.pending_evicted", Dropped),
    ("association.candidates_cut", Dropped),
    ("association.handshakes_not_indexed", Dropped),
    ("association.randoms_cut", Dropped),
    ("association.evidence_dropped", Dropped),
    ("probe.files_probed", Gauge),
    ("probe.points_attached", Gauge),
    ("probe.files_in_use", Gauge),
    ("probe.processes", Gauge),
    ("probe.files_inspected", Counter),
    ("probe.files_attached", Counter),
    ("probe.files_detached", Counter),
    ("probe.files_changed", Counter),
    ("probe.files_unreadable", Counter),
    ("probe.files_too_large_to_inspect", Dropped),
    ("probe.files_unopenable", Counter),
    ("probe.attach_refused", Counter),
    ("probe.attach_not_loaded", Counter),
    ("probe.files_probed_over_bound", Dropped),
    ("probe.files_over_bound", Dropped),
    ("probe.processes_over_bound", Dropped),
    ("probe.processes_over_files_bound", Dropped),
    ("probe.events", Counter),
    ("probe.events_lost", Lost("process_events")),
    ("probe.rescans", Counter),
    ("probe.names_sought", Counter),
    ("probe.names_over_bound", Dropped),
    ("enrich.ends", Counter),
    ("enrich.ends_refused", Dropped),
    ("enrich.process_hits", Counter),
    ("enrich.process_rechecks", Counter),
    ("enrich.process_reads", Counter),
    ("enrich.processes_gone", Counter),
    ("enrich.process_ids_reused", Counter),
    ("enrich.executable_names_evicted", Dropped),
    ("enrich.arguments_read", Counter),
    ("enrich.arguments_dropped", Dropped),
    ("enrich.pairs_found", Counter),
    ("enrich.pairs_translated", Counter),
    ("enrich.pairs_ambiguous", Counter),
    ("enrich.pods_by_group_found", Counter),
    ("enrich.pods_by_group_missed", Counter),
    ("enrich.pods_by_address_found", Counter),
    ("enrich.pods_by_address_missed", Counter),
    ("enrich.pods_by_address_ambiguous", Counter),
    ("enrich.services_found", Counter),
    ("enrich.services_missed", Counter),
    ("enrich.workloads_behind_services", Counter),
    ("enrich.conntrack_asked", Counter),
    ("enrich.conntrack_translated", Counter),
    ("enrich.conntrack_missed", Counter),
    ("enrich.conntrack_failed", Counter),
    ("enrich.conntrack_idle", Counter),
    ("enrich.conntrack_dropped", Dropped),
    ("enrich.conntrack_late", Counter),
    ("enrich.pair_candidates_dropped", Dropped),
    ("enrich.kubernetes.changes", Counter),
    ("enrich.kubernetes.errors", Counter),
    ("enrich.kubernetes.forbidden", Counter),
    ("enrich.kubernetes.lists", Counter),
    ("enrich.kubernetes.unreadable", Counter),
    ("enrich.kubernetes.gone_pods_dropped", Dropped),
    ("enrich.kubernetes.backends_not_compared", Dropped),
    ("enrich.kubernetes.pods", Gauge),
    ("enrich.kubernetes.services", Gauge),
    ("enrich.kubernetes.nodes", Gauge),
    ("enrich.kubernetes.controllers", Gauge),
    ("enrich.kubernetes.pods_gone", Gauge),
    ("enrich.kubernetes.controllers_gone", Gauge),
    ("policy.kubernetes.resources", Gauge),
    ("policy.kubernetes.invalid", Gauge),
    ("policy.kubernetes.left_out", Dropped),
    ("policy.kubernetes.sets", Counter),
    ("policy.rules", Gauge),
    ("policy.connections_expected", Counter),
    ("policy.connections_in_doubt", Counter),
    ("sightings.superseded", Counter),
    ("sightings.settled_early", Counter),
    ("findings.sightings", Counter),
    ("findings.process_certificates", Counter),
    ("findings.standing", Gauge),
    ("findings.raised", Counter),
    ("findings.cleared", Counter),
    ("findings.refused", Dropped),
    ("findings.displaced", Dropped),
    ("findings.connections_evicted", Dropped),
    ("findings.services_evicted", Dropped),
    ("findings.responses_evicted", Dropped),
    ("findings.certificates_replaced", Counter),
    ("findings.places_evicted", Dropped),
    ("findings.names_evicted", Dropped),
    ("trust.chains_known", Counter),
    ("trust.chains_verified", Counter),
    ("trust.chains_evicted", Dropped),
    ("trust.unknown_bundles", Counter),
    ("rego.packages", Gauge),
    ("rego.evaluations", Counter),
    ("rego.unchanged", Counter),
    ("rego.failed", Counter),
    ("rego.timed_out", Dropped),
    ("rego.skipped", Dropped),
    ("rego.bad_findings", Counter),
    ("rego.findings_over_bound", Dropped),
    ("rego.ids_over_bound", Dropped),
    ("rego.without_subject", Counter),
    ("rego.cut", Dropped),
    ("rego.connections_evicted", Dropped),
    ("audit.connections", Counter),
    ("audit.left_to_server", Counter),
    ("audit.connections_evicted", Dropped),
    ("audit.lines_written", Counter),
    ("audit.lines_dropped", Lost("audit_log")),
    ("audit.write_errors", Counter),
    ("audit.rotations", Counter),
    ("audit.rotation_errors", Counter),
    ("audit.reopened", Counter),
    ("otlp.spans_dropped_queue", Dropped),
    ("otlp.spans_failed", Lost("otlp_spans")),
    ("otlp.spans_rejected", Lost("otlp_spans")),
    ("otlp.spans_dropped_shutdown", Lost("otlp_spans")),
    ("otlp.spans_exported", Counter),
    ("otlp.logs_dropped_queue", Dropped),
    ("otlp.logs_failed", Lost("otlp_logs")),
    ("otlp.logs_rejected", Lost("otlp_logs")),
    ("otlp.logs_dropped_shutdown", Lost("otlp_logs")),
    ("otlp.logs_exported", Counter),
    ("otlp.spans_sampled_out", Counter),
    ("otlp.spans_not_held", Dropped),
    ("otlp.spans_late", Counter),
    ("otlp.span_requests", Counter),
    ("otlp.log_requests", Counter),
    ("otlp.own_connections_left_out", Counter),
    ("otlp.connections_evicted", Dropped),
    ("otlp.attributes_dropped", Dropped),
    ("otlp.metric_requests", Counter),
    ("otlp.metric_requests_failed", Counter),
    ("otlp.tls_reload_errors", Counter),
    ("reload.done", Counter),
    ("reload.failed", Counter),
    ("endpoint.requests", Counter),
    ("endpoint.unauthorized", Counter),
    ("endpoint.connections_refused", Dropped),
    ("endpoint.tls_handshakes_failed", Counter),
];

/// Names of which there are as many as there are libraries or packages.
const PREFIXES: &[(&str, Class)] = &[("probe.unprobed.", Counter), ("rego.failed.", Counter)];

/// How names of bounds end.
const BOUND_SUFFIXES: &[&str] =
    &["_dropped", "_evicted", "_over_bound", "_refused", "_cut", "_full", "_limited"];

/// What a counter of this name stands for, and its name in full.
pub(super) fn classify(name: &str) -> (Class, String) {
    let bare = name.strip_prefix("engine.").unwrap_or(name);
    let (class, is_engine) = match known(bare) {
        Some((class, at)) => (class, is_of_engine(at)),
        None => (guess(bare), bare != name),
    };
    (class, if is_engine { format!("engine.{bare}") } else { bare.to_owned() })
}

/// The class of a name that stands here, and where.
fn known(name: &str) -> Option<(Class, &'static str)> {
    let exact = TABLE.iter().find(|(known, _)| *known == name);
    let found = exact.or_else(|| PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)))?;
    Some((found.1, found.0))
}

/// Names of other layers have the layer in front.
fn is_of_engine(name: &str) -> bool {
    const ENGINE: [&str; 5] = ["reassembly.", "recognize.", "tls.", "certificates.", "association."];
    !name.contains('.') || ENGINE.iter().any(|layer| name.starts_with(layer))
}

/// A name that came with a newer part of the agent. A gauge promises nothing.
fn guess(name: &str) -> Class {
    if name.ends_with("_lost") {
        Lost("elsewhere")
    } else if BOUND_SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
        Dropped
    } else {
        Gauge
    }
}

/// All counters whose names are known, by their names in full.
#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = (String, Class)> {
    TABLE.iter().map(|(name, class)| (classify(name).1, *class))
}

#[cfg(test)]
mod tests;
