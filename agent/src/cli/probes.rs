//! Options of the probes in TLS libraries.

use std::time::Duration;

use clap::Args;

use crate::config::{Config, Switch, Tls13, parse_duration};
use crate::discovery::Options;

/// Peer certificates in TLS 1.3.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Certificates in TLS 1.3")]
pub struct ProbeArgs {
    /// Probe TLS libraries (OpenSSL, GnuTLS, Go) for the certificates that TLS 1.3 encrypts [default: on]
    #[arg(long, value_name = "on|off", env = "TLSIGHT_TLS13_CERTIFICATES")]
    pub tls13_certificates: Option<Switch>,

    /// Take the probes out of a library that nobody has used for this long [default: 60s]
    #[arg(long, value_name = "TIME", env = "TLSIGHT_TLS13_DETACH_AFTER", value_parser = parse_duration)]
    pub tls13_detach_after: Option<Duration>,
}

impl ProbeArgs {
    /// What flags, environment, file and defaults come to, as a file says it.
    pub fn settle(&self, file: Tls13) -> Tls13 {
        Tls13 {
            certificates: self.tls13_certificates.or(file.certificates).or(Some(Switch::On)),
            detach_after: self
                .tls13_detach_after
                .or(file.detach_after)
                .or(Some(Options::default().detach_after)),
        }
    }

    /// What flags, environment, file and defaults come to; `None`: no probes.
    pub fn over(&self, config: &Config) -> Option<Options> {
        // clap has put the environment in place of a flag that is absent.
        let switch = self.tls13_certificates.or(config.tls13.certificates).unwrap_or(Switch::On);
        let default = Options::default();
        let detach_after = self.tls13_detach_after.or(config.tls13.detach_after);
        let options = Options { detach_after: detach_after.unwrap_or(default.detach_after), ..default };
        (switch == Switch::On).then_some(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_count_for_more_than_the_file_and_the_file_for_more_than_defaults() {
        let seconds = |n| Some(Duration::from_secs(n));
        let file = |certificates, detach_after| Config {
            tls13: Tls13 { certificates, detach_after },
            ..Config::default()
        };
        let args =
            |tls13_certificates, tls13_detach_after| ProbeArgs { tls13_certificates, tls13_detach_after };
        let after = |args: ProbeArgs, config| args.over(&config).map(|options| options.detach_after);
        assert_eq!(after(args(None, None), file(None, None)), seconds(60));
        assert_eq!(after(args(None, None), file(None, seconds(5))), seconds(5));
        assert_eq!(after(args(None, seconds(7)), file(None, seconds(5))), seconds(7));
        assert_eq!(after(args(None, None), file(Some(Switch::Off), None)), None);
        assert_eq!(after(args(Some(Switch::On), None), file(Some(Switch::Off), None)), seconds(60));
        assert_eq!(after(args(Some(Switch::Off), None), file(Some(Switch::On), None)), None);
    }
}
