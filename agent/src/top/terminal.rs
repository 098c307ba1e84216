//! The person's terminal: taken over for as long as the view is shown, and given back as it was, whatever ends it. What is
//! written to standard error meanwhile does not destroy the screen: it is held until the end, and shown in one line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Stdout, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{self, EnterAlternateScreen, LeaveAlternateScreen};
use ratatui::crossterm::{cursor, execute};
use tokio::signal::unix::{SignalKind, signal};

use super::app::App;
use super::state::Key;
use crate::exit::{Exit, Failure};

/// Lines of standard error that are held, and the longest of them in bytes.
const MAX_HELD: usize = 200;
const MAX_LINE: u64 = 4096;

/// What the person did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    /// Pressed a key.
    Key(Key),
    /// Changed the size.
    Resized,
    /// Nothing, for as long as was waited.
    Nothing,
}

/// The terminal, taken over. Dropping gives it back.
#[derive(Debug)]
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    diverted: Option<Diverted>,
}

/// Whether there is a terminal to draw on and to read keys from.
///
/// # Errors
/// [`Failure`] that says what to use where there is none.
pub fn check() -> Result<(), Failure> {
    let refuse = |cause: &str| {
        Err(Failure::new(Exit::Usage, "show a live view", cause).hint(
            "`tlsight top --snapshot 80x24` prints one screen; `tlsight watch` and `tlsight report` write to files and pipes",
        ))
    };
    if !io::stdout().is_terminal() {
        return refuse("standard output is not a terminal");
    }
    if !io::stdin().is_terminal() {
        return refuse("standard input is not a terminal: no keys could be read");
    }
    if std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
        return refuse("TERM is dumb: this terminal cannot move its cursor");
    }
    Ok(())
}

fn failed(error: &io::Error) -> Failure {
    Failure::new(Exit::OutputFailed, "draw on the terminal", error)
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be.
    pub fn open() -> Result<Self, Failure> {
        check()?;
        // From here on dropping it gives everything back, where something fails in between too.
        let mut screen = Self {
            terminal: Terminal::new(CrosstermBackend::new(io::stdout())).map_err(|e| failed(&e))?,
            diverted: io::stderr().is_terminal().then(Diverted::start).and_then(Result::ok),
        };
        terminal::enable_raw_mode().map_err(|e| failed(&e))?;
        execute!(io::stdout(), EnterAlternateScreen, cursor::Hide).map_err(|e| failed(&e))?;
        screen.terminal.clear().map_err(|e| failed(&e))?;
        Ok(screen)
    }

    /// Draws.
    ///
    /// # Errors
    /// [`Failure`] when nothing can be written to the terminal any more.
    pub fn draw(&mut self, app: &mut App) -> Result<(), Failure> {
        let draw = |frame: &mut ratatui::Frame<'_>| {
            let area = frame.area();
            app.draw(frame.buffer_mut(), area);
        };
        self.terminal.draw(draw).map(drop).map_err(|e| failed(&e))
    }

    /// Waits for the person, but no longer than that.
    ///
    /// # Errors
    /// [`Failure`] when nothing can be read from the terminal any more.
    pub fn wait(&self, patience: Duration) -> Result<Did, Failure> {
        let failed = |error: io::Error| Failure::new(Exit::InputUnreadable, "read keys", error);
        if !event::poll(patience).map_err(failed)? {
            return Ok(Did::Nothing);
        }
        Ok(did(&event::read().map_err(failed)?))
    }

    /// What somebody wrote to standard error since the last time.
    pub fn message(&self) -> Option<String> {
        self.diverted.as_ref().and_then(|diverted| diverted.lines.try_recv().ok())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
        drop(self.diverted.take());
    }
}

/// Gives the terminal back as it was. Nobody is left to tell where that fails.
fn restore() {
    let _ = execute!(io::stdout(), cursor::Show, LeaveAlternateScreen);
    let _ = terminal::disable_raw_mode();
}

fn did(event: &Event) -> Did {
    let Event::Key(key) = event else {
        return if matches!(event, Event::Resize(..)) { Did::Resized } else { Did::Nothing };
    };
    if key.kind == KeyEventKind::Release {
        return Did::Nothing;
    }
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    Did::Key(match key.code {
        KeyCode::Char('c') if is_control => Key::Interrupt,
        KeyCode::Char(_) if is_control => return Did::Nothing,
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Backspace => Key::Backspace,
        _ => return Did::Nothing,
    })
}

/// Standard error, led into a pipe.
#[derive(Debug)]
struct Diverted {
    before: OwnedFd,
    lines: Receiver<String>,
    reader: Option<JoinHandle<Vec<String>>>,
}

impl Diverted {
    fn start() -> io::Result<Self> {
        let before = io::stderr().as_fd().try_clone_to_owned()?;
        let (from, to) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let (say, lines) = channel();
        let reader = thread::Builder::new().name("messages".to_owned()).spawn(move || read(from, &say))?;
        rustix::stdio::dup2_stderr(&to)?;
        Ok(Self { before, lines, reader: Some(reader) })
    }
}

impl Drop for Diverted {
    fn drop(&mut self) {
        // The last writer's end goes with it, and with that the reader.
        if rustix::stdio::dup2_stderr(&self.before).is_err() {
            return;
        }
        let held = self.reader.take().and_then(|reader| reader.join().ok()).unwrap_or_default();
        let mut out = io::stderr();
        for line in held {
            let _ = writeln!(out, "{line}");
        }
    }
}

fn read(from: OwnedFd, say: &Sender<String>) -> Vec<String> {
    let (mut held, mut left_out) = (Vec::new(), 0_u64);
    let mut from = BufReader::new(File::from(from));
    loop {
        let mut line = Vec::new();
        match from.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(1..) => {}
            Ok(0) | Err(_) => break,
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if held.len() >= MAX_HELD {
            left_out += 1;
            continue;
        }
        // Who draws may be gone.
        let _ = say.send(line.clone());
        held.push(line);
    }
    if left_out > 0 {
        held.push(format!("tlsight: {left_out} more messages were left out"));
    }
    held
}

/// Becomes true when a signal says stop: the terminal is given back before the process ends.
///
/// # Errors
/// [`Failure`] when signals cannot be listened for.
pub fn stop_on_signals() -> Result<Arc<AtomicBool>, Failure> {
    let failed = |error: io::Error| Failure::new(Exit::Failure, "listen for signals", error);
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (mut interrupt, mut terminate, mut hangup, mut quit) = {
        let _inside = runtime.enter();
        let listen = |kind| signal(kind).map_err(failed);
        (
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
            listen(SignalKind::quit())?,
        )
    };
    let wait = move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
                _ = quit.recv() => {}
            }
        });
        flag.store(true, Ordering::Release);
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).map_err(failed)?;
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::KeyEvent;

    use super::*;

    #[test]
    fn keys_of_the_terminal_become_keys() {
        let key = |code, modifiers| did(&Event::Key(KeyEvent::new(code, modifiers)));
        assert_eq!(key(KeyCode::Char('G'), KeyModifiers::SHIFT), Did::Key(Key::Char('G')));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Did::Key(Key::Interrupt));
        assert_eq!(key(KeyCode::Char('z'), KeyModifiers::CONTROL), Did::Nothing);
        assert_eq!(key(KeyCode::F(1), KeyModifiers::NONE), Did::Nothing);
        assert_eq!(did(&Event::Resize(3, 2)), Did::Resized);
    }

    #[test]
    fn what_is_held_of_standard_error_is_bounded() {
        let (from, to) = rustix::pipe::pipe().expect("a pipe");
        let (say, said) = channel();
        let reader = thread::spawn(move || read(from, &say));
        let mut to = File::from(to);
        for n in 0..500 {
            writeln!(to, "line {n}").expect("written");
        }
        drop(to);
        let held = reader.join().expect("read");
        assert_eq!(held.len(), MAX_HELD + 1);
        assert_eq!(held.last().map(String::as_str), Some("tlsight: 300 more messages were left out"));
        assert_eq!(said.iter().count(), MAX_HELD);
    }
}
