//! The root of the cgroup v2 hierarchy: every socket of the host is below it.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::LoadError;

/// `linux/magic.h`.
const CGROUP2_SUPER_MAGIC: rustix::fs::FsWord = 0x6367_7270;
/// Inode number of the hierarchy's root (`kernfs_create_root` gives the first one).
const ROOT_INODE: u64 = 1;

/// An open cgroup v2 root.
#[derive(Debug)]
pub struct CgroupRoot {
    fd: OwnedFd,
    from: From,
}

#[derive(Debug)]
enum From {
    Mounted(PathBuf),
    /// Mounted by this process without a place in the file system: nothing to clean up.
    Own,
}

impl CgroupRoot {
    /// Opens `path` where given, else the host's cgroup v2 root, else a mount of our own.
    ///
    /// # Errors
    /// [`LoadError::Cgroup`] when there is none.
    pub fn open(path: Option<&Path>) -> Result<Self, LoadError> {
        if let Some(path) = path {
            return Self::at(path).map_err(|e| LoadError::CgroupPath(path.to_owned(), e.to_string()));
        }
        let mountinfo = fs::read_to_string("/proc/self/mountinfo")
            .map_err(|e| LoadError::Cgroup(format!("reading /proc/self/mountinfo: {e}")))?;
        for path in cgroup2_mounts(&mountinfo) {
            if let Ok(root) = Self::at(&path)
                && root.is_of_host()
            {
                return Ok(root);
            }
        }
        let fd = own_mount()
            .map_err(|e| LoadError::Cgroup(format!("none is mounted, and mounting one failed: {e}")))?;
        Ok(Self { fd, from: From::Own })
    }

    fn at(path: &Path) -> io::Result<Self> {
        let dir = File::open(path)?;
        if !dir.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        if rustix::fs::fstatfs(&dir)?.f_type != CGROUP2_SUPER_MAGIC {
            return Err(io::Error::other("not in a cgroup v2 file system"));
        }
        Ok(Self { fd: dir.into(), from: From::Mounted(path.to_owned()) })
    }

    /// Whether everything of the host is below it. A container that has a cgroup namespace finds its own group mounted as
    /// a root, and the host's as something outside of that: the paths in mountinfo say nothing there, the inode does.
    fn is_of_host(&self) -> bool {
        rustix::fs::fstat(&self.fd).is_ok_and(|stat| stat.st_ino == ROOT_INODE)
    }
}

impl AsFd for CgroupRoot {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Display for CgroupRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.from {
            From::Mounted(path) => write!(f, "{}", path.display()),
            From::Own => f.write_str("mounted by tlsight for itself"),
        }
    }
}

/// A cgroup v2 mount that only this process sees (kernel 5.2).
fn own_mount() -> io::Result<OwnedFd> {
    let fs = fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(fs.as_fd())?;
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)?)
}

/// Mount points of cgroup v2 (proc(5), mountinfo: field 5 is the mount point, the type follows a lone dash).
fn cgroup2_mounts(mountinfo: &str) -> Vec<PathBuf> {
    let mount = |line: &str| {
        let (head, tail) = line.split_once(" - ")?;
        let point = head.split(' ').nth(4)?;
        (tail.split(' ').next() == Some("cgroup2")).then(|| PathBuf::from(unescape(point)))
    };
    mountinfo.lines().filter_map(mount).collect()
}

/// Undoes the octal escapes of mountinfo (`\040` for a space).
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once('\\') {
        out.push_str(head);
        match tail.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                out.push('\\');
                rest = tail;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_mount_of_cgroup_v2() {
        let mountinfo = "\
25 20 0:22 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
26 25 0:23 / /sys/fs/cgroup/unified rw,nosuid shared:5 - cgroup2 cgroup2 rw,nsdelegate
27 25 0:24 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
28 25 0:23 /kubepods/x /sys/fs/cgroup/inner rw - cgroup2 cgroup2 rw
29 25 0:23 / /odd\\040place rw - cgroup2 cgroup2 rw
";
        assert_eq!(
            cgroup2_mounts(mountinfo),
            ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/inner", "/odd place"].map(PathBuf::from)
        );
    }

    #[test]
    fn a_folder_that_is_no_root_is_none_of_the_host() {
        let folder = File::open("/proc/self").expect("a folder").into();
        let group = CgroupRoot { fd: folder, from: From::Own };
        assert!(!group.is_of_host());
    }

    #[test]
    fn unescapes_only_whole_octal_escapes() {
        assert_eq!(unescape(r"a\040b\134c\9"), r"a b\c\9");
    }
}
