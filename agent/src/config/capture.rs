//! How much is captured of each connection, and how much memory that takes.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use agent_common::CaptureConfig;
use agent_core::engine::EngineConfig;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::loader::KernelConfig;

macro_rules! bounds {
    ($($(#[doc = $doc:literal])+ $name:ident: $range:expr, $default:expr;)*) => {
        /// How much is captured. What is absent is left to the default.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Capture {
            $($(#[doc = $doc])+ #[serde(skip_serializing_if = "Option::is_none")] pub $name: Option<u32>,)*
            /// The cgroup v2 root, where it is not found by itself.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub cgroup: Option<PathBuf>,
        }

        impl Capture {
            /// Every bound with its name, its value, and what it may be.
            fn bounds(&self) -> [(&'static str, Option<u32>, RangeInclusive<u32>); [$(stringify!($name)),*].len()] {
                [$((stringify!($name), self.$name, $range)),*]
            }

            /// These, and where they are absent the others.
            #[must_use]
            pub fn or(&self, other: &Self) -> Self {
                Self {
                    $($name: self.$name.or(other.$name),)*
                    cgroup: self.cgroup.clone().or_else(|| other.cgroup.clone()),
                }
            }

            /// These, and where they are absent the defaults.
            #[must_use]
            pub fn settled(&self) -> Self {
                self.or(&Self { $($name: Some($default),)* cgroup: None })
            }

            $(fn $name(&self) -> u32 {
                self.$name.unwrap_or($default)
            })*
        }
    };
}

bounds! {
    /// Connections observed at the same time.
    max_connections: 16..=4_194_304, 65_536;
    /// Memory for events between kernel and agent, in bytes.
    ring_buffer: 65_536..=1_073_741_824, 8 << 20;
    /// Plaintext bytes looked at per segment.
    plaintext_segment: 64..=4_096, CaptureConfig::DEFAULT.plaintext_segment;
    /// Plaintext bytes looked at per direction, at most, until the verdict.
    plaintext_bytes: 64..=1_048_576, CaptureConfig::DEFAULT.plaintext_total;
    /// Bytes of clear TLS records (hellos, certificates) per direction.
    tls_bytes: 1_024..=1_048_576, CaptureConfig::DEFAULT.clear_total;
    /// Headers of encrypted TLS records per direction.
    encrypted_records: 4..=1_024, CaptureConfig::DEFAULT.encrypted_records;
    /// Bytes per direction where segments come out of order.
    out_of_order_bytes: 1_024..=1_048_576, CaptureConfig::DEFAULT.raw_total;
}

impl Capture {
    /// Fails when a bound is not within what it may be.
    fn check(&self) -> Result<(), String> {
        for (name, value, range) in self.bounds() {
            if let Some(value) = value.filter(|value| !range.contains(value)) {
                return Err(format!("{name}: {value} is not between {} and {}", range.start(), range.end()));
            }
        }
        Ok(())
    }

    /// The same for the engine, which must not wait for what the kernel side will not send.
    pub fn engine(&self) -> EngineConfig {
        let default = EngineConfig::default();
        EngineConfig {
            max_encrypted_records: default.max_encrypted_records.min(self.encrypted_records()),
            ..default
        }
    }

    /// The same for the loader.
    pub fn kernel(&self) -> KernelConfig {
        let ring_bytes = self.ring_buffer().next_power_of_two();
        KernelConfig {
            capture: CaptureConfig {
                plaintext_segment: self.plaintext_segment(),
                plaintext_total: self.plaintext_bytes(),
                clear_total: self.tls_bytes(),
                encrypted_records: self.encrypted_records(),
                raw_total: self.out_of_order_bytes(),
                // The last eighth is kept for opens and closes.
                ring_data_max: ring_bytes - ring_bytes / 8,
                certificates: 1,
            },
            max_connections: self.max_connections(),
            ring_bytes,
            ..KernelConfig::default()
        }
    }
}

/// Bounds within what they may be.
pub(super) fn checked<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Capture, D::Error> {
    let capture = Capture::deserialize(deserializer)?;
    capture.check().map_err(de::Error::custom)?;
    Ok(capture)
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn reads_every_key() {
        let text = "capture:\n  max_connections: 1000\n  ring_buffer: 1048576\n  plaintext_segment: 128\n  \
                    plaintext_bytes: 512\n  tls_bytes: 65536\n  encrypted_records: 8\n  \
                    out_of_order_bytes: 4096\n  cgroup: /sys/fs/cgroup\n";
        let capture = Capture {
            max_connections: Some(1000),
            ring_buffer: Some(1_048_576),
            plaintext_segment: Some(128),
            plaintext_bytes: Some(512),
            tls_bytes: Some(65_536),
            encrypted_records: Some(8),
            out_of_order_bytes: Some(4096),
            cgroup: Some("/sys/fs/cgroup".into()),
        };
        assert_eq!(Config::parse(text), Ok(Config { capture, ..Config::default() }));
    }

    #[test]
    fn a_bound_out_of_its_bounds_is_named() {
        let error = Config::parse("capture:\n  ring_buffer: 12\n").expect_err("too small");
        assert!(error.contains("ring_buffer: 12 is not between 65536 and 1073741824"), "{error}");
    }

    #[test]
    fn defaults_are_those_of_loader_and_engine() {
        let (settled, kernel) = (Capture::default().settled(), KernelConfig::default());
        assert_eq!(settled.max_connections, Some(kernel.max_connections));
        assert_eq!(settled.ring_buffer, Some(kernel.ring_bytes));
        assert_eq!(settled.check(), Ok(()));
    }
}
