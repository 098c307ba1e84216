//! The loop: keys in, screens out, until the person or a signal ends it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::app::App;
use super::source::{Poller, Source};
use super::terminal::{Did, Screen};
use crate::exit::Failure;

/// How long it waits for a key before it looks for news.
const PATIENCE: Duration = Duration::from_millis(100);

/// Shows the view until it is over.
///
/// # Errors
/// [`Failure`] when the terminal cannot be used (any more).
pub fn run(mut app: App, source: Source, stop: &AtomicBool) -> Result<(), Failure> {
    let mut screen = Screen::open()?;
    let poller = Poller::start(source)?;
    let mut is_stale = true;
    while !stop.load(Ordering::Acquire) {
        while let Some(answer) = poller.poll() {
            is_stale = true;
            match answer {
                Ok(snapshot) => app.update(snapshot),
                Err(failure) => app.no_news(failure.to_string().replace('\n', ";")),
            }
        }
        while let Some(message) = screen.message() {
            is_stale = true;
            app.say(message);
        }
        if std::mem::take(&mut is_stale) {
            screen.draw(&mut app)?;
        }
        match screen.wait(PATIENCE)? {
            Did::Key(key) => {
                is_stale = true;
                if !app.key(key) {
                    break;
                }
            }
            Did::Resized => is_stale = true,
            Did::Nothing => {}
        }
    }
    Ok(())
}
