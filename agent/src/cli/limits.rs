//! The bounds of live capture, as options.

use std::path::PathBuf;

use clap::Args;

use crate::config::{Capture, Config};

/// How much is captured, and where.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Limits")]
pub struct CaptureLimits {
    /// Connections observed at the same time; more are counted and left out [default: 65536]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(16..=4_194_304))]
    pub max_connections: Option<u32>,

    /// Memory for events between kernel and tlsight, in bytes; rounded up to a power of two [default: 8388608]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(65_536..=1_073_741_824))]
    pub ring_buffer: Option<u32>,

    /// Plaintext bytes looked at per segment [default: 2048]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(64..=4_096))]
    pub plaintext_segment: Option<u32>,

    /// Plaintext bytes looked at per direction, at most, until the verdict [default: 16384]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(64..=1_048_576))]
    pub plaintext_bytes: Option<u32>,

    /// Bytes of clear TLS records (hellos, certificates) per direction [default: 65536]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1_024..=1_048_576))]
    pub tls_bytes: Option<u32>,

    /// Headers of encrypted TLS records per direction [default: 24]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(4..=1_024))]
    pub encrypted_records: Option<u32>,

    /// Bytes per direction where segments come out of order [default: 65536]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1_024..=1_048_576))]
    pub out_of_order_bytes: Option<u32>,

    /// The cgroup v2 root, where it is not found by itself
    #[arg(long, value_name = "DIR")]
    pub cgroup: Option<PathBuf>,
}

impl CaptureLimits {
    /// What flags, file and defaults come to.
    pub fn over(&self, config: &Config) -> Capture {
        let flags = Capture {
            max_connections: self.max_connections,
            ring_buffer: self.ring_buffer,
            plaintext_segment: self.plaintext_segment,
            plaintext_bytes: self.plaintext_bytes,
            tls_bytes: self.tls_bytes,
            encrypted_records: self.encrypted_records,
            out_of_order_bytes: self.out_of_order_bytes,
            cgroup: self.cgroup.clone(),
        };
        flags.or(&config.capture).settled()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        limits: CaptureLimits,
    }

    #[test]
    fn flags_count_for_more_than_the_file_and_the_file_for_more_than_defaults() {
        let file = Capture { tls_bytes: Some(2048), encrypted_records: Some(9), ..Capture::default() };
        let config = Config { capture: file, ..Config::default() };
        let flags = CaptureLimits { encrypted_records: Some(7), ..CaptureLimits::default() };
        let expected =
            Capture { tls_bytes: Some(2048), encrypted_records: Some(7), ..Capture::default().settled() };
        assert_eq!(flags.over(&config), expected);
    }

    #[test]
    fn help_tells_the_defaults() {
        let settled = serde_json::to_value(Capture::default().settled()).expect("JSON");
        let settled = settled.as_object().expect("object").clone();
        assert_eq!(settled.len(), 7);
        let line = Line::command();
        for (name, default) in settled {
            let arg = line.get_arguments().find(|arg| *arg.get_id() == *name).expect("argument");
            let help = arg.get_help().expect("help").to_string();
            assert!(help.ends_with(&format!("[default: {default}]")), "{help}");
        }
    }
}
