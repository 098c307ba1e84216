//! Which files there are, and what is in them.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use agent_core::policy::documents::Limits;

use crate::exit::{Exit, Failure};

/// The file name that means standard input.
const STANDARD_INPUT: &str = "-";
/// How deep folders are searched, and how many files are read.
const DEPTH: usize = 16;
const FILES: usize = 10_000;

/// How many files were read, and how many were not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Files {
    pub(in crate::cli) read: u64,
    pub(in crate::cli) unreadable: u64,
}

impl Files {
    /// Reads files and folders, in order of names, and hands on the name and text of each.
    pub(in crate::cli) fn read(
        paths: &[PathBuf],
        limits: &Limits,
        take: &mut dyn FnMut(&str, String),
    ) -> Self {
        let mut files = Files::default();
        for path in paths {
            files.path(path, 0, limits, take);
        }
        files
    }

    /// The exit code that this means.
    pub(super) fn exit(self) -> Exit {
        match (self.read, self.unreadable) {
            (_, 0) => Exit::Ok,
            (0, _) => Exit::InputUnreadable,
            _ => Exit::InputPartlyUnreadable,
        }
    }

    fn path(&mut self, path: &Path, depth: usize, limits: &Limits, take: &mut dyn FnMut(&str, String)) {
        if path.is_dir() {
            return self.folder(path, depth, limits, take);
        }
        let name = path.display().to_string();
        if self.read.saturating_add(self.unreadable) >= FILES as u64 {
            return self.fail(&name, &format!("there are more than {FILES} files"));
        }
        match text(path, limits) {
            // Folders hold other data too.
            Ok(text) if depth > 0 && !names_a_kind(&text) => {}
            Ok(text) => {
                self.read = self.read.saturating_add(1);
                take(&name, text);
            }
            Err(error) => self.fail(&name, &error),
        }
    }

    fn folder(&mut self, folder: &Path, depth: usize, limits: &Limits, take: &mut dyn FnMut(&str, String)) {
        let name = folder.display().to_string();
        if depth >= DEPTH {
            return self.fail(&name, &format!("folders nest deeper than {DEPTH}"));
        }
        let entries = match crate::cli::folder::entries(folder) {
            Ok(entries) => entries,
            Err(error) => return self.fail(&name, &error),
        };
        let is_wanted = |path: &PathBuf| {
            let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
            path.is_dir() || matches!(extension.as_deref(), Some("yaml" | "yml" | "json"))
        };
        for path in entries.into_iter().filter(is_wanted) {
            self.path(&path, depth.saturating_add(1), limits, take);
        }
    }

    fn fail(&mut self, name: &str, cause: &dyn std::fmt::Display) {
        self.unreadable = self.unreadable.saturating_add(1);
        let failure = Failure::new(Exit::InputUnreadable, format!("read {name}"), cause);
        super::super::report(&failure);
    }
}

/// Whether something in a text looks like the kind of a resource, in whatever form: what has none is no policy.
fn names_a_kind(text: &str) -> bool {
    const KEYS: [&str; 8] = [
        "apiVersion",
        "kind",
        "type",
        "metadata",
        "virtualNode",
        "virtualNodeName",
        "virtualGateway",
        "virtualGatewayName",
    ];
    let is_key = |line: &str, key: &str| {
        let quoted = ["\"", "'"].iter().any(|quote| line.contains(&format!("{quote}{key}{quote}")));
        let plain = line.trim_start_matches(['-', ' ', '{']).strip_prefix(key);
        quoted || plain.is_some_and(|rest| rest.trim_start().starts_with(':'))
    };
    text.lines().any(|line| KEYS.iter().any(|key| is_key(line, key)))
}

/// A file's text; a byte more than is read of it at most, so that whoever reads it can tell.
fn text(path: &Path, limits: &Limits) -> io::Result<String> {
    let most = u64::try_from(limits.bytes).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    match path.as_os_str() == STANDARD_INPUT {
        true => io::stdin().lock().take(most).read_to_end(&mut bytes)?,
        false => File::open(path)?.take(most).read_to_end(&mut bytes)?,
    };
    if u64::try_from(bytes.len()).is_ok_and(|n| n >= most) {
        // The cut may be within a character; nothing of it is read anyway.
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "is not UTF-8 text"))
}
