//! `tlsight pcap`: the connections in capture files.

use std::path::PathBuf;

use clap::Args;

use super::output::OutputArgs;
use super::watch::FilterArgs;
use crate::exit::{Exit, Failure};

/// Arguments of `tlsight pcap`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tlsight pcap capture.pcapng                       every connection in the file
  tlsight pcap -o json capture.pcap | jq .          for programs
  tlsight pcap --security plaintext,unknown *.pcap  what is not proven to be encrypted
  tcpdump -i any -w - tcp | tlsight pcap -          from standard input

Reads pcap and pcapng with Ethernet, VLAN, Linux cooked, raw IP, BSD loopback and PPP packets, and looks into GRE, VXLAN,
GENEVE, IP-in-IP and MPLS tunnels. The client counts as the local end. Each file stands alone.")]
pub struct PcapArgs {
    /// Capture files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// How it is printed.
    #[command(flatten)]
    pub output: OutputArgs,

    /// What is shown.
    #[command(flatten)]
    pub filter: FilterArgs,
}

/// Reads the files one after the other.
pub(super) fn run(_args: &PcapArgs) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Failure, "read capture files", "this build has no reader"))
}
