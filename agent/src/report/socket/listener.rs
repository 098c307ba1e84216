//! The socket's file: made for its owner alone, taken over from an agent that is gone, removed at the end.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::DEFAULT_PATH;
use crate::exit::{Exit, Failure};

/// Clients that wait to be accepted.
const BACKLOG: i32 = 16;

/// A socket's file that is ours.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// The folder, where it was made for the socket and is not the usual one.
    made: Option<Folder>,
    /// Device and inode: another agent may have made its own since.
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    /// Listens at a path.
    pub(super) fn listen(path: &Path) -> Result<(Self, UnixListener), Failure> {
        let doing = || format!("listen at {}", path.display());
        let fail = |error: io::Error| {
            let exit = match error.kind() {
                io::ErrorKind::PermissionDenied => Exit::MissingRights,
                _ => Exit::Failure,
            };
            Failure::new(exit, doing(), error)
        };
        let mut made = None;
        if let Some(folder) =
            path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        {
            // One level: /run/tlsight, and not whatever a typo names.
            fs::create_dir(folder).map_err(fail)?;
            let is_usual = Path::new(DEFAULT_PATH).parent() == Some(folder);
            made = (!is_usual).then(|| Folder(folder.to_owned()));
        }
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(Failure::new(Exit::Failure, doing(), "there is a file that is no socket")
                    .hint("name another path with --socket"));
            }
            Ok(_) if UnixStream::connect(path).is_ok() => {
                return Err(Failure::new(Exit::Failure, doing(), "another tlsight answers there")
                    .hint("stop it, or name another path with --socket"));
            }
            // Nobody answers: left behind by one that was killed.
            Ok(_) => fs::remove_file(path).map_err(fail)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(fail(error)),
        }
        let listener = bind(path).map_err(fail)?;
        let identity = fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()));
        Ok((Self { path: path.to_owned(), made, identity }, listener))
    }
}

/// A folder that is removed when it is no longer needed and empty.
#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // Whatever else somebody put there is theirs.
        let _ = fs::remove_dir(&self.0);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let now = fs::symlink_metadata(&self.path).ok().map(|found| (found.dev(), found.ino()));
        if now.is_some() && now == self.identity {
            // What cannot be removed is taken over by the next agent.
            let _ = fs::remove_file(&self.path);
        }
        drop(self.made.take());
    }
}

/// The file's mode is the socket's at the time of `bind`, less the umask: nobody else can connect, not even for a moment.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let socket: OwnedFd =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::fs::fchmod(socket.as_fd(), Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_folder_is_left_behind() {
        let folder = std::env::temp_dir().join(format!("tlsight-listener-{}", std::process::id()));
        let (file, listener) = SocketFile::listen(&folder.join("s")).expect("a socket");
        assert!(folder.is_dir());
        drop((file, listener));
        assert!(!folder.exists());
        // The path is too long for a socket: the folder was made in vain.
        let long = folder.join("s".repeat(200));
        assert!(SocketFile::listen(&long).is_err());
        assert!(!folder.exists());
        assert!(SocketFile::listen(&folder.join("deeper/s")).is_err());
        assert!(!folder.exists());
    }
}
