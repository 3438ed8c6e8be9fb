//! The switch's directory: how it is made, who may enter, which sockets lie in it, and how they
//! go away again, also those that a crash left behind.
//!
//! Two rules keep a directory that others may write to from being turned against the switch.
//! Modes and owners are changed through a descriptor that does not follow links, and only a
//! socket that is still the one this process made is ever removed.

mod error;
mod file;
mod leftovers;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Gid, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::geteuid;

pub use error::{BindError, Holder};
pub use file::{Ownership, SocketFile};
pub(crate) use file::{pin, pinned_path};
pub use leftovers::{Probe, probe};

use crate::address::MAX_PATH;

/// The name of the control socket in its directory.
pub const CONTROL_NAME: &str = "ctl";

/// The longest name that any socket in the directory can have: a client's `.PID-N` with the
/// highest process number of Linux, 4194304, and N of five digits.
pub const LONGEST_NAME: usize = 14;

/// The longest directory whose sockets' paths all fit in an address.
pub const MAX_DIRECTORY: usize = MAX_PATH - 1 - LONGEST_NAME;

/// Access to the directory and to the sockets in it, as mode bits of chmod(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modes {
    /// Of each socket; read and write for whoever may plug in.
    pub socket: u32,
    /// Of the directory. The set-group-ID bit lets new sockets inherit the directory's group.
    pub directory: u32,
}

impl Modes {
    /// VDE's rules: each of the two is derived from the other one where that alone is given.
    /// Default: sockets 0600, directory 02700, both for the switch's own user only.
    pub fn resolve(socket: Option<u32>, directory: Option<u32>) -> Self {
        let searchable = |mode: u32| mode | (mode & 0o444) >> 2 | (mode & 0o222) >> 1;
        let (socket, directory) = match (socket, directory) {
            (None, None) => (0o600, 0o2700),
            (Some(socket), None) => (socket, 0o2000 | searchable(socket & 0o777)),
            (None, Some(directory)) => (directory & 0o666, directory),
            (Some(socket), Some(directory)) => (socket, directory),
        };
        Self { socket: socket & 0o777, directory: directory & 0o7777 }
    }
}

/// Who may use a directory and the sockets in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access {
    pub(crate) modes: Modes,
    /// The group that directory and sockets are given to.
    pub(crate) group: Option<u32>,
    /// Whether the operator asked for any of it, or all is default.
    pub(crate) explicit: bool,
}

/// The number of a group given by name or number.
///
/// # Errors
/// [`BindError::UnknownGroup`], [`BindError::Io`] when the group database cannot be read.
pub(crate) fn resolve_group(group: &str) -> Result<u32, BindError> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    crate::sys::group_id(group)
        .map_err(|source| BindError::Io {
            what: "read the group database for",
            path: group.into(),
            source,
        })?
        .ok_or_else(|| BindError::UnknownGroup { group: group.to_owned() })
}

/// A switch's directory. Removed when dropped, if it is empty then and a switch made it.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    handle: OwnedFd,
    /// Whether it goes away with the switch.
    remove: bool,
}

impl Directory {
    /// Makes the directory or takes an existing one, and locks it against a second switch that
    /// starts at the same moment. The lock ends with [`Directory::unlock`].
    pub(crate) fn prepare(path: &Path, access: Access) -> Result<Self, BindError> {
        // Clients have another working directory. Links stay: the short path of a link may fit
        // where the long one of its target does not.
        let path = std::path::absolute(path).map_err(|e| BindError::io("find", path, e))?;
        let len = path.as_os_str().as_bytes().len();
        if len > MAX_DIRECTORY {
            return Err(BindError::TooLong { directory: path, len, limit: MAX_DIRECTORY });
        }
        let created = create(&path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(&path, flags, Mode::empty())
            .map_err(|errno| BindError::from_errno("open", &path, errno))?;
        match rustix::fs::flock(&handle, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(BindError::Starting { directory: path }),
            // A file system without locks loses only this protection.
            Err(errno) => tracing::debug!(path = %path.display(), err = %errno, "no lock"),
        }
        let directory = Self { path, handle, remove: created };
        // An existing directory stays as its owner made it, unless a mode or group was asked for
        // and it serves nothing but a switch: `--sock /tmp` must never close /tmp.
        if created || access.explicit && directory.is_ours_alone() {
            directory.admit(access)?;
        }
        Ok(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory will be removed at the end although it was there at the beginning: a dead
    /// switch's control socket showed that one had made it.
    pub(crate) fn inherit(&mut self) {
        self.remove = true;
    }

    /// Removes what dead clients and a dead switch left.
    pub(crate) fn sweep(&self) {
        leftovers::sweep(&self.path);
    }

    /// Lets another switch try; it will find this one answering.
    pub(crate) fn unlock(&self) {
        let _ = rustix::fs::flock(&self.handle, FlockOperation::Unlock);
    }

    fn is_ours_alone(&self) -> bool {
        let owned =
            rustix::fs::fstat(&self.handle).is_ok_and(|stat| stat.st_uid == geteuid().as_raw());
        if !owned {
            tracing::warn!(path = %self.path.display(), "directory belongs to another user; its mode stays");
        }
        owned
            && fs::read_dir(&self.path).is_ok_and(|mut entries| {
                entries.all(|entry| entry.is_ok_and(|e| leftovers::is_switch_name(&e.file_name())))
            })
    }

    fn admit(&self, access: Access) -> Result<(), BindError> {
        if let Some(group) = access.group {
            rustix::fs::fchown(&self.handle, None, Some(Gid::from_raw(group)))
                .map_err(|errno| BindError::group(group, &self.path, errno.into()))?;
        }
        // After the owner: chown(2) clears the set-group-ID bit.
        rustix::fs::fchmod(&self.handle, Mode::from_raw_mode(access.modes.directory))
            .map_err(|errno| BindError::from_errno("set the mode of", &self.path, errno))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        /// Clients that were let in just now may still make their sockets; one has to be very quick
        /// to do so more often than this.
        const ATTEMPTS: usize = 8;
        self.sweep();
        if !self.remove {
            return;
        }
        for _ in 0..ATTEMPTS {
            match fs::remove_dir(&self.path) {
                Err(err) if err.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    leftovers::sweep_all(&self.path);
                }
                // What is left in it, or what keeps it, should stay.
                _ => return,
            }
        }
    }
}

/// Makes the directory, closed to others until its mode is set. Returns whether it was missing.
fn create(path: &Path) -> Result<bool, BindError> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match fs::metadata(path) {
            Ok(found) if found.is_dir() => {
                let owner = found.uid();
                if owner != geteuid().as_raw() && owner != 0 {
                    // The owner of a directory can exchange whatever lies in it.
                    tracing::warn!(path = %path.display(), owner, "directory belongs to another user");
                }
                Ok(false)
            }
            _ => Err(BindError::NotADirectory { path: path.to_owned() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = path.to_owned();
            Err(match path.parent().filter(|parent| parent.is_dir()) {
                Some(parent) => BindError::BarrenParent { directory, parent: parent.to_owned() },
                None => BindError::NoParent { directory },
            })
        }
        Err(error) => Err(BindError::io("create", path, error)),
    }
}

#[cfg(test)]
mod tests;
