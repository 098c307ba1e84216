//! The same bytes give the same events however they are cut, and no bytes make it panic.

use super::{Fed, Noise, RECORDINGS, events_of};
use crate::tls::{Prefix, looks_like_tls, looks_like_tls_record_midstream};

#[test]
fn every_split_point_gives_the_same_events() {
    for (name, bytes) in RECORDINGS {
        let whole = events_of(name, &[bytes]);
        for at in 0..=bytes.len() {
            let (front, back) = bytes.split_at(at);
            assert!(events_of(name, &[front, back]) == whole, "{name} split at {at}");
        }
    }
}

#[test]
fn one_byte_at_a_time_gives_the_same_events() {
    for (name, bytes) in RECORDINGS {
        let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
        assert!(events_of(name, &pieces) == events_of(name, &[bytes]), "{name}");
    }
}

#[test]
fn every_prefix_gives_a_prefix_of_the_events() {
    for (name, bytes) in RECORDINGS {
        let whole = events_of(name, &[bytes]);
        for len in 0..=bytes.len() {
            assert!(whole.starts_with(&events_of(name, &[&bytes[..len]])), "{name} cut at {len}");
        }
    }
}

/// One fragment a record as small as it gets: a message may span any number of records.
#[test]
fn handshake_records_of_every_size_give_the_same_messages() {
    for (name, bytes) in RECORDINGS {
        let body_len = usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
        let (first, rest) = bytes.split_at(5 + body_len);
        if first[0] != 22 {
            continue;
        }
        let whole = events_of(name, &[bytes]);
        for size in [1, 2, 3, 4, 5, 7, 64, 200] {
            let mut cut = Vec::new();
            for fragment in first[5..].chunks(size) {
                cut.extend_from_slice(&first[..3]);
                cut.extend_from_slice(&u16::try_from(fragment.len()).unwrap().to_be_bytes());
                cut.extend_from_slice(fragment);
            }
            assert!(events_of(name, &[&cut, rest]) == whole, "{name} in fragments of {size}");
        }
    }
}

#[test]
fn two_directions_interleaved_do_not_disturb_each_other() {
    for pair in RECORDINGS.chunks_exact(2) {
        let [(client_name, client), (server_name, server)] = pair else { unreachable!() };
        let mut fed = [Fed::new(client_name.ends_with("retry.client")), Fed::new(false)];
        let mut pieces = [client.chunks(7), server.chunks(11)];
        let mut noise = Noise(7);
        while pieces.iter().any(|left| left.len() > 0) {
            let which = noise.below(2);
            if let Some(piece) = pieces[which].next() {
                fed[which].data(piece);
            }
        }
        assert!(fed[0].events == events_of(client_name, &[client]), "{client_name}");
        assert!(fed[1].events == events_of(server_name, &[server]), "{server_name}");
    }
}

#[test]
fn every_recorded_start_is_told_from_its_prefixes() {
    for (name, bytes) in RECORDINGS {
        let known = if *name == "version_refused.server" { 7 } else { 6 };
        for len in 0..=bytes.len().min(64) {
            let expected = if len < known { Prefix::NeedMore } else { Prefix::Yes };
            assert_eq!(looks_like_tls(&bytes[..len]), expected, "{name} {len}");
            let expected = if len < 5 { Prefix::NeedMore } else { Prefix::Yes };
            assert_eq!(looks_like_tls_record_midstream(&bytes[..len]), expected, "{name} {len}");
        }
    }
}

/// Recordings with bytes changed, and bytes that mean nothing, in pieces of any size with holes between them.
#[test]
fn noise_never_panics_and_never_fills_memory() {
    let mut noise = Noise(0x7151_6874);
    for round in 0..3000 {
        let (name, recorded) = RECORDINGS[noise.below(RECORDINGS.len())];
        let mut bytes = recorded.to_vec();
        for _ in 0..noise.below(8) {
            let at = noise.below(bytes.len());
            bytes[at] = noise.next() as u8;
        }
        if round % 10 == 0 {
            bytes = (0..noise.below(4000)).map(|_| noise.next() as u8).collect();
        }
        let mut fed = Fed::new(name.ends_with("retry.client") && round % 3 == 0);
        let mut left = bytes.as_slice();
        while !left.is_empty() {
            let (piece, rest) = left.split_at(1 + noise.below(left.len().min(900)));
            left = rest;
            if noise.below(12) == 0 {
                fed.direction.gap(piece.len() as u64, &mut fed.events);
            } else {
                fed.data(piece);
            }
        }
        assert!(fed.events.len() <= bytes.len());
        for len in 0..bytes.len().min(24) {
            looks_like_tls(&bytes[..len]);
            looks_like_tls_record_midstream(&bytes[..len]);
        }
        fed.direction.gap(u64::MAX, &mut fed.events);
        fed.direction.close();
    }
}
