//! What the agent tells systemd, where that started it as a service of `Type=notify` (sd_notify(3)).

use std::time::Duration;

use sd_notify::NotifyState;

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Every new connection is seen.
    Ready,
    /// Settings are read anew.
    Reloading,
    /// The end has begun.
    Stopping,
    /// The capture answered a moment ago.
    Alive,
}

/// Tells it. Nobody listens where systemd did not start the agent.
pub(super) fn tell(word: Word) {
    let _ = match word {
        Word::Ready => sd_notify::notify(&[NotifyState::Ready, NotifyState::Status("watching")]),
        Word::Reloading => match NotifyState::monotonic_usec_now() {
            Ok(now) => sd_notify::notify(&[NotifyState::Reloading, now]),
            Err(_) => sd_notify::notify(&[NotifyState::Reloading]),
        },
        Word::Stopping => sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status("stopping")]),
        Word::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
    };
}

/// How often systemd wants to hear that the agent is alive (`WatchdogSec=`): twice in the time after which it acts.
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}
