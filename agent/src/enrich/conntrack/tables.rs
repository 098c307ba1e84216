//! The kernel's tables of connections: the node's own, and for a moment that of another network namespace.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::super::process::NetworkNamespace;
use super::message::{self, Answer, Entry, Flow};
use super::{Place, State};

/// There when the kernel follows connections at all. Where it does not, asking would load the modules that do.
const LOADED: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
/// Bytes of an answer: about 300 with everything that kernels have to say of a connection.
const ANSWER_LEN: usize = 4096;
/// Answers to earlier questions that are skipped.
const STALE: usize = 16;
/// How often an empty table is counted.
const COUNTED_EVERY: Duration = Duration::from_secs(1);

/// One table.
struct Table {
    network: NetworkNamespace,
    socket: Socket,
}

impl Table {
    /// That of the network namespace that this thread is in.
    fn open(network: NetworkNamespace) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // The kernel answers before `send` returns.
        socket.set_non_blocking(true)?;
        Ok(Self { network, socket })
    }

    fn ask(&self, request: &[u8], sequence: u32) -> io::Result<Answer> {
        self.socket.send(request, 0)?;
        let mut bytes = vec![0; ANSWER_LEN];
        for _ in 0..STALE {
            let len = self.socket.recv(&mut bytes.as_mut_slice(), 0)?;
            match message::answer(bytes.get(..len).unwrap_or_default(), sequence) {
                Some(Answer::Refused(e)) => return Err(e),
                Some(answer) => return Ok(answer),
                None => {}
            }
        }
        Err(io::Error::other("answers to other questions only"))
    }

    fn get(&self, flow: Flow, sequence: u32) -> io::Result<Option<Entry>> {
        match self.ask(&message::get(flow, sequence), sequence)? {
            // What it says is about what was asked, or about nothing.
            Answer::Entry(entry) if entry.original == flow || entry.reply == flow => Ok(Some(entry)),
            _ => Ok(None),
        }
    }

    fn count(&self, sequence: u32) -> io::Result<u32> {
        match self.ask(&message::count(sequence), sequence)? {
            Answer::Count(entries) => Ok(entries),
            _ => Err(io::Error::other("no number of connections")),
        }
    }
}

/// The tables of this node.
pub(super) struct Tables {
    /// Of the agent's own network namespace, and of the host's where that is another.
    node: Vec<Table>,
    /// The agent's own network namespace, to come back to.
    own: Option<File>,
    may_enter: bool,
    sequence: u32,
    counted: Option<Instant>,
    state: State,
}

impl Tables {
    pub(super) fn new() -> Self {
        Self {
            node: Vec::new(),
            own: None,
            may_enter: true,
            sequence: 0,
            counted: None,
            state: State::Unavailable,
        }
    }

    /// Whether there is anything to be asked.
    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Opens the node's tables, if that was not done or had failed.
    ///
    /// # Errors
    /// Why the agent's own cannot be read.
    pub(super) fn open(&mut self) -> io::Result<()> {
        if !self.node.is_empty() {
            return Ok(());
        }
        self.state = State::Unavailable;
        if !Path::new(LOADED).exists() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the kernel does not follow connections"));
        }
        let own = File::open("/proc/thread-self/ns/net")?;
        let network = NetworkNamespace(own.metadata()?.ino());
        let table = Table::open(network)?;
        // Rights, and `nf_conntrack_netlink`, show only now.
        self.sequence = self.sequence.wrapping_add(1);
        table.count(self.sequence)?;
        self.node.push(table);
        self.own = Some(own);
        // In a container with a network of its own the host's table is another one.
        let host = File::open("/proc/1/ns/net").and_then(|file| Ok((file.metadata()?.ino(), file)));
        if let Ok((inode, file)) = host
            && inode != network.0
        {
            let table = self.within(&file, || Table::open(NetworkNamespace(inode)));
            self.node.extend(table.ok());
        }
        self.state = State::InUse;
        Ok(())
    }

    /// Looks a connection up.
    ///
    /// # Errors
    /// When the kernel gave no answer.
    pub(super) fn get(&mut self, place: Place, flow: Flow) -> io::Result<Option<(Entry, NetworkNamespace)>> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        match place {
            Place::Node => {
                for table in &self.node {
                    if let Some(entry) = table.get(flow, sequence)? {
                        self.state = State::InUse;
                        return Ok(Some((entry, table.network)));
                    }
                }
                self.look_whether_empty();
                Ok(None)
            }
            Place::Owner { pid, network } => {
                let is_of_node = self.node.iter().any(|table| table.network == network);
                if is_of_node || !self.may_enter {
                    return Ok(None);
                }
                let Ok(file) = File::open(format!("/proc/{pid}/ns/net")) else { return Ok(None) };
                if file.metadata()?.ino() != network.0 {
                    return Ok(None);
                }
                // Held no longer than this takes: a namespace lives as long as somebody has it open.
                let found = self.within(&file, || Table::open(network)?.get(flow, sequence));
                Ok(found?.map(|entry| (entry, network)))
            }
        }
    }

    /// A table that has nothing in it is not asked for each connection.
    fn look_whether_empty(&mut self) {
        if self.counted.is_some_and(|at| at.elapsed() < COUNTED_EVERY) {
            return;
        }
        self.counted = Some(Instant::now());
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        let is_empty = self.node.iter().all(|table| table.count(sequence).is_ok_and(|entries| entries == 0));
        self.state = if is_empty { State::Empty } else { State::InUse };
    }

    /// How many connections the agent's own table has.
    pub(super) fn count(&mut self) -> io::Result<u32> {
        self.sequence = self.sequence.wrapping_add(1);
        let own = self.node.first().ok_or(io::ErrorKind::NotFound)?;
        own.count(self.sequence)
    }

    /// Does something in another network namespace.
    fn within<T>(&mut self, network: &File, run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let Some(own) = &self.own else { return Err(io::ErrorKind::NotFound.into()) };
        match move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)) {
            Ok(()) => {}
            Err(Errno::PERM) => {
                self.may_enter = false;
                return Err(Errno::PERM.into());
            }
            Err(e) => return Err(e.into()),
        }
        let result = run();
        move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::Network))?;
        result
    }

    /// Closes the tables after an error: they are opened again when they are next wanted.
    pub(super) fn close(&mut self) {
        self.node.clear();
        self.state = State::Unavailable;
    }
}
