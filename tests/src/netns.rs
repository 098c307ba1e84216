//! Network namespaces of the tests' own, joined by a pair of virtual Ethernet devices.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::child::{command, output};

/// A network namespace; it is removed when dropped, and everything in it with it.
#[derive(Debug)]
pub struct Namespace {
    /// Name for `ip netns`.
    pub name: String,
}

impl Namespace {
    /// A new one with its loopback device up.
    pub fn new(role: &str) -> Namespace {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tlsight-{}-{}-{role}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        output(command("ip", ["netns", "add", &name]));
        let namespace = Namespace { name };
        namespace.run(&["ip", "link", "set", "lo", "up"]);
        namespace
    }

    /// Runs a command in the namespace to its end.
    pub fn run(&self, words: &[&str]) -> String {
        output(self.enter(&command(words[0], &words[1..])))
    }

    /// The same command, run in the namespace. `ip netns exec` replaces itself by it, so the process id stays.
    pub fn enter(&self, inner: &Command) -> Command {
        let mut cmd = command("ip", ["netns", "exec", &self.name]);
        cmd.arg(inner.get_program()).args(inner.get_args());
        for (key, value) in inner.get_envs() {
            match value {
                Some(value) => cmd.env(key, value),
                None => cmd.env_remove(key),
            };
        }
        if let Some(dir) = inner.get_current_dir() {
            cmd.current_dir(dir);
        }
        cmd
    }
}

/// Removes namespaces that a run left behind when it was killed.
pub fn remove_stale() {
    let Ok(out) = Command::new("ip").args(["netns", "list"]).output() else { return };
    let list = String::from_utf8_lossy(&out.stdout).into_owned();
    for name in list.lines().filter_map(|line| line.split_whitespace().next()) {
        let pid = name.strip_prefix("tlsight-").and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()) {
            let _ = Command::new("ip").args(["netns", "delete", name]).output();
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).output();
    }
}

/// Two namespaces on one wire.
#[derive(Debug)]
pub struct Pair {
    /// The client's namespace.
    pub client: Namespace,
    /// The server's.
    pub server: Namespace,
    /// Address of the client's end, on `veth0`.
    pub client_address: Ipv4Addr,
    /// Address of the server's end.
    pub server_address: Ipv4Addr,
}

impl Pair {
    /// Directly connected.
    pub fn direct() -> Pair {
        let (client, server) = (Namespace::new("c"), Namespace::new("s"));
        let peer = ["peer", "name", "veth0", "netns", &server.name];
        client.run(&[&["ip", "link", "add", "veth0", "type", "veth"], &peer[..]].concat());
        Self::addressed(client, server)
    }

    /// Connected through a third namespace, whose `left` and `right` devices nothing forwards between: that is for the
    /// caller to do.
    pub fn through(middle: &Namespace) -> Pair {
        let (client, server) = (Namespace::new("c"), Namespace::new("s"));
        for (end, device) in [(&client, "left"), (&server, "right")] {
            end.run(&[
                "ip",
                "link",
                "add",
                "veth0",
                "type",
                "veth",
                "peer",
                "name",
                device,
                "netns",
                &middle.name,
            ]);
            middle.run(&["ip", "link", "set", device, "up"]);
        }
        Self::addressed(client, server)
    }

    /// No two pairs share addresses: the agent tells connections by them.
    fn addressed(client: Namespace, server: Namespace) -> Pair {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let net = NEXT.fetch_add(1, Ordering::Relaxed) % 256;
        let [client_address, server_address] =
            [1, 2].map(|end| Ipv4Addr::from(0x0ACB_0000 + (net << 8) + end));
        for (end, address) in [(&client, client_address), (&server, server_address)] {
            end.run(&["ip", "address", "add", &format!("{address}/24"), "dev", "veth0"]);
            end.run(&["ip", "link", "set", "veth0", "up"]);
        }
        Pair { client, server, client_address, server_address }
    }
}
