//! A server that takes everything, and curl, which chooses.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use tlsight_tests::child::{Child, command};
use tlsight_tests::host::{case_address, free_port};
use tlsight_tests::netns::Namespace;
use tlsight_tests::pki::{Identity, pki};
use tlsight_tests::tools::{peer_source, venv};

use crate::world::HEARD_WITHIN;

/// A server at an address of the case's own.
pub(crate) struct Server {
    pub(crate) at: SocketAddr,
    child: Child,
}

impl Server {
    /// On loopback.
    pub(crate) fn start(identity: &Identity) -> Self {
        Self::start_at(SocketAddr::from((case_address(), free_port())), identity, None)
    }

    /// At this address, in this namespace.
    pub(crate) fn start_at(at: SocketAddr, identity: &Identity, namespace: Option<&Namespace>) -> Self {
        let mut cmd = command(venv("python3"), [peer_source("python/either.py")]);
        cmd.args([at.ip().to_string(), at.port().to_string()]);
        cmd.args([&identity.cert, &identity.key, &pki().ca]);
        let child = Child::spawn(within(namespace, cmd));
        child.wait_for_line("listening", Duration::from_secs(40));
        Self { at, child }
    }

    /// The same place, with another certificate.
    pub(crate) fn shows(self, identity: &Identity) -> Self {
        self.child.stop();
        Self::start_at(self.at, identity, None)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> Ipv4Addr {
        match self.at {
            SocketAddr::V4(at) => *at.ip(),
            SocketAddr::V6(at) => panic!("{at}"),
        }
    }

    /// The alert is about this server.
    pub(crate) fn name(&self) -> String {
        self.at.to_string()
    }
}

fn within(namespace: Option<&Namespace>, cmd: Command) -> Command {
    match namespace {
        Some(namespace) => namespace.enter(&cmd),
        None => cmd,
    }
}

/// Goes on with it until something came of it.
pub(crate) fn until<T>(mut act: impl FnMut(), mut came: impl FnMut() -> Option<T>) -> T {
    // Some things end by themselves after a minute.
    let deadline = Instant::now() + HEARD_WITHIN + Duration::from_secs(60);
    loop {
        act();
        if let Some(came) = came() {
            return came;
        }
        assert!(Instant::now() < deadline, "nothing came of it");
    }
}

/// A visit by curl, to its end; whether it got an answer.
pub(crate) fn visit(server: &Server, scheme: &str, arguments: &[&str]) -> bool {
    visit_from(None, server, scheme, arguments)
}

/// The same from a namespace.
pub(crate) fn visit_from(
    namespace: Option<&Namespace>,
    server: &Server,
    scheme: &str,
    arguments: &[&str],
) -> bool {
    let mut curl = command("curl", ["--silent", "--show-error", "--max-time", "20", "--noproxy", "*"]);
    curl.args(arguments).arg(format!("{scheme}://{}/", server.at));
    let ended = Child::spawn(within(namespace, curl)).finish(Duration::from_secs(40));
    ended.status.success()
}

/// curl's arguments to show a certificate.
pub(crate) fn with_certificate(identity: &Identity) -> Vec<String> {
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    vec!["--insecure".into(), "--cert".into(), text(&identity.cert), "--key".into(), text(&identity.key)]
}
