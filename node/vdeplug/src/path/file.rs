//! One socket file: bound, given its owner and mode, removed when dropped.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::net::SocketAddrUnix;

/// Who may use a socket file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// A new owner, or the process's own user.
    pub owner: Option<u32>,
    /// A new group, or what the directory gives.
    pub group: Option<u32>,
    /// Mode bits.
    pub mode: u32,
}

/// A socket file that this process made. Dropping it removes the file, unless another has its name by
/// now.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: the name may have come to mean somebody else's socket meanwhile.
    identity: (u64, u64),
}

impl SocketFile {
    /// Binds `socket` to a new file.
    ///
    /// # Errors
    /// What bind(2) says.
    pub fn bind(socket: BorrowedFd<'_>, path: PathBuf) -> io::Result<Self> {
        rustix::net::bind(socket, &SocketAddrUnix::new(&path)?)?;
        let found = fs::symlink_metadata(&path)?;
        Ok(Self { identity: (found.dev(), found.ino()), path })
    }

    /// Sets owner, group and mode, without following a link that took the file's place.
    ///
    /// # Errors
    /// What chown(2) and chmod(2) say, and when another file has its name.
    pub fn admit(&self, ownership: Ownership) -> io::Result<()> {
        let (handle, stat) = pin(&self.path)?;
        if (stat.st_dev, stat.st_ino) != self.identity {
            return Err(io::Error::other("the socket was exchanged while it was set up"));
        }
        let Ownership { owner, group, mode } = ownership;
        if owner.is_some() || group.is_some() {
            let owner = owner.map(Uid::from_raw);
            let group = group.map(Gid::from_raw);
            rustix::fs::chownat(&handle, "", owner, group, AtFlags::EMPTY_PATH)?;
        }
        fs::set_permissions(pinned_path(handle.as_fd()), fs::Permissions::from_mode(mode))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = |found: &fs::Metadata| (found.dev(), found.ino()) == self.identity;
        if fs::symlink_metadata(&self.path).is_ok_and(|found| ours(&found)) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Holds on to the socket file at `path`, so that what is checked is what is then used. A link in
/// its last component is not followed.
///
/// # Errors
/// `InvalidInput` when the file is no socket; otherwise what open(2) says.
pub(crate) fn pin(path: &Path) -> io::Result<(OwnedFd, Stat)> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::open(path, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&handle)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a socket"));
    }
    Ok((handle, stat))
}

/// A path that leads to exactly the pinned file, whatever its name means by now (proc(5)).
pub(crate) fn pinned_path(handle: BorrowedFd<'_>) -> PathBuf {
    format!("/proc/self/fd/{}", handle.as_raw_fd()).into()
}

/// Whether the file itself, not what a link leads to, is a socket.
pub(super) fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}
