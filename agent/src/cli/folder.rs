//! Folders of documents that somebody names on the command line.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a folder holds, in order, without hidden entries: Kubernetes mounts of ConfigMaps have every file twice, once in
/// folders whose names begin with dots.
///
/// # Errors
/// Those of reading the folder.
pub(super) fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries =
        fs::read_dir(folder)?.map(|e| e.map(|e| e.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    entries.retain(|path| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.')));
    entries.sort();
    Ok(entries)
}
