//! A library with probes, and programs that use it.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use agent_common::{CERTIFICATES_HAVE_EXTENSIONS, library, peer};
use tlsight::loader::KernelConfig;

use crate::library::{Scratch, copy_of, points};
use crate::pki::Chain;
use crate::watch::Watch;

pub(crate) struct Host {
    pub(crate) scratch: Scratch,
    pub(crate) watch: Watch,
}

/// The two ends of a connection that is over.
pub(crate) struct Ends {
    pub(crate) client: u32,
    pub(crate) server: u32,
    pub(crate) port: u16,
}

/// Stopped at the end of its scope.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Host {
    /// With a copy of the library that `program` uses.
    pub(crate) fn new(program: &str, name: &str) -> Self {
        Self::with(&KernelConfig::default(), program, name)
    }

    pub(crate) fn with(config: &KernelConfig, program: &str, name: &str) -> Self {
        let scratch = Scratch::new();
        let file = copy_of(program, name, &scratch.0);
        let watch = Watch::with(config, &file, &points(&file));
        Self { scratch, watch }
    }

    /// A program that uses the copy.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut cmd = Command::new(program);
        cmd.env("LD_LIBRARY_PATH", &self.scratch.0);
        cmd.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        cmd
    }

    /// Starts a server, and a client once it listens, which asks for a page and waits for the server to close. The
    /// functions complete the command lines, for a port.
    pub(crate) fn connect(
        &self,
        server: &str,
        server_args: impl FnOnce(&mut Command, u16),
        client: &str,
        client_args: impl FnOnce(&mut Command, u16),
    ) -> Ends {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut cmd = self.command(server);
        server_args(&mut cmd, port);
        let server = Running(cmd.stdin(Stdio::piped()).spawn().unwrap());
        while !is_listening(port) {
            std::thread::yield_now();
        }
        let mut cmd = self.command(client);
        client_args(&mut cmd, port);
        let mut client = Running(cmd.stdin(Stdio::piped()).spawn().unwrap());
        // Makes the server read what the client sent in its last flight. Held open: its end would end the client.
        let mut stdin = client.0.stdin.take().unwrap();
        stdin.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        client.0.wait().unwrap();
        Ends { client: client.0.id(), server: server.0.id(), port }
    }
}

fn is_listening(port: u16) -> bool {
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    sockets.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().unwrap_or_default();
        local.ends_with(&format!(":{port:04X}")) && fields.nth(1) == Some("0A")
    })
}

impl Watch {
    pub(crate) fn connect_of(&self, pid: u32) -> u64 {
        self.connects.iter().find(|(p, _)| *p == pid).unwrap().1
    }

    pub(crate) fn accept_at(&self, port: u16) -> u64 {
        self.accepts.iter().find(|(p, _)| *p == port).unwrap().1
    }

    /// The process parsed one message of a C library, this chain, read from this connection.
    #[track_caller]
    pub(crate) fn assert_message(&self, library: u8, pid: u32, cookie: u64, chain: &Chain) {
        let [message] = self.messages_of(pid)[..] else {
            panic!("{} messages; {:?}", self.messages_of(pid).len(), self.counters(""))
        };
        let e = &message.event;
        // OpenSSL parses inside the message, GnuTLS copies of the certificates.
        let (flags, extensions) = match library {
            library::OPENSSL => (CERTIFICATES_HAVE_EXTENSIONS, 2),
            _ => (0, 0),
        };
        let entries: usize = chain.der.iter().map(|der| 3 + der.len() + extensions).sum();
        let list_len = if extensions > 0 { entries } else { 0 };
        assert_eq!(
            (e.library, e.peer, e.flags, e.list_len as usize, e.cap_len as usize, e.header.cookie),
            (library, peer::UNKNOWN, flags, list_len, entries, cookie)
        );
        assert_eq!(message.chain(), chain.der);
    }
}
