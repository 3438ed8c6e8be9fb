//! The error numbers that end a reply, with Linux's numbers and glibc's texts on every system:
//! scripts compare them.

use std::fmt;
use std::io;

/// An error number as Linux counts them, 1 to 999; a reply shows it as `1NNN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(u16);

impl Errno {
    /// Not allowed, whoever asks.
    pub const EPERM: Self = Self(1);
    /// No such file, plugin or event category.
    pub const ENOENT: Self = Self(2);
    /// Reading a script failed for a reason without a name here.
    pub const EIO: Self = Self(5);
    /// The port, VLAN or endpoint does not exist.
    pub const ENXIO: Self = Self(6);
    /// The command needs a session to answer to, and a start script has none.
    pub const EBADF: Self = Self(9);
    /// No memory.
    pub const ENOMEM: Self = Self(12);
    /// The file may not be read.
    pub const EACCES: Self = Self(13);
    /// The port, the VLAN or the subscription exists.
    pub const EEXIST: Self = Self(17);
    /// The address is not in the table.
    pub const ENODEV: Self = Self(19);
    /// A part of the path is not a directory.
    pub const ENOTDIR: Self = Self(20);
    /// The script is a directory.
    pub const EISDIR: Self = Self(21);
    /// An argument is missing, malformed or out of range.
    pub const EINVAL: Self = Self(22);
    /// The script is too long.
    pub const EFBIG: Self = Self(27);
    /// No port is left.
    pub const ENOSPC: Self = Self(28);
    /// There is no such command.
    pub const ENOSYS: Self = Self(38);
    /// Scripts load one another too deeply, or in a circle.
    pub const ELOOP: Self = Self(40);
    /// The line is longer than [`MAX_LINE`](crate::session::MAX_LINE).
    pub const EMSGSIZE: Self = Self(90);
    /// The command exists, but not what it asks for.
    pub const EOPNOTSUPP: Self = Self(95);
    /// The port or the VLAN is in use.
    pub const EADDRINUSE: Self = Self(98);

    /// The number, as Linux counts.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// What `strerror` of glibc says in English.
    pub const fn text(self) -> &'static str {
        match self {
            Self::EPERM => "Operation not permitted",
            Self::ENOENT => "No such file or directory",
            Self::ENXIO => "No such device or address",
            Self::EBADF => "Bad file descriptor",
            Self::ENOMEM => "Cannot allocate memory",
            Self::EACCES => "Permission denied",
            Self::EEXIST => "File exists",
            Self::ENODEV => "No such device",
            Self::ENOTDIR => "Not a directory",
            Self::EISDIR => "Is a directory",
            Self::EINVAL => "Invalid argument",
            Self::EFBIG => "File too large",
            Self::ENOSPC => "No space left on device",
            Self::ENOSYS => "Function not implemented",
            Self::ELOOP => "Too many levels of symbolic links",
            Self::EMSGSIZE => "Message too long",
            Self::EOPNOTSUPP => "Operation not supported",
            Self::EADDRINUSE => "Address already in use",
            _ => "Input/output error",
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// By kind, not by the system's own number, which differs between systems; what has no counterpart
/// here becomes [`Errno::EIO`].
impl From<io::ErrorKind> for Errno {
    fn from(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::NotFound => Self::ENOENT,
            io::ErrorKind::PermissionDenied => Self::EACCES,
            io::ErrorKind::AlreadyExists => Self::EEXIST,
            io::ErrorKind::NotADirectory => Self::ENOTDIR,
            io::ErrorKind::IsADirectory => Self::EISDIR,
            io::ErrorKind::InvalidInput => Self::EINVAL,
            io::ErrorKind::FileTooLarge => Self::EFBIG,
            io::ErrorKind::StorageFull => Self::ENOSPC,
            io::ErrorKind::AddrInUse => Self::EADDRINUSE,
            io::ErrorKind::Unsupported => Self::EOPNOTSUPP,
            io::ErrorKind::OutOfMemory => Self::ENOMEM,
            _ => Self::EIO,
        }
    }
}
