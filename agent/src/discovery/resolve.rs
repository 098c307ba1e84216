//! From a mapping to the very file that is mapped: also one that was deleted or replaced since, and one in a container.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};

use super::FileKey;
use super::maps;
use super::record::Mapping;

/// What tells whether a file is still what it was when it was inspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stamp {
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) modified: (i64, i64),
    /// Cannot be set back by whoever writes to the file.
    pub(super) changed: (i64, i64),
}

impl Stamp {
    /// The stamp of an open file.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        file.metadata().map(|m| Self::from(&m))
    }
}

impl From<&Metadata> for Stamp {
    fn from(m: &Metadata) -> Self {
        Self {
            inode: m.ino(),
            size: m.len(),
            modified: (m.mtime(), m.mtime_nsec()),
            changed: (m.ctime(), m.ctime_nsec()),
        }
    }
}

/// Whether a mapping can be code of a file at all: the kernel gives the vdso, anonymous memory and the like names that are
/// no paths, or no inode number. Shared memory (`/memfd:x`, `/SYSV00000000`, `/dev/zero`) has both, and its names are no
/// proof: a file can be called so too, in a container at least. So it is looked into like any other, which costs one look at
/// its first bytes; a library that was loaded from a memfd is found that way.
pub(super) fn is_file(mapping: &Mapping) -> bool {
    // A path that is longer than the kernel's buffer comes as `//toolong`.
    mapping.key.inode != 0 && mapping.path.as_os_str().as_bytes().starts_with(b"/")
}

/// The stamp of the file that a process maps, without opening it: by its name as we see it, which is what nearly all
/// mappings of a host have, and by the mapping itself.
pub(super) fn stamp(pid: u32, mapping: &Mapping) -> Option<Stamp> {
    let by_name = std::fs::metadata(&mapping.path).ok().filter(|m| is_key_of(m, mapping.key));
    by_name.or_else(|| std::fs::metadata(by_address(pid, mapping)).ok()).map(|m| Stamp::from(&m))
}

/// Opens the file that a process maps; `None` when it is gone before it could be looked at, or hidden.
pub(super) fn open(pid: u32, mapping: &Mapping) -> Option<File> {
    // The mapping itself leads to the file, whatever became of its name since.
    if let Ok(file) = regular(&by_address(pid, mapping)) {
        return Some(file);
    }
    // The region was split since (mprotect), or map_files may not be followed (that takes CAP_SYS_ADMIN or, from 5.9,
    // CAP_CHECKPOINT_RESTORE).
    let now = maps::of_process(pid).ok().and_then(|all| all.into_iter().find(|m| m.key == mapping.key));
    if let Some(file) = now.and_then(|now| regular(&by_address(pid, &now)).ok()) {
        return Some(file);
    }
    // By name, as the process itself sees it, and as the executable; and as the host does, for a process that has ended
    // already, since another may run the same program next. Names move on, so the inode has to be the same.
    let named = mapping.path.strip_prefix("/").unwrap_or(&mapping.path);
    let of_process = Path::new("/proc").join(pid.to_string());
    [
        of_process.join("root").join(named),
        of_process.join("exe"),
        Path::new("/proc/1/root").join(named),
        mapping.path.clone(),
    ]
    .into_iter()
    .filter_map(|path| regular(&path).ok())
    .find(|file| is_same(file, mapping.key))
}

/// A process's executable.
pub(super) fn executable(pid: u32) -> Option<(File, PathBuf)> {
    let link = PathBuf::from(format!("/proc/{pid}/exe"));
    let path = std::fs::read_link(&link).ok()?;
    Some((regular(&link).ok()?, path))
}

/// Device and inode of an open file, as fstat gives them.
pub(super) fn key_of(file: &File) -> io::Result<FileKey> {
    file.metadata().map(|m| key(&m))
}

fn key(m: &Metadata) -> FileKey {
    let (major, minor) = (rustix::fs::major(m.dev()), rustix::fs::minor(m.dev()));
    FileKey { major, minor, inode: m.ino() }
}

/// Whether a file is on an overlay file system, which gives one file a number per mount.
pub(super) fn is_overlay(file: &File) -> bool {
    const OVERLAYFS_SUPER_MAGIC: i64 = 0x794c_7630;
    rustix::fs::fstatfs(file).is_ok_and(|fs| fs.f_type == OVERLAYFS_SUPER_MAGIC)
}

fn by_address(pid: u32, mapping: &Mapping) -> PathBuf {
    format!("/proc/{pid}/map_files/{:x}-{:x}", mapping.start, mapping.end).into()
}

/// File systems of their own make (btrfs subvolumes, overlays) show another device in stat(2) than in the mapping: it has
/// the major number 0 then.
fn is_same(file: &File, key: FileKey) -> bool {
    file.metadata().is_ok_and(|m| is_key_of(&m, key))
}

fn is_key_of(m: &Metadata, wanted: FileKey) -> bool {
    let key = key(m);
    key.inode == wanted.inode && (key == wanted || key.major == 0)
}

/// Opens a regular file for reading, and nothing else: a name in a container may lead to a device or a pipe by now, whose
/// mere opening does something. So it is looked at first.
fn regular(path: &Path) -> io::Result<File> {
    let at = rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let at = File::from(at);
    if !at.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let nonblocking = OFlags::NONBLOCK | OFlags::NOCTTY;
    File::options()
        .read(true)
        .custom_flags(nonblocking.bits().cast_signed())
        .open(format!("/proc/self/fd/{}", at.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_executable() -> Mapping {
        let exe = std::env::current_exe().expect("own executable");
        let maps = maps::of_process(std::process::id()).expect("own mappings");
        maps.into_iter().find(|m| m.path == exe).expect("mapped")
    }

    #[test]
    fn opens_what_is_mapped_by_address_by_name_and_as_the_executable() {
        let pid = std::process::id();
        let mapping = own_executable();
        let inode = Stamp::of(&open(pid, &mapping).expect("by address")).expect("fstat").inode;
        assert_eq!(inode, mapping.key.inode);
        let elsewhere = Mapping { start: 1, end: 2, ..mapping.clone() };
        assert!(open(pid, &elsewhere).is_some());
        let nameless = Mapping { path: "/no/such/file".into(), ..elsewhere };
        assert!(open(pid, &nameless).is_some());
        assert_eq!(executable(pid).map(|(_, path)| path), std::env::current_exe().ok());
    }

    #[test]
    fn opens_no_other_file_of_that_name() {
        let mapping = own_executable();
        let other = Mapping { key: FileKey { inode: mapping.key.inode + 1, ..mapping.key }, ..mapping };
        let moved = Mapping { start: 1, end: 2, ..other };
        assert!(open(std::process::id(), &moved).is_none());
    }

    #[test]
    fn opens_what_a_process_mapped_that_is_gone() {
        // Larger than any pid_max (2^22).
        assert!(open(5_000_000, &own_executable()).is_some());
    }

    #[test]
    fn a_stamp_is_had_by_name_or_by_address_without_opening() {
        let (pid, mapping) = (std::process::id(), own_executable());
        let expected = Stamp::of(&open(pid, &mapping).expect("opened")).ok();
        assert_eq!(stamp(5_000_000, &mapping), expected);
        let renamed = Mapping { path: "/proc/1/stat".into(), ..mapping };
        assert!(
            [expected, None].contains(&stamp(pid, &renamed)),
            "map_files may not be followed without rights"
        );
        assert_eq!(stamp(5_000_000, &renamed), None);
    }

    #[test]
    fn opens_no_devices() {
        assert!(regular(Path::new("/dev/null")).is_err());
        assert!(regular(Path::new("/proc")).is_err());
    }

    #[test]
    fn memory_without_a_file_is_told_by_its_name() {
        let named = |path: &str| Mapping { path: path.into(), ..own_executable() };
        for path in ["[vdso]", "", "anon_inode:x"] {
            assert!(!is_file(&named(path)), "{path}");
        }
        // What kernels call their own memory, people may call their files and folders.
        for path in
            ["/usr/lib/libssl.so.3", "/SYSVhide/libssl.so.3", "/SYSV00000000", "/dev/zeroes/x", "/memfd:x"]
        {
            assert!(is_file(&named(path)), "{path}");
        }
        let anonymous = Mapping { key: FileKey { major: 0, minor: 0, inode: 0 }, ..named("/x") };
        assert!(!is_file(&anonymous));
    }
}
