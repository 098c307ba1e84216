//! The bounds of live capture, as options.

use std::path::PathBuf;

use agent_common::CaptureConfig;
use agent_core::engine::EngineConfig;
use clap::Args;

use crate::loader::KernelConfig;

/// How much is captured, and where.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct CaptureLimits {
    /// Connections observed at the same time; more are counted and left out
    #[arg(long, value_name = "N", default_value_t = KernelConfig::default().max_connections,
          value_parser = clap::value_parser!(u32).range(16..=4_194_304))]
    pub max_connections: u32,

    /// Memory for events between kernel and tlsight, in bytes; rounded up to a power of two
    #[arg(long, value_name = "BYTES", default_value_t = KernelConfig::default().ring_bytes,
          value_parser = clap::value_parser!(u32).range(65_536..=1_073_741_824))]
    pub ring_buffer: u32,

    /// Plaintext bytes looked at per segment
    #[arg(long, value_name = "BYTES", default_value_t = CaptureConfig::DEFAULT.plaintext_segment,
          value_parser = clap::value_parser!(u32).range(64..=4_096))]
    pub plaintext_segment: u32,

    /// Plaintext bytes looked at per direction, at most, until the verdict
    #[arg(long, value_name = "BYTES", default_value_t = CaptureConfig::DEFAULT.plaintext_total,
          value_parser = clap::value_parser!(u32).range(64..=1_048_576))]
    pub plaintext_bytes: u32,

    /// Bytes of clear TLS records (hellos, certificates) per direction
    #[arg(long, value_name = "BYTES", default_value_t = CaptureConfig::DEFAULT.clear_total,
          value_parser = clap::value_parser!(u32).range(1_024..=1_048_576))]
    pub tls_bytes: u32,

    /// Headers of encrypted TLS records per direction
    #[arg(long, value_name = "N", default_value_t = CaptureConfig::DEFAULT.encrypted_records,
          value_parser = clap::value_parser!(u32).range(4..=1_024))]
    pub encrypted_records: u32,

    /// Bytes per direction where segments come out of order
    #[arg(long, value_name = "BYTES", default_value_t = CaptureConfig::DEFAULT.raw_total,
          value_parser = clap::value_parser!(u32).range(1_024..=1_048_576))]
    pub out_of_order_bytes: u32,

    /// The cgroup v2 root, where it is not found by itself
    #[arg(long, value_name = "DIR")]
    pub cgroup: Option<PathBuf>,
}

impl CaptureLimits {
    /// The same for the engine, which must not wait for what the kernel side will not send.
    pub fn engine(&self) -> EngineConfig {
        let default = EngineConfig::default();
        EngineConfig {
            max_encrypted_records: default.max_encrypted_records.min(self.encrypted_records),
            ..default
        }
    }

    /// The same for the loader.
    pub fn kernel(&self) -> KernelConfig {
        let ring_bytes = self.ring_buffer.next_power_of_two();
        KernelConfig {
            capture: CaptureConfig {
                plaintext_segment: self.plaintext_segment,
                plaintext_total: self.plaintext_bytes,
                clear_total: self.tls_bytes,
                encrypted_records: self.encrypted_records,
                raw_total: self.out_of_order_bytes,
                // The last eighth is kept for opens and closes.
                ring_data_max: ring_bytes - ring_bytes / 8,
                certificates: 1,
            },
            max_connections: self.max_connections,
            ring_bytes,
            ..KernelConfig::default()
        }
    }
}
