//! Why a switch cannot take its directory.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// A switch cannot serve its directory. Each text says what failed, why, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody answers on the control socket.
    #[error(
        "{} is served already, by {holder}; stop that switch or choose another directory",
        directory.display()
    )]
    Taken {
        /// The directory.
        directory: PathBuf,
        /// Who answers.
        holder: Holder,
    },
    /// Another process is at this very moment starting a switch there.
    #[error(
        "another switch is starting in {}; choose another directory, or try again",
        directory.display()
    )]
    Starting {
        /// The directory.
        directory: PathBuf,
    },
    /// The sockets' paths would not fit in their addresses.
    #[error(
        "directory {} has {len} octets; socket addresses leave room for {limit}, so choose a shorter path",
        directory.display()
    )]
    TooLong {
        /// The directory, as an absolute path.
        directory: PathBuf,
        /// Its length in octets.
        len: usize,
        /// The longest that fits, [`super::MAX_DIRECTORY`].
        limit: usize,
    },
    /// The name belongs to something else.
    #[error("{} exists and is not a directory; remove it or choose another path", path.display())]
    NotADirectory {
        /// The wanted directory.
        path: PathBuf,
    },
    /// The directory is missing and so is the one to make it in.
    #[error("the directory above {} does not exist; create it first", directory.display())]
    NoParent {
        /// The wanted directory.
        directory: PathBuf,
    },
    /// The directory above is none in which others can be made, as those of /proc.
    #[error(
        "no directory can be made in {}, so {} cannot be; choose another place",
        parent.display(),
        directory.display()
    )]
    BarrenParent {
        /// The wanted directory.
        directory: PathBuf,
        /// The one above it.
        parent: PathBuf,
    },
    /// This user has no right to make the directory or sockets in it.
    #[error("no permission to {what} {}; change its owner or mode, or choose a directory of your own", path.display())]
    NotWritable {
        /// What was tried.
        what: &'static str,
        /// With which directory or socket.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file that is no listening socket has the name of the control socket.
    #[error("{} exists and is not a switch's control socket; remove it", path.display())]
    NotAControlSocket {
        /// The file.
        path: PathBuf,
    },
    /// The group is in no database.
    #[error("there is no group {group:?}; create it, or give the number of a group")]
    UnknownGroup {
        /// As it was given.
        group: String,
    },
    /// This user cannot give files to the group.
    #[error("cannot give {} to group {group}; become a member of the group, or run as root", path.display())]
    GroupDenied {
        /// The group's number.
        group: u32,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Anything else.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// The process that answers on a control socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The process that began to listen, if it still lives and is visible from here. A daemon
    /// that went to the background after that is answered for by its dead parent.
    pub pid: Option<i32>,
    /// Its name, as the system tells.
    pub name: Option<String>,
}

impl Holder {
    /// Who is at the other end of a connection, if there is one.
    pub fn at(connection: Option<&OwnedFd>) -> Self {
        let peer = connection.and_then(|fd| rustix::net::sockopt::socket_peercred(fd).ok());
        Self::of(peer.map(|peer| peer.pid.as_raw_nonzero().get()))
    }

    fn of(pid: Option<i32>) -> Self {
        let name_of = |pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok();
        match pid.and_then(|pid| Some((pid, name_of(pid)?))) {
            Some((pid, name)) => Self { pid: Some(pid), name: Some(name.trim_end().to_owned()) },
            None => Self { pid: None, name: None },
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, &self.name) {
            (Some(pid), Some(name)) => write!(f, "process {pid} ({name})"),
            _ => f.write_str("a process that cannot be named"),
        }
    }
}

impl BindError {
    pub(crate) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::NotWritable { what, path, source }
            }
            _ => Self::Io { what, path, source },
        }
    }

    pub(crate) fn from_errno(what: &'static str, path: &Path, errno: Errno) -> Self {
        Self::io(what, path, errno.into())
    }

    pub(crate) fn group(group: u32, path: &Path, source: io::Error) -> Self {
        Self::GroupDenied { group, path: path.to_owned(), source }
    }
}
