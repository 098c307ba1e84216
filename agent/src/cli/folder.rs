//! Folders of documents that somebody names on the command line.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a folder holds, in order, without hidden entries: Kubernetes mounts of ConfigMaps have every file twice, once in
/// folders whose names begin with dots. Left out is what is neither file nor folder (opening a pipe would wait for whoever
/// writes to it), and a link to a folder around this one, which has no end.
///
/// # Errors
/// Those of reading the folder.
pub(super) fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries =
        fs::read_dir(folder)?.map(|e| e.map(|e| e.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    entries.retain(|path| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.')));
    let here = fs::canonicalize(folder)?;
    let leads_back = |path: &Path| fs::canonicalize(path).is_ok_and(|real| here.starts_with(real));
    entries.retain(|path| match fs::metadata(path) {
        Ok(found) => found.is_file() || found.is_dir() && !leads_back(path),
        // Whoever reads it says what is wrong.
        Err(_) => true,
    });
    entries.sort();
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_and_links_that_lead_back_are_left_out() {
        let root = std::env::temp_dir().join(format!("tlsight-folder-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let inner = root.join("inner");
        fs::create_dir_all(&inner).unwrap();
        for name in ["b.yaml", "a.yaml", ".hidden"] {
            fs::write(inner.join(name), "").unwrap();
        }
        fs::create_dir(inner.join("more")).unwrap();
        let pipe = inner.join("pipe.yaml");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, inner.join(name)).unwrap();
        link(Path::new("."), "self");
        link(&root, "up");
        link(Path::new("a.yaml"), "linked.yaml");
        link(Path::new("nowhere"), "broken.yaml");
        let found = entries(&inner).unwrap();
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        let names: Vec<String> = found.iter().map(name).collect();
        assert_eq!(names, ["a.yaml", "b.yaml", "broken.yaml", "linked.yaml", "more"]);
        fs::remove_dir_all(&root).unwrap();
    }
}
