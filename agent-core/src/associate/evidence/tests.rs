use super::*;

const SUITE: CipherSuite = CipherSuite::TLS_AES_256_GCM_SHA384;
const NOW: Timestamp = Timestamp(1000);

fn flight(lengths: &[u16]) -> Flight {
    let records = lengths.iter().map(|len| Sighting { len: *len, at: NOW });
    Flight::new(records, lengths.len() as u32, true)
}

fn evidence(client: &[u16], server: &[u16]) -> Evidence {
    Evidence {
        local: Side::Client,
        client_random: Some([1; 32]),
        server: Some(ServerEvidence { random: [2; 32], is_tls13: true, is_resumed: false, suite: SUITE }),
        compression: false,
        early_data: false,
        no_client_certificate: false,
        client: flight(client),
        server_flight: flight(server),
    }
}

fn list(len: u32) -> MessageLength {
    MessageLength::of_list(len)
}

/// Record length of the Certificate message with a list of that length.
fn record(list: u16) -> u16 {
    list + 8 + 1 + 16
}

#[test]
fn one_message_a_record_is_exact_or_impossible() {
    let flight = [23, record(827), 97, 69];
    let asked = [23, 60, record(827), 97, 69];
    for flight in [&flight[..], &asked] {
        let e = evidence(&[], flight);
        assert_eq!(e.fit(Side::Server, list(827), NOW), Fit::Exact);
        for other in [826, 828, 100, 5000] {
            assert_eq!(e.fit(Side::Server, list(other), NOW), Fit::Impossible, "{other}");
        }
    }
    let e = evidence(&[record(379), 97, 69], &flight);
    assert_eq!(e.fit(Side::Client, list(379), NOW), Fit::Exact);
    assert_eq!(e.fit(Side::Client, list(378), NOW), Fit::Impossible);
}

#[test]
fn only_the_place_of_a_certificate_counts() {
    // EncryptedExtensions, or application data behind Finished, of that length.
    let e = evidence(&[], &[record(800), record(827), 97, 69, record(900)]);
    assert_eq!(e.fit(Side::Server, list(800), NOW), Fit::Impossible);
    assert_eq!(e.fit(Side::Server, list(900), NOW), Fit::Impossible);
    let e = evidence(&[69, record(800)], &[]);
    assert_ne!(e.fit(Side::Client, list(800), NOW), Fit::Exact);
}

#[test]
fn long_messages_are_full_records_and_a_rest() {
    let full = (1 << 14) + 17;
    let message = 20_000;
    let e = evidence(&[], &[23, full, (message - 16_384 + 17) as u16, 97, 69]);
    assert_eq!(e.fit(Side::Server, list(message - 8), NOW), Fit::Exact);
    assert_eq!(e.fit(Side::Server, list(message - 9), NOW), Fit::Impossible);
    // Exactly two full ones, and one byte more.
    let e = evidence(&[], &[23, full, full, 97, 69]);
    assert_eq!(e.fit(Side::Server, list(32_768 - 8), NOW), Fit::Exact);
    let e = evidence(&[], &[23, full, full, 18, 97, 69]);
    assert_eq!(e.fit(Side::Server, list(32_769 - 8), NOW), Fit::Exact);
    // max_fragment_length of 512, and a limit of nobody's habit
    let e = evidence(&[], &[23, 529, 529, 17 + 100, 97, 69]);
    assert_eq!(e.fit(Side::Server, list(1124 - 8), NOW), Fit::Exact);
    let e = evidence(&[], &[23, 517, 517, 17 + 100, 97, 69]);
    assert_eq!(e.fit(Side::Server, list(1100 - 8), NOW), Fit::Possible);
}

#[test]
fn a_flight_in_one_record_is_possible_if_long_enough() {
    let e = evidence(&[], &[1100]);
    assert_eq!(e.fit(Side::Server, list(900), NOW), Fit::Possible);
    assert_eq!(e.fit(Side::Server, list(1076), NOW), Fit::Impossible);
    // Padded by 16 bytes a record, as JSSE does
    let e = evidence(&[], &[39, record(827) + 16, 112, 85]);
    assert_eq!(e.fit(Side::Server, list(827), NOW), Fit::Possible);
}

#[test]
fn compression_and_missing_bytes_make_nothing_impossible() {
    let mut e = evidence(&[], &[23, 500, 97, 69]);
    e.compression = true;
    assert_eq!(e.fit(Side::Server, list(827), NOW), Fit::Possible);
    let mut e = evidence(&[], &[23, 97, 69]);
    e.server_flight.complete = false;
    assert_eq!(e.fit(Side::Server, list(827), NOW), Fit::Possible);
    // What was seen may be it all the same.
    let mut e = evidence(&[], &[record(827)]);
    e.server_flight.complete = false;
    assert_eq!(e.fit(Side::Server, list(827), NOW), Fit::Exact);
}

#[test]
fn what_comes_later_counts_only_as_what_kind_of_flight_it_is() {
    let mut e = evidence(&[], &[]);
    let at = |len, at| Sighting { len, at: Timestamp(at) };
    let records = [at(23, 1000), at(record(827), 1000), at(97, 2000), at(69, 2000)];
    e.server_flight = Flight::new(records.into_iter(), 4, true);
    assert_eq!(e.fit(Side::Server, list(827), Timestamp(999)), Fit::Impossible);
    assert_eq!(e.fit(Side::Server, list(827), Timestamp(1000)), Fit::Exact);
    assert_eq!(e.fit(Side::Server, list(700), Timestamp(1000)), Fit::Impossible);
    // Nothing was encrypted yet, or nothing can have been
    let mut nothing = evidence(&[], &[]);
    nothing.compression = true;
    assert_eq!(nothing.fit(Side::Server, list(827), NOW), Fit::Impossible);
    nothing.server = None;
    assert_eq!(nothing.fit(Side::Server, list(827), NOW), Fit::Impossible);
    nothing.server_flight.complete = false;
    assert_eq!(nothing.fit(Side::Server, list(827), NOW), Fit::Possible);
}

#[test]
fn handshakes_without_a_certificate_are_impossible() {
    let mut e = evidence(&[record(827), 97, 69], &[23, record(827), 97, 69]);
    e.no_client_certificate = true;
    assert_eq!(e.fit(Side::Client, list(827), NOW), Fit::Impossible);
    let mut resumed = e;
    resumed.server.as_mut().unwrap().is_resumed = true;
    let mut older = e;
    older.server.as_mut().unwrap().is_tls13 = false;
    for e in [resumed, older] {
        assert_eq!(e.fit(Side::Server, list(827), NOW), Fit::Impossible);
    }
    assert_eq!(resumed.standing(), Standing::Resumed);
    assert_eq!(older.standing(), Standing::Older);
}

#[test]
fn a_length_that_is_a_minimum_is_never_exact() {
    let e = evidence(&[], &[23, record(827), 97, 69]);
    assert_eq!(e.fit(Side::Server, MessageLength::of_list_at_least(827), NOW), Fit::Possible);
    assert_eq!(e.fit(Side::Server, MessageLength::of_list_at_least(4000), NOW), Fit::Impossible);
}

#[test]
fn more_records_than_are_remembered_may_hold_anything() {
    let e = Flight::new((0..20).map(|_| Sighting { len: 81, at: NOW }), 20, true);
    let e = Evidence { server_flight: e, ..evidence(&[], &[]) };
    assert_eq!(e.fit(Side::Server, list(5000), NOW), Fit::Possible);
}

#[test]
fn unknown_suites_have_no_exact_lengths() {
    let mut e = evidence(&[], &[23, record(827), 97, 69]);
    e.server.as_mut().unwrap().suite = CipherSuite(0x13ff);
    assert_eq!(e.fit(Side::Server, list(827), NOW), Fit::Possible);
    assert_eq!(e.fit(Side::Server, list(4000), NOW), Fit::Impossible);
}

#[test]
fn evidence_is_small() {
    assert!(size_of::<Evidence>() <= 256, "{}", size_of::<Evidence>());
}

#[test]
fn a_replayed_hello_is_another_handshake() {
    let one = evidence(&[], &[]);
    let mut other = one;
    assert!(one.is_same_handshake(&other));
    other.server.as_mut().unwrap().random = [3; 32];
    assert!(!one.is_same_handshake(&other));
    other.server = None;
    assert!(!one.is_same_handshake(&other) && !other.is_same_handshake(&other));
}
