//! A file that lines are appended to: rotated when it is large, opened anew when somebody renamed or removed it, and
//! never with half a line in it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Nobody but its owner may read who talked to whom.
const MODE: u32 = 0o600;
/// `O_NONBLOCK`: a named pipe without a reader is an error, not a reason to wait for one.
const FLAGS: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// When a file gives way to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes that a file may have; `None`: somebody else rotates.
    pub max_size: Option<u64>,
    /// Files that are kept besides the one that is written: `NAME.1` is the youngest.
    pub keep: u32,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { max_size: Some(100 << 20), keep: 5 }
    }
}

/// What happened to the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FileCounters {
    pub(super) rotations: u64,
    pub(super) rotation_errors: u64,
    /// Times that it was opened again because it was no longer under its name, or because somebody asked.
    pub(super) reopened: u64,
}

/// The file.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    rotation: Rotation,
    open: Option<Open>,
    /// Rotating failed: the file grows on until it is this large.
    grows_to: u64,
    counters: FileCounters,
}

#[derive(Debug)]
struct Open {
    file: File,
    device: u64,
    inode: u64,
    size: u64,
    /// A pipe or a terminal has no size, and is never renamed.
    is_regular: bool,
    /// The last line was cut, and could not be taken back.
    is_torn: bool,
}

impl LogFile {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let mut log = Self {
            path: path.to_owned(),
            rotation,
            open: None,
            grows_to: 0,
            counters: FileCounters::default(),
        };
        log.open = Some(open(path)?);
        Ok(log)
    }

    pub(super) fn counters(&self) -> FileCounters {
        self.counters
    }

    /// Appends a line, its end included: all of it or, when this fails, nothing.
    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        self.rotate_before(length);
        let path = &self.path;
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(open(path)?),
        };
        if open.is_torn {
            open.write(b"\n")?;
            open.is_torn = false;
        }
        open.write(line)
    }

    /// Opens the file anew when it is no longer under its name: renamed by logrotate, or removed.
    pub(super) fn follow(&mut self) {
        let Some(open) = &self.open else { return };
        if !open.is_regular {
            return;
        }
        let is_same = fs::metadata(&self.path).is_ok_and(|m| m.dev() == open.device && m.ino() == open.inode);
        if !is_same {
            self.reopen();
        }
    }

    /// Opens the file anew, when the next line comes.
    pub(super) fn reopen(&mut self) {
        self.open = None;
        self.counters.reopened += 1;
    }

    fn rotate_before(&mut self, length: u64) {
        let (Some(most), Some(open)) = (self.rotation.max_size, &self.open) else { return };
        let after = open.size.saturating_add(length);
        if !open.is_regular || open.size == 0 || after <= most || after <= self.grows_to {
            return;
        }
        match shift(&self.path, self.rotation.keep) {
            Ok(()) => {
                self.open = None;
                self.grows_to = 0;
                self.counters.rotations += 1;
            }
            Err(_) => {
                // Rather too large than lost; and not tried again with every line.
                self.grows_to = after.saturating_add(most);
                self.counters.rotation_errors += 1;
            }
        }
    }
}

impl Open {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        let mut rest = bytes;
        let result = loop {
            match self.file.write(rest) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    written += n;
                    rest = rest.get(n..).unwrap_or_default();
                    if rest.is_empty() {
                        break Ok(());
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => break Err(e),
            }
        };
        let all = self.size.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
        if result.is_ok() {
            self.size = all;
        } else if written > 0 {
            // Half a line would be read as damage. It is taken back unless somebody else wrote behind it.
            let is_last = self.is_regular && self.file.metadata().is_ok_and(|m| m.len() == all);
            if !is_last || self.file.set_len(self.size).is_err() {
                self.size = all;
                self.is_torn = true;
            }
        }
        result
    }
}

fn open(path: &Path) -> io::Result<Open> {
    let file = OpenOptions::new().append(true).create(true).mode(MODE).custom_flags(FLAGS).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() || metadata.file_type().is_block_device() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "is not a file that lines can be appended to",
        ));
    }
    let is_regular = metadata.is_file();
    let size = if is_regular { metadata.len() } else { 0 };
    let is_torn = size > 0 && !ends_with_line(path);
    Ok(Open { file, device: metadata.dev(), inode: metadata.ino(), size, is_regular, is_torn })
}

/// Whoever wrote the file last may have been stopped in the middle of a line.
fn ends_with_line(path: &Path) -> bool {
    let last = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut byte = [0];
        file.read_exact(&mut byte)?;
        io::Result::Ok(byte == *b"\n")
    };
    // A file that may be written and not read is taken to be whole.
    last().unwrap_or(true)
}

/// `NAME` becomes `NAME.1`, that `NAME.2`, and so on; the one after the last that is kept is removed.
fn shift(path: &Path, keep: u32) -> io::Result<()> {
    if keep == 0 {
        return fs::remove_file(path);
    }
    for n in (1..keep).rev() {
        match fs::rename(numbered(path, n), numbered(path, n + 1)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    fs::rename(path, numbered(path, 1))
}

fn numbered(path: &Path, n: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::tests::Folder;
    use super::*;

    fn text(path: impl AsRef<Path>) -> String {
        fs::read_to_string(path).unwrap()
    }

    fn rotation(max_size: u64, keep: u32) -> Rotation {
        Rotation { max_size: Some(max_size), keep }
    }

    #[test]
    fn only_its_owner_may_read_it() {
        let folder = Folder::new("mode");
        let path = folder.path("audit.log");
        LogFile::open(&path, Rotation::default()).unwrap().append(b"a\n").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(text(&path), "a\n");
    }

    #[test]
    fn appends_to_what_is_there_and_leaves_its_mode_alone() {
        let folder = Folder::new("append");
        let path = folder.path("audit.log");
        fs::write(&path, "old\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        LogFile::open(&path, Rotation::default()).unwrap().append(b"new\n").unwrap();
        assert_eq!(text(&path), "old\nnew\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
    }

    #[test]
    fn rotates_by_size_and_keeps_so_many() {
        let folder = Folder::new("rotate");
        let path = folder.path("audit.log");
        let mut log = LogFile::open(&path, rotation(8, 2)).unwrap();
        for line in ["aaa\n", "bbb\n", "ccc\n", "ddd\n", "eee\n", "fff\n", "ggg\n"] {
            log.append(line.as_bytes()).unwrap();
        }
        assert_eq!(text(&path), "ggg\n");
        assert_eq!(text(folder.path("audit.log.1")), "eee\nfff\n");
        assert_eq!(text(folder.path("audit.log.2")), "ccc\nddd\n");
        assert!(!folder.path("audit.log.3").exists());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(log.counters(), FileCounters { rotations: 3, ..FileCounters::default() });
    }

    #[test]
    fn a_line_longer_than_a_file_has_a_file_of_its_own() {
        let folder = Folder::new("long");
        let path = folder.path("audit.log");
        let mut log = LogFile::open(&path, rotation(4, 1)).unwrap();
        for line in ["longer than four\n", "and another\n"] {
            log.append(line.as_bytes()).unwrap();
        }
        assert_eq!(text(&path), "and another\n");
        assert_eq!(text(folder.path("audit.log.1")), "longer than four\n");
    }

    #[test]
    fn nothing_is_kept_where_nobody_wants_it() {
        let folder = Folder::new("none");
        let path = folder.path("audit.log");
        let mut log = LogFile::open(&path, rotation(4, 0)).unwrap();
        log.append(b"aaa\n").unwrap();
        log.append(b"bbb\n").unwrap();
        assert_eq!(text(&path), "bbb\n");
        assert_eq!(fs::read_dir(folder.path("")).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_rotated_grows_and_loses_nothing() {
        let folder = Folder::new("stuck");
        let path = folder.path("audit.log");
        // A folder that is not empty cannot be replaced by a file.
        fs::create_dir_all(folder.path("audit.log.1/x")).unwrap();
        let mut log = LogFile::open(&path, rotation(8, 1)).unwrap();
        for _ in 0..4 {
            log.append(b"aaa\n").unwrap();
        }
        assert_eq!(text(&path), "aaa\n".repeat(4));
        // Not tried with every line.
        assert_eq!(log.counters(), FileCounters { rotation_errors: 1, ..FileCounters::default() });
    }

    #[test]
    fn a_renamed_file_is_left_and_a_new_one_made() {
        let folder = Folder::new("renamed");
        let path = folder.path("audit.log");
        let mut log = LogFile::open(&path, Rotation::default()).unwrap();
        log.append(b"one\n").unwrap();
        log.follow();
        fs::rename(&path, folder.path("moved")).unwrap();
        // Nothing is lost between the rename and the look.
        log.append(b"two\n").unwrap();
        log.follow();
        log.append(b"three\n").unwrap();
        assert_eq!(text(folder.path("moved")), "one\ntwo\n");
        assert_eq!(text(&path), "three\n");
        assert_eq!(log.counters().reopened, 1);
    }

    #[test]
    fn a_removed_file_is_made_again() {
        let folder = Folder::new("removed");
        let path = folder.path("audit.log");
        let mut log = LogFile::open(&path, Rotation::default()).unwrap();
        log.append(b"one\n").unwrap();
        fs::remove_file(&path).unwrap();
        log.follow();
        log.append(b"two\n").unwrap();
        assert_eq!(text(&path), "two\n");
    }

    #[test]
    fn a_line_that_somebody_left_half_written_is_ended() {
        let folder = Folder::new("torn");
        let path = folder.path("audit.log");
        fs::write(&path, "{\"half").unwrap();
        let mut log = LogFile::open(&path, Rotation::default()).unwrap();
        log.append(b"{}\n").unwrap();
        assert_eq!(text(&path), "{\"half\n{}\n");
    }

    #[test]
    fn a_full_disk_leaves_no_half_line() {
        // The size that a process may give files stands in for the disk's; it is the whole test binary's, so that this
        // runs in a process of its own.
        if std::env::var_os("TLSIGHT_TEST_FULL").is_none() {
            let test = "audit::file::tests::a_full_disk_leaves_no_half_line";
            let status = std::process::Command::new("bash")
                .args(["-c", "ulimit -f 1; trap '' XFSZ; exec \"$0\" --exact \"$1\""])
                .arg(std::env::current_exe().unwrap())
                .arg(test)
                .env("TLSIGHT_TEST_FULL", "1")
                .stdout(std::process::Stdio::null())
                .status()
                .unwrap();
            assert!(status.success());
            return;
        }
        let folder = Folder::new("full");
        let path = folder.path("audit.log");
        let mut log = LogFile::open(&path, rotation(1 << 20, 1)).unwrap();
        let line = format!("{}\n", "x".repeat(99));
        // bash counts in units of 1024 bytes.
        for _ in 0..10 {
            log.append(line.as_bytes()).unwrap();
        }
        assert_eq!(log.append(line.as_bytes()).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(text(&path), line.repeat(10));
        fs::write(&path, "").unwrap();
        log.reopen();
        log.append(b"again\n").unwrap();
        assert_eq!(text(&path), "again\n");
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let folder = Folder::new("kind");
        assert!(LogFile::open(&folder.path(""), Rotation::default()).is_err());
        assert!(LogFile::open(&folder.path("no/such/audit.log"), Rotation::default()).is_err());
        // Devices take lines and are not rotated.
        let mut null = LogFile::open(Path::new("/dev/null"), rotation(1, 1)).unwrap();
        null.append(b"aaa\n").unwrap();
        null.append(b"bbb\n").unwrap();
        null.follow();
        assert_eq!(null.counters(), FileCounters::default());
    }
}
