//! From a program that ran to the verdict it should have left behind.

use std::net::SocketAddr;

use crate::agent;
use crate::child::Child;
use crate::expect::{self, Expect, Owner};
use crate::peers::Ran;

/// Checks the one connection to `server` when an agent watches.
pub fn check(server: SocketAddr, expect: &Expect<'_>) {
    if let Some(agent) = agent::shared() {
        expect.check(agent, server);
    }
}

/// Checks the one connection to `server` where its two ends cannot know the same, or cannot always know it: each end is
/// as one of its list says.
pub fn check_ends(server: SocketAddr, client: &[Expect<'_>], server_end: &[Expect<'_>]) {
    let Some(agent) = agent::shared() else { return };
    let ends = agent.connections(server, 1);
    expect::check_either(agent, server, &ends[0], client, server_end);
}

/// Checks several connections to `server`, in the order in which they were opened.
pub fn check_all(server: SocketAddr, expected: &[Expect<'_>]) {
    let Some(agent) = agent::shared() else { return };
    let ends = agent.connections(server, expected.len());
    for (expect, ends) in expected.iter().zip(&ends) {
        expect.check_ends(agent, server, ends);
    }
}

impl From<&Ran> for Owner {
    fn from(ran: &Ran) -> Owner {
        Owner::ShortLived(ran.pid, ran.executable.clone(), ran.program.clone())
    }
}

impl From<&Child> for Owner {
    fn from(child: &Child) -> Owner {
        Owner::ShortLived(child.pid, child.executable.clone(), child.program.clone())
    }
}

impl Owner {
    /// This test process.
    pub fn this() -> Owner {
        let path = std::fs::read_link("/proc/self/exe").expect("own executable");
        Owner::Process(
            std::process::id(),
            path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        )
    }
}
