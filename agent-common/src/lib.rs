//! The ABI between the BPF programs (`agent-ebpf`) and the user-space agent (`agent`).
//!
//! Every event in the ring buffer starts with an [`EventHeader`]. User space checks `abi` and `kind`, then the length, and
//! only then reads the rest field by field with the readers in [`read`]: nothing is transmuted before its tag was checked.
//! All integers are in the byte order of the host; addresses are network order bytes, IPv4 as IPv4-mapped IPv6.
#![no_std]

pub mod event;
pub mod read;
pub mod state;

pub use event::*;
pub use state::*;

/// Version of everything in this crate that crosses the kernel boundary. Raise it with every change of a layout; a BPF
/// object and an agent of different versions refuse each other.
pub const ABI_VERSION: u16 = 2;
