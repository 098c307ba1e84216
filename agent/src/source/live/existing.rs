//! Connections and listeners that were there before the agent: from `sock_diag`, in every network namespace, and their
//! processes from procfs. Sockets are named by their cookie there, as they are in the BPF programs.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use agent_common::tcp_state;
use agent_core::event::Process;
use agent_core::net::{ConnId, Endpoint, FiveTuple, Side};
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::process;

/// Network namespaces looked into; a host with more is named in `problems`.
const MAX_NAMESPACES: usize = 4096;
/// Sockets taken from one namespace and family.
const MAX_SOCKETS: usize = 1 << 20;

/// A connection that was there before.
pub(super) struct Connection {
    pub(super) id: ConnId,
    pub(super) tuple: FiveTuple,
    pub(super) local_side: Option<Side>,
    pub(super) process: Option<Arc<Process>>,
}

/// What was there before.
#[derive(Default)]
pub(super) struct Existing {
    pub(super) connections: Vec<Connection>,
    /// Listening sockets by cookie.
    pub(super) listeners: Vec<(u64, Arc<Process>)>,
    /// What could not be read.
    pub(super) problems: Vec<String>,
}

/// Lists connections, listeners and their processes.
pub(super) fn scan() -> Existing {
    let mut out = Existing::default();
    let sockets = sockets(&mut out.problems);
    let mut owners = Owners::scan();
    for namespace in sockets {
        let listening: HashSet<u16> = namespace
            .iter()
            .filter(|s| s.header.state == tcp_state::LISTEN)
            .map(|s| s.header.socket_id.source_port)
            .collect();
        for socket in namespace {
            let id = &socket.header.socket_id;
            let process = owners.of(socket.header.inode);
            if socket.header.state == tcp_state::LISTEN {
                out.listeners.extend(process.map(|p| (cookie(id), p)));
                continue;
            }
            // Accepted sockets share their port with a listener, unless that is gone; then who is who is not known.
            let local_side = if listening.contains(&id.source_port) { Some(Side::Server) } else { None };
            out.connections.push(Connection {
                id: ConnId(cookie(id)),
                tuple: FiveTuple {
                    local: Endpoint::new(id.source_address, id.source_port),
                    peer: Endpoint::new(id.destination_address, id.destination_port),
                },
                local_side,
                process,
            });
        }
    }
    infer_clients(&mut out.connections);
    out
}

/// Where the other end is on this host too and is the server, this end is the client.
fn infer_clients(connections: &mut [Connection]) {
    let servers: HashSet<FiveTuple> =
        connections.iter().filter(|c| c.local_side == Some(Side::Server)).map(|c| c.tuple).collect();
    for c in connections {
        let turned = FiveTuple { local: c.tuple.peer, peer: c.tuple.local };
        if c.local_side.is_none() && servers.contains(&turned) {
            c.local_side = Some(Side::Client);
        }
    }
}

/// Cookies of all connections that are open now; `None` when not all namespaces could be read, so that nothing follows from
/// an absence.
pub(super) fn open_cookies() -> Option<HashSet<u64>> {
    let mut problems = Vec::new();
    let all = sockets(&mut problems);
    problems.is_empty().then(|| all.iter().flatten().map(|s| cookie(&s.header.socket_id)).collect())
}

/// `idiag_cookie` is two 32-bit words, the low one first, each in host order.
fn cookie(id: &SocketId) -> u64 {
    let [a, b, c, d, e, f, g, h] = id.cookie;
    u64::from(u32::from_ne_bytes([a, b, c, d])) | u64::from(u32::from_ne_bytes([e, f, g, h])) << 32
}

/// Whether the kernel lists sockets at all.
///
/// # Errors
/// What the kernel said; `NotFound` where it lacks `tcp_diag`.
pub(crate) fn try_listing() -> io::Result<()> {
    dump().map(drop)
}

/// Processes that have a TCP connection, or listen for one.
pub(crate) fn tcp_processes() -> BTreeSet<u32> {
    let existing = scan();
    let connected = existing.connections.iter().filter_map(|c| c.process.as_ref());
    connected.chain(existing.listeners.iter().map(|(_, p)| p)).map(|p| p.pid).collect()
}

/// One namespace's sockets an element.
fn sockets(problems: &mut Vec<String>) -> Vec<Vec<InetResponse>> {
    let namespaces = namespaces(problems);
    // A thread of its own, because it moves from namespace to namespace and none of the others must.
    let walk = thread::spawn(move || {
        let mut all = Vec::new();
        let mut problems = Vec::new();
        for (name, ns) in namespaces {
            let entered = match &ns {
                Some(ns) => move_into_link_name_space(ns.as_fd(), Some(LinkNameSpaceType::Network))
                    .map_err(io::Error::from),
                None => Ok(()),
            };
            match entered.and_then(|()| dump()) {
                Ok(sockets) => all.push(sockets),
                Err(e) => problems.push(format!("listing the sockets of network namespace {name}: {e}")),
            }
        }
        (all, problems)
    });
    match walk.join() {
        Ok((all, more)) => {
            problems.extend(more);
            all
        }
        Err(_) => {
            problems.push("listing sockets: the thread ended early".to_owned());
            Vec::new()
        }
    }
}

/// Every network namespace that has a process or a name. The agent's own comes first and needs no entering.
fn namespaces(problems: &mut Vec<String>) -> Vec<(String, Option<File>)> {
    let own = fs::metadata("/proc/self/ns/net").map(|m| m.ino()).unwrap_or(0);
    let mut seen = HashSet::from([own]);
    let mut all = vec![("of tlsight".to_owned(), None)];
    let mut paths: Vec<PathBuf> = pids().map(|pid| PathBuf::from(format!("/proc/{pid}/ns/net"))).collect();
    paths.extend(fs::read_dir("/run/netns").into_iter().flatten().flatten().map(|e| e.path()));
    for path in paths {
        // Gone since, or not ours to see: then its sockets are not either.
        let Ok(inode) = fs::metadata(&path).map(|m| m.ino()) else { continue };
        if !seen.insert(inode) {
            continue;
        }
        if all.len() >= MAX_NAMESPACES {
            problems.push(format!("more than {MAX_NAMESPACES} network namespaces; the rest were left out"));
            break;
        }
        match File::open(&path) {
            Ok(file) => all.push((path.display().to_string(), Some(file))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => problems.push(format!("opening {}: {e}", path.display())),
        }
    }
    all
}

fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok())
}

fn dump() -> io::Result<Vec<InetResponse>> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut all = Vec::new();
    for (family, socket_id) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
        dump_family(&socket, family, socket_id, &mut all)?;
    }
    Ok(all)
}

fn dump_family(
    socket: &Socket,
    family: u8,
    socket_id: SocketId,
    all: &mut Vec<InetResponse>,
) -> io::Result<()> {
    let states = [
        tcp_state::ESTABLISHED,
        tcp_state::FIN_WAIT1,
        tcp_state::FIN_WAIT2,
        tcp_state::CLOSE_WAIT,
        tcp_state::LISTEN,
    ];
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::from_bits_truncate(states.iter().fold(0, |bits, s| bits | 1 << s)),
        socket_id,
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        if read(&datagram, all)? {
            return Ok(());
        }
    }
}

/// Adds what a datagram of the kernel has; true where it is the last.
fn read(datagram: &[u8], all: &mut Vec<InetResponse>) -> io::Result<bool> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest).map_err(io::Error::other)?;
        match message.payload {
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(e) => {
                if let Some(code) = e.code {
                    // Negative, and any number: the least of all has no opposite.
                    return Err(io::Error::from_raw_os_error(code.get().saturating_neg()));
                }
            }
            NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(r)) if all.len() < MAX_SOCKETS => {
                all.push(*r)
            }
            _ => {}
        }
        // Messages are padded to four bytes.
        let len = usize::try_from(message.header.length).unwrap_or(usize::MAX).max(4);
        rest = rest.get(len.checked_next_multiple_of(4).unwrap_or(usize::MAX)..).unwrap_or_default();
    }
    Ok(false)
}

/// The parser of the kernel's answers, for the fuzz target `netlink`.
#[cfg(fuzzing)]
pub(super) fn fuzz(bytes: &[u8]) {
    let _ = read(bytes, &mut Vec::new());
}

/// Processes by the inodes of their sockets.
struct Owners {
    pids: HashMap<u32, u32>,
    processes: HashMap<u32, Option<Arc<Process>>>,
}

impl Owners {
    fn scan() -> Self {
        let mut owners = HashMap::new();
        for pid in pids() {
            for fd in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
                let Ok(target) = fs::read_link(fd.path()) else { continue };
                let inode =
                    target.to_str().and_then(|t| t.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
                if let Some(inode) = inode {
                    // Shared after a fork: the older process, which opened it, has the lower id (mostly).
                    owners.entry(inode).and_modify(|p: &mut u32| *p = pid.min(*p)).or_insert(pid);
                }
            }
        }
        Self { pids: owners, processes: HashMap::new() }
    }

    fn of(&mut self, inode: u32) -> Option<Arc<Process>> {
        let pid = *self.pids.get(&inode)?;
        self.processes.entry(pid).or_insert_with(|| process::read(pid).map(Arc::new)).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn lists_a_connection_of_this_process_at_both_ends() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let client = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        let local = client.local_addr().expect("address");
        let peer = server.local_addr().expect("address");
        let found = scan();
        let end = |a: std::net::SocketAddr, b: std::net::SocketAddr| {
            let tuple =
                FiveTuple { local: Endpoint::new(a.ip(), a.port()), peer: Endpoint::new(b.ip(), b.port()) };
            let c = found.connections.iter().find(|c| c.tuple == tuple).expect("listed");
            (c.local_side, c.process.as_ref().map(|p| p.pid))
        };
        let me = Some(std::process::id());
        assert_eq!(end(local, peer), (Some(Side::Client), me));
        assert_eq!(end(peer, local), (Some(Side::Server), me));
        assert!(found.listeners.iter().any(|(_, p)| Some(p.pid) == me));
    }
}
