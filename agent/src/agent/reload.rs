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
use crate::cli::{AgentArgs, say};
use crate::config::{Config, Switch};
use crate::exit::{Exit, Failure};
use crate::export::prometheus::Reload;

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

    async fn reload(&mut self) -> Result<(), Failure> {
        let args = self.args.clone();
        // Roots are read and policies parsed where they keep nobody waiting.
        let read = tokio::task::spawn_blocking(move || {
            let config = args.settle()?;
            let judging = judging(&config)?;
            Ok::<_, Failure>((config, judging))
        });
        let (config, judging) =
            read.await.map_err(|e| Failure::new(Exit::Failure, "read the settings", e))??;
        if let (Some(tls), Some(files)) = (&self.endpoint.tls, &config.metrics.tls) {
            tls.reload(files)?;
        }
        self.endpoint.token.load(config.metrics.bearer_token_file.as_deref())?;
        self.endpoint
            .remote
            .change(move |pipeline| pipeline.reload(judging))
            .await
            .map_err(|e| Failure::new(Exit::Failure, "change the settings", e))?;
        for section in unchanged_until_restart(&self.config, &config) {
            say(&format!("{section}: changes count after a restart"));
        }
        self.config = config;
        Ok(())
    }
}

/// Sections that are read at the start alone, and say something else now.
fn unchanged_until_restart(before: &Config, now: &Config) -> Vec<&'static str> {
    let endpoint = |config: &Config| {
        let mut metrics = config.metrics.clone();
        metrics.bearer_token_file = None;
        // Other files are read; whether there is TLS at all is settled.
        let tls = metrics.tls.take().map(|tls| tls.client_ca.is_some());
        (metrics, tls)
    };
    let sections = [
        ("agent", before.agent != now.agent),
        ("capture", before.capture != now.capture),
        ("kubernetes", before.kubernetes != now.kubernetes),
        ("tls13", before.tls13 != now.tls13),
        ("audit", before.audit != now.audit),
        ("metrics", endpoint(before) != endpoint(now)),
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
             metrics: {listen: \"0.0.0.0:9465\"}\n",
        )
        .expect("config");
        assert_eq!(unchanged_until_restart(&before, &now), ["capture", "audit", "metrics"]);
        assert_eq!(unchanged_until_restart(&before, &before), Vec::<&str>::new());
    }
}
