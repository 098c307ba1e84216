//! Reading settings anew while the agent runs: policies, rules, thresholds, authorities, the endpoint's certificate and token.
//! Where something is wrong, everything stays as it was.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::signal::unix::Signal;
use tokio::time::{MissedTickBehavior, interval};

use super::files::{self, Files};
use super::http::Endpoint;
use super::judging;
use super::systemd;
use super::tls::Shown;
use super::token::Secret;
use crate::cli::{AgentArgs, say};
use crate::config::{Config, Switch};
use crate::exit::{Exit, Failure};
use crate::export::prometheus::Reload;
use crate::judging::Judging;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What became of reloads.
#[derive(Debug)]
pub(super) struct Reloads {
    is_good: AtomicBool,
    /// Unix time of the last good one, in milliseconds.
    good_at: AtomicU64,
    good: AtomicU64,
    failed: AtomicU64,
}

impl Reloads {
    /// The settings that the agent starts with were good.
    pub(super) fn new() -> Self {
        Self {
            is_good: AtomicBool::new(true),
            good_at: AtomicU64::new(unix_time()),
            good: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    fn done(&self, good: bool) {
        self.is_good.store(good, Ordering::Relaxed);
        if good {
            self.good_at.store(unix_time(), Ordering::Relaxed);
        }
        let n = if good { &self.good } else { &self.failed };
        n.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the last one was good, and when one last was.
    pub(super) fn last(&self) -> Reload {
        let good_at = Duration::from_millis(self.good_at.load(Ordering::Relaxed));
        Reload { successful: self.is_good.load(Ordering::Relaxed), success_timestamp: good_at.as_secs_f64() }
    }

    /// All by name.
    pub(super) fn named(&self) -> Vec<(String, u64)> {
        [("reload.done", &self.good), ("reload.failed", &self.failed)]
            .map(|(name, n)| (name.to_owned(), n.load(Ordering::Relaxed)))
            .into()
    }
}

fn unix_time() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Reads settings anew when told to, and when files changed.
pub(super) struct Reloader {
    pub(super) args: AgentArgs,
    pub(super) config: Config,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) reloads: Arc<Reloads>,
}

impl Reloader {
    /// Goes on for as long as it is polled.
    pub(super) async fn run(mut self, mut hangup: Signal) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut paths = self.paths();
        let mut known = Files::look(&paths);
        let mut changed: Option<Files> = None;
        loop {
            tokio::select! {
                told = hangup.recv() => if told.is_none() { return },
                _ = look.tick() => {
                    if self.config.agent.reload == Some(Switch::Off) {
                        continue;
                    }
                    let now = Files::look(&paths);
                    if now == known {
                        changed = None;
                        continue;
                    }
                    // Whoever writes them may be in the middle of it.
                    if changed.as_ref() != Some(&now) {
                        changed = Some(now);
                        continue;
                    }
                }
            }
            systemd::tell(systemd::Word::Reloading);
            let result = self.reload().await;
            self.reloads.done(result.is_ok());
            match result {
                Ok(()) => say("settings read anew"),
                Err(failure) => say(&format!("settings stay as they were: {failure}")),
            }
            systemd::tell(systemd::Word::Ready);
            paths = self.paths();
            known = Files::look(&paths);
            changed = None;
        }
    }

    fn paths(&self) -> Vec<PathBuf> {
        files::of(&self.config, self.args.config.config.as_deref())
    }

    /// Everything is read before anything is changed.
    async fn reload(&mut self) -> Result<(), Failure> {
        let args = self.args.clone();
        // Roots are read, policies parsed, and slow disks waited for where that keeps nobody waiting.
        let read = tokio::task::spawn_blocking(move || Read::all(&args));
        let read = read.await.map_err(|e| Failure::new(Exit::Failure, "read the settings", e))??;
        let Read { config, judging, tls, token } = read;
        self.endpoint
            .remote
            .change(move |pipeline| pipeline.reload(judging))
            .await
            .map_err(|e| Failure::new(Exit::Failure, "change the settings", e))?;
        if let (Some(current), Some(tls)) = (&self.endpoint.tls, tls) {
            current.set(tls);
        }
        self.endpoint.token.set(token);
        for section in unchanged_until_restart(&self.config, &config) {
            say(&format!("{section}: changes count after a restart"));
        }
        self.config = config;
        Ok(())
    }
}

/// What files, environment and flags say now.
struct Read {
    config: Config,
    judging: Judging,
    tls: Option<Shown>,
    token: Secret,
}

impl Read {
    fn all(args: &AgentArgs) -> Result<Self, Failure> {
        let config = args.settle()?;
        can_be_read_again(&config)?;
        Ok(Self {
            judging: judging(&config)?,
            tls: config.metrics.tls.as_ref().map(Shown::read).transpose()?,
            token: Secret::read(config.metrics.bearer_token_file.as_deref())?,
            config,
        })
    }
}

/// What came from standard input is there no more: without those policies, other things would be expected than before.
fn can_be_read_again(config: &Config) -> Result<(), Failure> {
    match config.policy.files.iter().any(|path| path.as_os_str() == "-") {
        true => {
            Err(Failure::new(Exit::InputUnreadable, "read the policies", "standard input was read before"))
        }
        false => Ok(()),
    }
}

/// Sections that are read at the start alone, and say something else now.
fn unchanged_until_restart(before: &Config, now: &Config) -> Vec<&'static str> {
    let endpoint = |config: &Config| {
        let mut metrics = config.metrics.clone();
        metrics.bearer_token_file = None;
        // Other files are read; whether there is TLS at all is settled.
        let has_tls = metrics.tls.take().is_some();
        (metrics, has_tls)
    };
    let sections = [
        ("agent", before.agent != now.agent),
        ("capture", before.capture != now.capture),
        ("kubernetes", before.kubernetes != now.kubernetes),
        ("tls13", before.tls13 != now.tls13),
        ("audit", before.audit != now.audit),
        ("metrics", endpoint(before) != endpoint(now)),
        ("otlp", before.otlp != now.otlp),
    ];
    sections.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_which_sections_need_a_restart() {
        let before = Config::default();
        let now = Config::parse(
            "capture: {max_connections: 1000}\naudit: {log: a.log}\npolicy: {files: [a]}\n\
             metrics: {listen: \"0.0.0.0:9465\"}\notlp: {endpoint: \"http://collector:4318\"}\n",
        )
        .expect("config");
        assert_eq!(unchanged_until_restart(&before, &now), ["capture", "audit", "metrics", "otlp"]);
        assert_eq!(unchanged_until_restart(&before, &before), Vec::<&str>::new());
    }

    #[test]
    fn clients_that_have_to_show_a_certificate_from_now_on_need_no_restart() {
        let config = |tls: &str| Config::parse(&format!("metrics: {{tls: {{{tls}}}}}\n")).expect("config");
        let (without, with) =
            (config("certificate: a, key: b"), config("certificate: a, key: b, client_ca: c"));
        assert_eq!(unchanged_until_restart(&without, &with), Vec::<&str>::new());
        assert_eq!(unchanged_until_restart(&Config::default(), &with), ["metrics"]);
    }

    #[test]
    fn policies_from_standard_input_stay_as_they_are() {
        let config = |file: &str| Config::parse(&format!("policy: {{files: [{file}]}}\n")).expect("config");
        let failure = can_be_read_again(&config("a.yaml, \"-\"")).expect_err("standard input");
        assert_eq!(failure.to_string(), "cannot read the policies: standard input was read before");
        assert_eq!(can_be_read_again(&config("a.yaml")).map_err(|e| e.to_string()), Ok(()));
    }
}
