//! Connections that are not TLS, and those of which little or nothing can be said.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;
use tlsight_tests::agent;
use tlsight_tests::child::{Child, command};
use tlsight_tests::expect::{Expect, Owner};
use tlsight_tests::host::{case_address, free_port, wait_until_listening};
use tlsight_tests::run::case;
use tlsight_tests::tools::{peer_source, scratch_dir, venv};
use tlsight_tests::verdict::check;

const LIMIT: Duration = Duration::from_secs(20);

/// Adds the cases.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(case("plaintext::http_curl_to_python", http_python));
    trials.push(case("plaintext::http_curl_to_nginx", http_nginx));
    trials.push(case("plaintext::http2_prior_knowledge_curl_to_node", http2));
    trials.push(case("plaintext::redis_cli_to_redis", redis));
    trials.push(case("plaintext::accepted_by_a_preforked_worker", prefork));
    trials.push(case("plaintext::connected_by_a_child", child_of_shell));
    trials.push(case("plaintext::text_of_no_known_protocol", text));
    trials.push(case("plaintext::binary_of_no_known_protocol_is_unknown", binary));
    trials.push(case("plaintext::bytes_are_counted_exactly_from_the_client", || counted(1_000_003, 17)));
    trials.push(case("plaintext::bytes_are_counted_exactly_from_the_server", || counted(19, 3_000_017)));
    trials.push(case("plaintext::nothing_sent_is_unknown", nothing));
    trials.push(case("plaintext::one_byte_is_too_few", one_byte));
    trials.push(case("plaintext::refused_connections_are_no_observation", refused));
    trials.push(case("plaintext::server_speaks_first", server_first));
    trials.push(case("plaintext::ssh_is_encrypted_not_tls", ssh));
    trials.push(case("plaintext::reset_by_the_client", reset));
}

fn listening(child: &Child, port: u16) {
    let up = wait_until_listening(([127, 0, 0, 1], port).into(), LIMIT, || child.is_running());
    assert!(up, "{child:?} does not listen; it said:\n{}", child.text());
}

fn curl(at: SocketAddr, extra: &[&str]) -> Child {
    let mut cmd = command("curl", ["--silent", "--show-error", "--max-time", "20", "--noproxy", "*"]);
    cmd.args(extra).arg(format!("http://{at}/"));
    let child = Child::spawn(cmd);
    let ended = child.finish(LIMIT);
    assert!(ended.status.success(), "{}", ended.text);
    child
}

fn http_python() {
    let port = free_port();
    let server =
        Child::spawn(command(venv("python3"), [peer_source("python/http_plain.py")]).tap(&port.to_string()));
    server.wait_for_line("listening", LIMIT);
    let at = SocketAddr::from((case_address(), port));
    let client = curl(at, &[]);
    check(
        at,
        &Expect {
            client: Owner::from(&client),
            server: Owner::from(&server),
            ..Expect::plaintext(Some("http"))
        },
    );
}

/// One more argument.
trait Tap {
    fn tap(self, argument: &str) -> Self;
}

impl Tap for std::process::Command {
    fn tap(mut self, argument: &str) -> Self {
        self.arg(argument);
        self
    }
}

fn http_nginx() {
    let (port, dir) = (free_port(), scratch_dir("nginx-plain"));
    let conf = format!(
        "daemon off;\nworker_processes 1;\npid {d}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n\
         client_body_temp_path {d}/b;\nproxy_temp_path {d}/p;\nfastcgi_temp_path {d}/f;\nuwsgi_temp_path {d}/u;\n\
         scgi_temp_path {d}/s;\nserver {{\nlisten 0.0.0.0:{port};\nlocation / {{ return 200 \"hello\\n\"; }}\n}}\n}}\n",
        d = dir.display()
    );
    let file = dir.join("nginx.conf");
    std::fs::write(&file, conf).unwrap();
    let mut cmd = command("/usr/sbin/nginx", ["-e", "stderr", "-p"]);
    cmd.arg(&dir).arg("-c").arg(&file);
    let server = Child::spawn(cmd);
    listening(&server, port);
    let at = SocketAddr::from((case_address(), port));
    let client = curl(at, &[]);
    check(
        at,
        &Expect {
            client: Owner::from(&client),
            server: Owner::Executable("nginx".to_owned()),
            ..Expect::plaintext(Some("http"))
        },
    );
}

fn http2() {
    let port = free_port();
    let server = Child::spawn(command("node", [peer_source("node/h2c.js")]).tap(&port.to_string()));
    server.wait_for_line("listening", LIMIT);
    let at = SocketAddr::from((case_address(), port));
    let client = curl(at, &["--http2-prior-knowledge"]);
    check(
        at,
        &Expect {
            client: Owner::from(&client),
            server: Owner::from(&server),
            ..Expect::plaintext(Some("http2"))
        },
    );
}

fn redis() {
    let port = free_port();
    let mut cmd =
        command("redis-server", ["--save", "", "--appendonly", "no", "--protected-mode", "no", "--dir"]);
    cmd.arg(scratch_dir("redis")).args(["--bind", "0.0.0.0", "--port", &port.to_string()]);
    let server = Child::spawn(cmd);
    listening(&server, port);
    let at = SocketAddr::from((case_address(), port));
    let cli = ["-h", &at.ip().to_string(), "-p", &port.to_string(), "SET", "cart", "7"].map(str::to_owned);
    let client = Child::spawn(command("redis-cli", cli));
    let ended = client.finish(LIMIT);
    assert!(ended.text.contains("OK"), "{}", ended.text);
    check(
        at,
        &Expect {
            client: Owner::from(&client),
            server: Owner::from(&server),
            ..Expect::plaintext(Some("redis"))
        },
    );
}

/// The listening socket was made by one process, and the connection is accepted by another that inherited it.
fn prefork() {
    let port = free_port();
    let server =
        Child::spawn(command(venv("python3"), [peer_source("python/prefork.py")]).tap(&port.to_string()));
    server.wait_for_line("listening", LIMIT);
    for _ in 0..3 {
        let at = SocketAddr::from((case_address(), port));
        let client = curl(at, &[]);
        let worker: u32 = client.text().trim().parse().expect("the worker's process id");
        assert_ne!(worker, server.pid);
        check(
            at,
            &Expect {
                client: Owner::from(&client),
                server: Owner::Worker { listener: server.pid, worker, executable: server.executable.clone() },
                ..Expect::plaintext(Some("http"))
            },
        );
    }
}

/// Not the process that was started, but one that it forked, connects.
fn child_of_shell() {
    let port = free_port();
    let server =
        Child::spawn(command(venv("python3"), [peer_source("python/http_plain.py")]).tap(&port.to_string()));
    server.wait_for_line("listening", LIMIT);
    let at = SocketAddr::from((case_address(), port));
    let script = format!("curl --silent http://{at}/ & echo $!; wait");
    let shell = Child::spawn(command("/bin/sh", ["-c", &script]));
    let ended = shell.finish(LIMIT);
    assert!(ended.text.contains("hello"), "{}", ended.text);
    let pid = ended.text.lines().find_map(|l| l.parse().ok()).expect("the process id of curl");
    check(
        at,
        &Expect {
            client: Owner::Process(pid, "curl".to_owned()),
            server: Owner::from(&server),
            ..Expect::plaintext(Some("http"))
        },
    );
}

/// One connection between two threads of this process.
fn exchange(
    client: impl FnOnce(TcpStream) + Send + 'static,
    server: impl FnOnce(TcpStream) + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind((case_address(), 0)).expect("listen");
    let at = listener.local_addr().expect("an address");
    let serve = thread::spawn(move || server(listener.accept().expect("accept").0));
    client(TcpStream::connect(at).expect("connect"));
    serve.join().expect("the server's end");
    at
}

/// Everything the other side sends until it has no more to say.
fn drain(mut conn: &TcpStream) -> usize {
    let mut bytes = Vec::new();
    conn.read_to_end(&mut bytes).expect("read");
    bytes.len()
}

/// Sends `bytes`, says that this was all, and reads what comes back.
fn send_all(mut conn: TcpStream, bytes: &[u8]) -> usize {
    conn.write_all(bytes).expect("write");
    conn.shutdown(Shutdown::Write).expect("shut down");
    drain(&conn)
}

/// The same where what comes back does not matter.
fn say(conn: TcpStream, bytes: &[u8]) {
    send_all(conn, bytes);
}

/// Expected of a connection between two threads of this process.
fn between_us(expect: Expect<'_>, client: u64, server: u64) -> Expect<'_> {
    Expect {
        client: Owner::this(),
        server: Owner::this(),
        bytes: Some((client, server)),
        close: Some("finished"),
        ..expect
    }
}

fn text() {
    let (question, answer) = (
        "what time is it over there, and would you mind to tell what the weather is like?\n",
        "a quarter past nine, and raining\n",
    );
    let at = exchange(move |conn| say(conn, question.as_bytes()), move |conn| say(conn, answer.as_bytes()));
    check(at, &between_us(Expect::plaintext(None), question.len() as u64, answer.len() as u64));
}

/// Bytes without any pattern, the same in every run.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed;
    let next = || {
        // Knuth's MMIX generator; the high bits are the good ones.
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn binary() {
    let at = exchange(|conn| say(conn, &noise(900, 3)), |conn| say(conn, &noise(700, 5)));
    check(at, &between_us(Expect::unknown("unrecognized_protocol"), 900, 700));
}

fn counted(from_client: usize, from_server: usize) {
    let at = exchange(
        move |conn| assert_eq!(send_all(conn, &noise(from_client, 7)), from_server),
        move |conn| assert_eq!(send_all(conn, &noise(from_server, 11)), from_client),
    );
    let expect = Expect::unknown("unrecognized_protocol");
    check(at, &between_us(expect, from_client as u64, from_server as u64));
}

fn nothing() {
    let at = exchange(
        |conn| {
            conn.shutdown(Shutdown::Write).expect("shut down");
            drain(&conn);
        },
        |conn| _ = drain(&conn),
    );
    check(at, &between_us(Expect::unknown("no_data"), 0, 0));
}

fn one_byte() {
    let at = exchange(|conn| say(conn, b"G"), |conn| _ = drain(&conn));
    check(at, &between_us(Expect::unknown("too_few_bytes"), 1, 0));
}

/// Neither a refused attempt nor the one that follows it may leave more than one observation an end.
fn refused() {
    // What another program of this host listens on at all addresses is no place to be refused.
    let refuses = |at: &SocketAddr| TcpStream::connect(at).is_err();
    let mut places = (0..20).map(|_| SocketAddr::from((case_address(), free_port())));
    let at = places.find(refuses).expect("a place where nobody listens");
    let listener = TcpListener::bind(at).expect("listen");
    let serve = thread::spawn(move || say(listener.accept().expect("accept").0, b"nobody of that name\r\n"));
    say(
        TcpStream::connect(at).expect("connect"),
        b"is there anybody of that name, or of another, whom I could talk to for a while?\r\n",
    );
    serve.join().expect("the server's end");
    // `connections` fails on more than one.
    check(at, &between_us(Expect::plaintext(None), 81, 21));
    if let Some(agent) = agent::shared() {
        assert_eq!(agent.connections(at, 1).len(), 1);
    }
}

fn server_first() {
    let banner = "220 ftp.tlsight.test ready\r\n";
    let bye = "221 bye\r\n";
    let at = exchange(
        |mut conn| {
            let mut first = [0; 28];
            conn.read_exact(&mut first).expect("the banner");
            send_all(conn, b"USER anonymous\r\nQUIT\r\n");
        },
        move |mut conn| {
            conn.write_all(banner.as_bytes()).expect("write");
            let mut command = [0; 22];
            conn.read_exact(&mut command).expect("the command");
            send_all(conn, bye.as_bytes());
        },
    );
    let mut expect = Expect::plaintext(Some("ftp"));
    expect.starttls = Some("not_used");
    check(at, &between_us(expect, 22, (banner.len() + bye.len()) as u64));
}

/// The real client, and a server that says what OpenSSH says and hangs up when keys would be exchanged.
fn ssh() {
    let listener = TcpListener::bind((case_address(), 0)).expect("listen");
    let at = listener.local_addr().expect("an address");
    let serve = thread::spawn(move || {
        let mut conn = listener.accept().expect("accept").0;
        conn.write_all(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n").expect("write");
        let mut some = [0; 512];
        while matches!(conn.read(&mut some), Ok(n) if n > 0 && !some.contains(&0x14)) {}
        conn.shutdown(Shutdown::Write).expect("shut down");
        drain(&conn);
    });
    let mut cmd =
        command("ssh", ["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-p"]);
    cmd.arg(at.port().to_string()).arg(format!("nobody@{}", at.ip()));
    let client = Child::spawn(cmd);
    client.finish(LIMIT);
    serve.join().expect("the server's end");
    let expect = Expect::unknown("encrypted_not_tls");
    check(
        at,
        &Expect {
            source: Some("wire"),
            protocol: Some("ssh"),
            client: Owner::from(&client),
            server: Owner::this(),
            ..expect
        },
    );
}

/// A client that leaves with an answer unread sends RST instead of FIN.
fn reset() {
    let (sent, received) = std::sync::mpsc::channel();
    let at = exchange(
        move |mut conn| {
            conn.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("write");
            received.recv().expect("the server has answered");
            // Dropped with the answer unread.
        },
        move |mut conn| {
            let mut request = [0; 27];
            conn.read_exact(&mut request).expect("the request");
            conn.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("write");
            sent.send(()).expect("the client waits");
            let _ = conn.read(&mut [0; 16]);
        },
    );
    let expect = between_us(Expect::plaintext(Some("http")), 27, 27);
    check(at, &Expect { close: Some("reset"), ..expect });
}
