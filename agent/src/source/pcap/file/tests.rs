use super::*;

/// A pcap file of two packets.
fn pcap(big_endian: bool, nanoseconds: bool) -> Vec<u8> {
    let word = |n: u32| if big_endian { n.to_be_bytes() } else { n.to_le_bytes() };
    let half = |n: u16| if big_endian { n.to_be_bytes() } else { n.to_le_bytes() };
    let magic = if nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
    let mut file = Vec::new();
    file.extend(word(magic));
    file.extend([half(2), half(4)].concat());
    file.extend([word(0), word(0), word(65535), word(101)].concat());
    for (secs, fraction, data) in [(10, 5, b"ab".as_slice()), (11, 6, b"cde")] {
        let len = u32::try_from(data.len()).unwrap();
        file.extend([word(secs), word(fraction), word(len), word(len + 9)].concat());
        file.extend(data);
    }
    file
}

/// Writes pcapng blocks.
struct Ng {
    big_endian: bool,
    file: Vec<u8>,
}

impl Ng {
    fn word(&self, n: u32) -> [u8; 4] {
        if self.big_endian { n.to_be_bytes() } else { n.to_le_bytes() }
    }

    fn half(&self, n: u16) -> [u8; 2] {
        if self.big_endian { n.to_be_bytes() } else { n.to_le_bytes() }
    }

    fn block(&mut self, kind: u32, body: &[u8]) -> &mut Self {
        let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
        let len = u32::try_from(12 + body.len() + padding.len()).unwrap();
        let block = [&self.word(kind), &self.word(len), body, &padding, &self.word(len)].concat();
        self.file.extend(block);
        self
    }

    fn section(&mut self) -> &mut Self {
        let body = [self.word(0x1a2b_3c4d).as_slice(), &self.half(1), &self.half(0), &[0xff; 8]].concat();
        self.block(0x0a0d_0d0a, &body)
    }

    fn interface(&mut self, link: u16, options: &[(u16, &[u8])]) -> &mut Self {
        let mut body = [self.half(link).as_slice(), &[0, 0], &self.word(0)].concat();
        for (code, value) in options {
            body.extend([self.half(*code), self.half(u16::try_from(value.len()).unwrap())].concat());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        if !options.is_empty() {
            body.extend([0; 4]);
        }
        self.block(1, &body)
    }

    fn packet(&mut self, interface: u32, time: u64, data: &[u8]) -> &mut Self {
        let len = u32::try_from(data.len()).unwrap();
        let (high, low) = ((time >> 32) as u32, time as u32);
        let head = [interface, high, low, len, len].map(|n| self.word(n)).concat();
        let mut body = head;
        body.extend(data);
        self.block(6, &body)
    }
}

fn ng(big_endian: bool) -> Ng {
    Ng { big_endian, file: Vec::new() }
}

/// Time, link type and data of a packet.
type Seen = (u64, i32, Vec<u8>);

/// Everything in a file: its packets, counters, and how reading ended.
fn read(bytes: &[u8]) -> (Vec<Seen>, BlockCounters, Option<Damage>) {
    let mut file = CaptureFile::open(bytes).unwrap();
    let mut packets = Vec::new();
    let damage = loop {
        match file.next_packet() {
            Ok(Some(p)) => packets.push((p.time.0, p.link.0, p.data.to_vec())),
            Ok(None) => break None,
            Err(damage) => break Some(damage),
        }
    };
    (packets, file.counters, damage)
}

#[test]
fn reads_pcap_in_every_byte_order_and_resolution() {
    for big_endian in [false, true] {
        for (nanoseconds, unit) in [(false, 1000), (true, 1)] {
            let (packets, counters, damage) = read(&pcap(big_endian, nanoseconds));
            assert_eq!(
                packets,
                [
                    (10_000_000_000 + 5 * unit, 101, b"ab".to_vec()),
                    (11_000_000_000 + 6 * unit, 101, b"cde".to_vec())
                ]
            );
            assert_eq!(counters, BlockCounters::default());
            assert!(damage.is_none());
        }
    }
}

#[test]
fn reads_pcapng_sections_interfaces_and_resolutions() {
    let mut bytes = Vec::new();
    for big_endian in [false, true] {
        let mut ng = ng(big_endian);
        let offset = if big_endian { 100i64.to_be_bytes() } else { 100i64.to_le_bytes() };
        ng.section()
            .interface(1, &[])
            .interface(101, &[(9, &[9])])
            .interface(113, &[(9, &[0x8a]), (14, &offset)])
            .block(5, &[0; 12])
            .packet(0, 1_000_001, b"abc")
            .packet(1, 1_000_001, b"d")
            .packet(2, 1024 + 512, b"efgh");
        bytes.extend(ng.file);
    }
    let (packets, counters, damage) = read(&bytes);
    let section = [
        (1_000_001_000, 1, b"abc".to_vec()),
        (1_000_001, 101, b"d".to_vec()),
        (101_500_000_000, 113, b"efgh".to_vec()),
    ];
    assert_eq!(packets, [section.clone(), section].concat());
    assert_eq!(counters, BlockCounters::default());
    assert!(damage.is_none());
}

#[test]
fn simple_packets_take_the_time_of_the_packet_before() {
    let mut ng = ng(false);
    ng.section()
        .interface(101, &[])
        .packet(0, 7, b"ab")
        .block(3, &[&[3, 0, 0, 0], b"xyz".as_slice()].concat());
    let (packets, ..) = read(&ng.file);
    assert_eq!(packets[1], (7000, 101, b"xyz".to_vec()));
}

#[test]
fn blocks_that_cannot_be_used_are_counted_and_passed_over() {
    let mut ng = ng(false);
    ng.section()
        .packet(0, 1, b"no interface yet")
        .interface(101, &[])
        .packet(5, 1, b"of nobody")
        .block(2, &[0; 20]);
    // An enhanced packet longer than its block.
    ng.block(6, &[[0; 12].as_slice(), &[200, 0, 0, 0], &[200, 0, 0, 0]].concat());
    ng.packet(0, 1, b"good");
    let (packets, counters, damage) = read(&ng.file);
    assert_eq!(packets, [(1000, 101, b"good".to_vec())]);
    assert_eq!(counters, BlockCounters { malformed_blocks: 1, unknown_interface: 2, obsolete_blocks: 1 });
    assert!(damage.is_none());
}

#[test]
fn interfaces_past_the_bound_are_unknown() {
    let mut ng = ng(false);
    ng.section();
    for _ in 0..=MAX_INTERFACES {
        ng.interface(101, &[]);
    }
    let last = u32::try_from(MAX_INTERFACES).unwrap();
    ng.packet(last - 1, 1, b"known").packet(last, 1, b"unknown");
    let (packets, counters, _) = read(&ng.file);
    assert_eq!((packets.len(), counters.unknown_interface), (1, 1));
}

#[test]
fn impossible_lengths_end_the_file_with_the_place() {
    let mut file = pcap(false, false);
    file[24 + 8..24 + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    let (packets, _, damage) = read(&file);
    assert!(packets.is_empty());
    assert_eq!(damage.unwrap().to_string(), "the file is damaged at byte 24: a packet of impossible length");
    let mut ng = ng(false);
    ng.section().interface(101, &[]);
    let at = ng.file.len();
    ng.file.extend([6u32.to_le_bytes(), 13u32.to_le_bytes(), [0; 4]].concat());
    let (_, _, damage) = read(&ng.file);
    assert_eq!(
        damage.unwrap().to_string(),
        format!("the file is damaged at byte {at}: a block of impossible length")
    );
}

#[test]
fn a_length_that_lies_allocates_no_more_than_the_file_has() {
    let mut file = pcap(false, false);
    file[24 + 8..24 + 12].copy_from_slice(&MAX_BLOCK.to_le_bytes());
    let mut capture = CaptureFile::open(file.as_slice()).unwrap();
    assert!(matches!(capture.next_packet(), Err(Damage::Truncated { at: 24 })));
    assert!(capture.buffer.len() <= 2 * CHUNK, "{}", capture.buffer.len());
}

#[test]
fn files_cut_anywhere_give_what_is_whole_and_say_so() {
    let mut ng = ng(false);
    ng.section().interface(101, &[]).packet(0, 1, b"ab").packet(0, 2, b"cd");
    for whole in [pcap(false, false), ng.file] {
        let (all, ..) = read(&whole);
        for length in 24..whole.len() {
            let (packets, _, damage) = read(&whole[..length]);
            assert_eq!(packets, all[..packets.len()], "{length}");
            assert!(
                damage.is_none() || matches!(damage, Some(Damage::Truncated { .. })),
                "{length}: {damage:?}"
            );
        }
    }
}

#[test]
fn says_what_is_no_capture_file() {
    let open = |bytes: &[u8]| CaptureFile::open(bytes).err().unwrap().to_string();
    assert_eq!(open(b""), "the file is empty");
    assert_eq!(open(b"abc"), "not a pcap or pcapng file");
    assert_eq!(open(b"hello, this is text and no capture"), "not a pcap or pcapng file");
    assert_eq!(open(&pcap(false, false)[..23]), "not a pcap or pcapng file");
    assert!(matches!(
        CaptureFile::open([0x1f, 0x8b, 8, 0].as_slice()),
        Err(OpenError::Compressed("gzip -dc"))
    ));
}

#[test]
fn input_may_come_in_any_pieces() {
    struct Drip<'a>(&'a [u8], bool);
    impl Read for Drip<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let n = out.len().min(1);
            self.0.read(&mut out[..n])
        }
    }
    let bytes = pcap(true, true);
    let mut file = CaptureFile::open(Drip(&bytes, false)).unwrap();
    let mut n = 0;
    while file.next_packet().unwrap().is_some() {
        n += 1;
    }
    assert_eq!((n, file.offset()), (2, bytes.len() as u64));
}
