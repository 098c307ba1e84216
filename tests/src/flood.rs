//! Connections that are there to do harm: each kind leans on another bound of the agent.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::host::{case_address, free_port, pause};
use crate::netns::{Namespace, Pair};
use crate::pki::{pki, strange};

/// Connections that are open at the same time, both ends of which this process holds.
const AT_A_TIME: usize = 2000;
/// Longer than what is let through of a hello or a certificate list.
const LONG: usize = 96 * 1024;
/// Not longer than that.
const NOT_TOO_LONG: usize = 56 * 1024;
/// Half of what a socket takes on loopback without somebody who reads.
const PIECE: usize = 8 * 1024;

/// A way to do harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SYN, and no answer to the answer.
    HalfOpen,
    /// Open, and never a byte.
    NeverSpeaking,
    /// A ClientHello, a byte at a time.
    OneByteAtATime,
    /// A ClientHello with a name that nobody has.
    RandomServerName,
    /// A ClientHello that does not end.
    EndlessClientHello,
    /// A whole ClientHello with all cipher suites and groups that there can be, and the connection stays open.
    HugeClientHello,
    /// Half of such a ClientHello, and the connection stays open.
    HalfClientHello,
    /// TLS 1.2, and a list of hundreds of certificates, no two alike.
    CertificateBomb,
    /// TLS 1.2, and a list of dozens of certificates, no two alike, and the connection stays open.
    LongChain,
    /// TLS 1.2, and a certificate with a thousand names, and the connection stays open.
    ManyNames,
    /// TLS 1.2, and a chain of authorities of one name that may all have issued each other, and the connection stays open.
    OneName,
    /// Records of 64 KiB, which TLS does not know.
    RecordsOf64KiB,
    /// 10,000 records of one byte: encrypted ones, and those of a ClientHello in as many parts.
    RecordsOfOneByte,
}

/// Every kind, and how many of a thousand connections are of it.
pub const MIX: [(Kind, usize); 13] = [
    (Kind::HalfOpen, 200),
    (Kind::NeverSpeaking, 200),
    (Kind::OneByteAtATime, 100),
    (Kind::RandomServerName, 250),
    (Kind::EndlessClientHello, 50),
    (Kind::HugeClientHello, 20),
    (Kind::HalfClientHello, 20),
    (Kind::CertificateBomb, 20),
    (Kind::LongChain, 20),
    (Kind::ManyNames, 20),
    (Kind::OneName, 20),
    (Kind::RecordsOf64KiB, 50),
    (Kind::RecordsOfOneByte, 30),
];

/// Room for the descriptors of [`Kind`]s that keep connections open.
pub fn allow_descriptors() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives both calls, which do nothing but read and write it.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
}

/// Makes `count` connections of a kind, and resets them.
pub fn flood(kind: Kind, count: usize) {
    flood_at(&target(), kind, count);
}

/// A server for floods.
pub fn target() -> TcpListener {
    TcpListener::bind((case_address(), free_port())).expect("listen")
}

/// The same, at a server that is there already.
pub fn flood_at(listener: &TcpListener, kind: Kind, count: usize) {
    if kind == Kind::HalfOpen {
        return half_open(count);
    }
    let at = listener.local_addr().expect("its address");
    let certificate = CertificateDer::from_pem_file(&pki().server_rsa.cert).expect("a certificate");
    let strange = strange();
    let mut random = Random(0x5eed ^ count as u64);
    let mut left = count;
    while left > 0 {
        let now = left.min(AT_A_TIME);
        let mut open: Vec<(TcpStream, TcpStream)> = Vec::with_capacity(now);
        for _ in 0..now {
            let client = TcpStream::connect(at).expect("connect");
            let server = listener.accept().expect("accept").0;
            open.push((client, server));
            let (client, server) = open.last_mut().expect("just pushed");
            match kind {
                Kind::HalfOpen | Kind::NeverSpeaking | Kind::OneByteAtATime => {}
                Kind::RandomServerName => say(client, server, &hello(&random.name(), 0x0304)),
                Kind::EndlessClientHello => endless(client, server),
                Kind::HugeClientHello => say(client, server, &huge()),
                Kind::HalfClientHello => {
                    let whole = huge();
                    say(client, server, &whole[..whole.len() / 2]);
                }
                Kind::CertificateBomb => chain(client, server, LONG, &[&certificate], &mut random),
                Kind::LongChain => chain(client, server, NOT_TOO_LONG, &[&certificate], &mut random),
                Kind::ManyNames => {
                    chain(client, server, strange.many_names.len(), &[&strange.many_names], &mut random);
                }
                Kind::OneName => {
                    let [leaf, authority] = &strange.one_name;
                    chain(client, server, 30 * authority.len(), &[leaf, authority], &mut random);
                }
                Kind::RecordsOf64KiB => {
                    let record = [&[22, 3, 3, 0xff, 0xff], [1; 0xffff].as_slice()].concat();
                    say(client, server, &[record.as_slice(), &record].concat());
                }
                Kind::RecordsOfOneByte => one_byte_records(client, server, &mut random),
            }
            // Long ones are not kept: it is their bytes that count.
            if matches!(kind, Kind::EndlessClientHello | Kind::CertificateBomb) {
                open.drain(..).for_each(reset);
            }
        }
        if kind == Kind::OneByteAtATime {
            let hello = hello("slow.flood.test", 0x0304);
            // Shortened: who sends a byte a minute has sent as many when the agent stops listening.
            for byte in hello.iter().take(8) {
                for (client, _) in &mut open {
                    client.write_all(&[*byte]).expect("write");
                }
                pause(Duration::from_millis(20));
            }
        }
        open.into_iter().for_each(reset);
        left -= now;
    }
}

/// Ends a connection at once, so that it leaves no port in TIME_WAIT.
fn reset((client, server): (TcpStream, TcpStream)) {
    for stream in [&client, &server] {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        // SAFETY: the descriptor is open, and `linger` is what the option wants, as long as said.
        unsafe {
            libc::setsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of::<libc::linger>() as libc::socklen_t,
            )
        };
    }
}

/// Sends bytes piece by piece, each read before the next.
fn say(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    for piece in bytes.chunks(PIECE) {
        from.write_all(piece).expect("write");
        to.read_exact(&mut vec![0; piece.len()]).expect("read");
    }
}

fn record(content_type: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).expect("a record").to_be_bytes();
    [&[content_type, 3, 3, len[0], len[1]], body].concat()
}

fn message(kind: u8, claimed: usize, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(claimed).expect("a length").to_be_bytes();
    [&[kind, len[1], len[2], len[3]], body].concat()
}

fn length16(body: &[u8]) -> Vec<u8> {
    [u16::try_from(body.len()).expect("16 bits").to_be_bytes().as_slice(), body].concat()
}

/// A ClientHello as a program would send it.
fn hello(name: &str, version: u16) -> Vec<u8> {
    let extension = |kind: u16, body: &[u8]| [kind.to_be_bytes().as_slice(), &length16(body)].concat();
    let host = [[0].as_slice(), &length16(name.as_bytes())].concat();
    let mut extensions = extension(0, &length16(&host));
    extensions.extend(extension(10, &length16(&[0, 29, 0, 23])));
    extensions.extend(extension(13, &length16(&[4, 3, 8, 4, 4, 1])));
    if version == 0x0304 {
        extensions.extend(extension(43, &[2, 3, 4]));
        extensions.extend(extension(51, &length16(&[[0, 29].as_slice(), &length16(&[7; 32])].concat())));
    }
    let body = [
        [3, 3].as_slice(),
        &[9; 32],
        &[0],
        &length16(&[0x13, 1, 0x13, 2, 0xc0, 0x2f]),
        &[1, 0],
        &length16(&extensions),
    ]
    .concat();
    record(22, &message(1, body.len(), &body))
}

fn endless(client: &mut TcpStream, server: &mut TcpStream) {
    say(client, server, &record(22, &message(1, 0xff_ffff, &[3; 16_000])));
    for _ in 1..LONG / 16_000 {
        say(client, server, &record(22, &[0x41; 16_000]));
    }
}

/// A ClientHello that is as long as can be seen, in records.
fn huge() -> Vec<u8> {
    let numbers: Vec<u8> = (0..NOT_TOO_LONG as u16 / 4).flat_map(u16::to_be_bytes).collect();
    let groups = [&[0, 10][..], &length16(&length16(&numbers))].concat();
    let body = [[3, 3].as_slice(), &[9; 32], &[0], &length16(&numbers), &[1, 0], &length16(&groups)].concat();
    message(1, body.len(), &body).chunks(16_000).flat_map(|piece| record(22, piece)).collect()
}

/// A list of certificates of at least so many bytes: each of these, the last one again and again, and no two alike.
fn chain(
    client: &mut TcpStream,
    server: &mut TcpStream,
    len: usize,
    certificates: &[&[u8]],
    random: &mut Random,
) {
    say(client, server, &hello("bomb.flood.test", 0x0303));
    let hello = [[3, 3].as_slice(), &[8; 32], &[0], &[0xc0, 0x2f], &[0]].concat();
    let mut bytes = message(2, hello.len(), &hello);
    let mut list = Vec::new();
    let mut next = certificates.iter().chain(std::iter::repeat(certificates.last().expect("a certificate")));
    while list.len() < len {
        let mut der = next.next().expect("without end").to_vec();
        // Within the serial number, of four bytes: still a certificate, and none that was there before.
        der[16..19].fill_with(|| random.next() as u8);
        list.extend_from_slice(&u32::try_from(der.len()).expect("a length").to_be_bytes()[1..]);
        list.extend_from_slice(&der);
    }
    let body = [&u32::try_from(list.len()).expect("a length").to_be_bytes()[1..], &list].concat();
    bytes.extend(message(11, body.len(), &body));
    for piece in bytes.chunks(16_000) {
        say(server, client, &record(22, piece));
    }
}

fn one_byte_records(client: &mut TcpStream, server: &mut TcpStream, random: &mut Random) {
    if random.next().is_multiple_of(2) {
        say(client, server, &hello("records.flood.test", 0x0304));
        let bytes: Vec<u8> = (0..10_000u32).flat_map(|n| record(23, &[n as u8])).collect();
        say(client, server, &bytes);
    } else {
        let whole = message(1, 10_000, &[5; 10_000]);
        let bytes: Vec<u8> = whole.iter().flat_map(|byte| record(22, &[*byte])).collect();
        say(client, server, &bytes);
    }
}

/// Connections whose server never hears of the client again: in a network of their own, where answers are dropped.
fn half_open(count: usize) {
    let pair = Pair::direct();
    let drop_answers = ["-p", "tcp", "--tcp-flags", "SYN,ACK", "SYN,ACK", "-j", "DROP"];
    pair.client.run(&[&["iptables", "-A", "INPUT"], &drop_answers[..]].concat());
    let at = SocketAddr::from((pair.server_address, 443));
    let listener = within(&pair.server, move || TcpListener::bind(("0.0.0.0", 443)).expect("listen"));
    thread::scope(|scope| {
        for part in 0..4 {
            let pair = &pair;
            scope.spawn(move || {
                enter(&pair.client);
                for _ in (part..count).step_by(4) {
                    let opened = TcpStream::connect_timeout(&at, Duration::from_micros(1));
                    assert!(opened.is_err(), "an answer came through");
                }
            });
        }
    });
    drop(listener);
}

/// Runs something in a network namespace; what it makes stays there.
pub fn within<T: Send>(namespace: &Namespace, make: impl FnOnce() -> T + Send) -> T {
    let work = || {
        enter(namespace);
        make()
    };
    thread::scope(|scope| scope.spawn(work).join().expect("no panic"))
}

/// Moves this thread there for good.
fn enter(namespace: &Namespace) {
    let file = std::fs::File::open(format!("/run/netns/{}", namespace.name)).expect("the namespace");
    // SAFETY: a plain system call on an open descriptor.
    let entered = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
    assert_eq!(entered, 0, "{}", std::io::Error::last_os_error());
}

/// Numbers that look random, and are the same in each run (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn name(&mut self) -> String {
        format!("{:016x}.{:016x}.flood.test", self.next(), self.next())
    }
}
