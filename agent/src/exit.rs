//! How commands end: exit codes, and errors that say what was being done, to what, and what to try.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// The exit codes of every command. Documented in `tlsight --help`; scripts rely on them, so they never change meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for was done.
    Ok = 0,
    /// An error that none of the others describes.
    Failure = 1,
    /// Wrong arguments.
    Usage = 2,
    /// The input could not be read at all.
    InputUnreadable = 3,
    /// The input is truncated or damaged; what could be read was written.
    InputPartlyUnreadable = 4,
    /// Missing rights (root, or the capabilities that `tlsight check` lists).
    MissingRights = 5,
    /// The kernel lacks something that is required.
    MissingKernelFeature = 6,
    /// The output could not be written (disk full ...). A reader that closed the pipe is not an error: that is `Ok`.
    OutputFailed = 7,
}

impl Exit {
    /// Every exit code, in order.
    pub const ALL: [Exit; 8] = [
        Exit::Ok,
        Exit::Failure,
        Exit::Usage,
        Exit::InputUnreadable,
        Exit::InputPartlyUnreadable,
        Exit::MissingRights,
        Exit::MissingKernelFeature,
        Exit::OutputFailed,
    ];

    /// The code given to the operating system.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What it means, in one line.
    pub const fn meaning(self) -> &'static str {
        match self {
            Exit::Ok => "done (also when the reader of a pipe went away)",
            Exit::Failure => "failed for a reason that none of the others describes",
            Exit::Usage => "wrong arguments",
            Exit::InputUnreadable => "input could not be read at all",
            Exit::InputPartlyUnreadable => "input truncated or damaged; what could be read was written",
            Exit::MissingRights => "missing rights",
            Exit::MissingKernelFeature => "the kernel lacks a required feature",
            Exit::OutputFailed => "output could not be written (disk full ...)",
        }
    }

    /// The table of exit codes for `--help`.
    pub fn help() -> String {
        let mut text = String::from("Exit codes:\n");
        for exit in Exit::ALL {
            text.push_str(&format!("  {}  {}\n", exit.code(), exit.meaning()));
        }
        text
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// Why a command could not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What was being done, and to what: `open capture.pcap`. Follows "cannot".
    pub doing: String,
    /// What went wrong.
    pub cause: String,
    /// What to try.
    pub hint: Option<String>,
}

impl Failure {
    /// Could not do `doing` because of `cause`.
    pub fn new(exit: Exit, doing: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self { exit, doing: doing.into(), cause: cause.to_string(), hint: None }
    }

    /// With a line on what to try.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Writing to `to` failed. A closed pipe is how `tlsight ... | head` ends: quietly, and well.
    pub fn output(to: &str, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Ok, format!("write to {to}"), error);
        }
        let failure = Self::new(Exit::OutputFailed, format!("write to {to}"), error);
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                failure.hint("free some space, or send the output elsewhere")
            }
            _ => failure,
        }
    }

    /// Nothing to tell the user: the reader of our output went away.
    pub fn is_quiet(&self) -> bool {
        self.exit == Exit::Ok
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.doing, self.cause)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  try: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_their_place_in_the_list() {
        for (i, exit) in Exit::ALL.iter().enumerate() {
            assert_eq!(usize::from(exit.code()), i);
        }
    }

    #[test]
    fn closed_pipe_is_no_error() {
        let failure = Failure::output("standard output", &io::ErrorKind::BrokenPipe.into());
        assert_eq!((failure.exit, failure.is_quiet()), (Exit::Ok, true));
    }

    #[test]
    fn full_disk_says_what_to_try() {
        let failure = Failure::output("standard output", &io::ErrorKind::StorageFull.into());
        assert_eq!(failure.exit, Exit::OutputFailed);
        assert_eq!(
            failure.to_string(),
            "cannot write to standard output: no storage space\n  try: free some space, or send the output elsewhere"
        );
    }
}
