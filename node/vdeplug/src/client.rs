//! The client's side of the dialogue: from a switch's directory to a plug.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{geteuid, getpid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::address::{ADDRESS_LEN, AddressError, UnixAddress};
use crate::path::{BindError, CONTROL_NAME, Ownership, SocketFile, resolve_group};
use crate::plug::{DEFAULT_SEND_BUFFER, PeerCredentials, Plug};
use crate::request::{Description, Kind, MAX_PORT, Request};
use crate::server::data_socket;

/// How long a switch may take for its answer. Some switches neither answer nor close when they
/// dislike a request.
pub const REPLY_DEADLINE: Duration = Duration::from_secs(5);

/// Where libvdeplug looks for a switch when it is not told, after the user's own default.
const DEFAULT_SWITCHES: [&str; 3] = ["/var/run/vde.ctl/ctl", "/tmp/vde.ctl/ctl", "/tmp/vde.ctl"];

/// A user's own default below the home directory, usually a link to a switch's directory.
const HOME_SWITCHES: [&str; 2] = [".vde2/default.switch", ".vde2/stdsock"];

/// Where a data socket goes when the switch's directory is not writable, in libvdeplug's order.
const FALLBACK_DIRECTORIES: [&str; 3] = ["/var/run", "/var/tmp", "/tmp"];

/// How many names to try in one directory; libvdeplug has no limit.
const NAME_ATTEMPTS: u32 = 1000;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// Names the program in the switch's list of ports; user and process number are appended as
    /// libvdeplug does, and all is cut to 128 octets.
    pub description: String,
    /// A port of the switch or its management port. Default: a port.
    pub kind: Kind,
    /// The port's number, 1 to [`MAX_PORT`]. Default: the switch chooses.
    pub port: Option<u32>,
    /// Group of the data socket, by name or number. Default: derived from the owner of the
    /// control socket, so that the switch can reach it.
    pub group: Option<String>,
    /// Mode of the data socket. Default 0700.
    pub mode: u32,
    /// As [`crate::ServerConfig::send_buffer`], for the frames to the switch.
    pub send_buffer: usize,
}

impl ClientOptions {
    /// Any port, everything default.
    pub fn new(description: impl Into<String>) -> Self {
        Self {
            description: description.into(),
            kind: Kind::Plug,
            port: None,
            group: None,
            mode: 0o700,
            send_buffer: DEFAULT_SEND_BUFFER,
        }
    }
}

/// No plug was to be had. Each text says what failed, why, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing listens in any of the places where libvdeplug looks for the default switch.
    #[error("no default switch answers; name the directory of one")]
    NoDefaultSwitch,
    /// Nothing listens there.
    #[error("no switch answers at {}; start one, or name its directory", path.display())]
    NoSwitch {
        /// The control socket.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// This user may not connect.
    #[error("no permission to use the switch at {}; its owner can allow it by mode or group", path.display())]
    Forbidden {
        /// The control socket.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The switch closed the connection instead of answering. The protocol gives no reason.
    #[error(
        "the switch at {} refused; the port may be in use or not allowed; a vdenode counts the reasons in vdecable status",
        path.display()
    )]
    Refused {
        /// The control socket.
        path: PathBuf,
    },
    /// Neither answer nor refusal within [`REPLY_DEADLINE`].
    #[error(
        "the switch at {} does not answer; it may hang, or lack the port asked for, which some \
         switches do not say",
        path.display()
    )]
    NoAnswer {
        /// The control socket.
        path: PathBuf,
    },
    /// The answer is no address of a socket.
    #[error("what answers at {} is not a switch", path.display())]
    BadReply {
        /// The control socket.
        path: PathBuf,
        /// What is wrong with it.
        source: AddressError,
    },
    /// The port number does not fit in a request.
    #[error("port {0} is out of range; ports are numbered 1 to {MAX_PORT}")]
    PortOutOfRange(u32),
    /// The group cannot be used.
    #[error(transparent)]
    Group(BindError),
    /// This end failed.
    #[error("cannot {what}")]
    Local {
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

impl ConnectError {
    fn local(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Local { what, source }
    }
}

/// Plugs into the switch at `switch`: its directory, its control socket, or, when `None`, the
/// user's or the system's default switch as libvdeplug looks for it.
///
/// Needs a tokio runtime. Nothing of this client remains in the file system once it is connected.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect(switch: Option<&Path>, options: ClientOptions) -> Result<Plug, ConnectError> {
    if let Some(port) = options.port
        && !(1..=MAX_PORT).contains(&port)
    {
        return Err(ConnectError::PortOutOfRange(port));
    }
    let group = options.group.as_deref().map(resolve_group).transpose();
    let group = group.map_err(ConnectError::Group)?;
    let (mut control, path) = find(switch).await?;
    let peer = PeerCredentials::of(&control).map_err(ConnectError::local("identify the switch"))?;
    let data = data_socket(options.send_buffer).map_err(ConnectError::local("make a socket"))?;
    let file = bind_data(data.as_fd(), &path)?;
    file.admit(ownership(&path, options.mode, group))
        .map_err(ConnectError::local("set the mode of the data socket"))?;

    let identity = format!("user={} pid={}", geteuid().as_raw(), getpid().as_raw_nonzero());
    let description = Description::new(&format!("{} {identity}", options.description));
    let address = UnixAddress::from_path(file.path()).expect("a bound path fits");
    let request = Request { kind: options.kind, port: options.port, address, description };
    let reply = tokio::time::timeout(REPLY_DEADLINE, ask(&mut control, &request)).await;
    let reply = match reply {
        Ok(Ok(reply)) => reply,
        // A switch that refuses may not have read the request; then this end is reset.
        Ok(Err(_closed)) => return Err(ConnectError::Refused { path }),
        Err(_elapsed) => return Err(ConnectError::NoAnswer { path }),
    };
    let bad = |source| ConnectError::BadReply { path: path.clone(), source };
    let target = UnixAddress::parse(&reply).map_err(bad)?;
    let target = target.to_socket().map_err(ConnectError::local("use the switch's address"))?;
    rustix::net::connect(&data, &target).map_err(|errno| {
        ConnectError::local("connect to the switch's data socket")(errno.into())
    })?;
    // The switch has connected by now, so the name has served its purpose.
    drop(file);
    Plug::new(data, control, peer, request.description, None)
        .map_err(ConnectError::local("watch the data socket"))
}

/// Sends the request and reads the 110 octets of the reply.
async fn ask(control: &mut UnixStream, request: &Request) -> io::Result<[u8; ADDRESS_LEN]> {
    control.write_all(&request.encode()).await?;
    let mut reply = [0; ADDRESS_LEN];
    control.read_exact(&mut reply).await?;
    Ok(reply)
}

/// Connects to the first control socket that answers; returns its absolute path too.
async fn find(switch: Option<&Path>) -> Result<(UnixStream, PathBuf), ConnectError> {
    let candidates = match switch {
        Some(switch) => vec![switch.join(CONTROL_NAME), switch.to_owned()],
        None => default_candidates(std::env::var_os("HOME")),
    };
    let mut failure: Option<ConnectError> = None;
    for path in candidates {
        let path = std::path::absolute(&path).unwrap_or(path);
        match UnixStream::connect(&path).await {
            Ok(stream) => return Ok((stream, path)),
            Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
                failure = Some(ConnectError::Forbidden { path, source });
            }
            Err(source) => {
                // The first candidate's reason says most.
                failure.get_or_insert(ConnectError::NoSwitch { path, source });
            }
        }
    }
    match (switch, failure.expect("there is at least one candidate")) {
        (None, ConnectError::NoSwitch { .. }) => Err(ConnectError::NoDefaultSwitch),
        (_, failure) => Err(failure),
    }
}

/// The control sockets of the default switch, likeliest first.
fn default_candidates(home: Option<OsString>) -> Vec<PathBuf> {
    let home = home.map(PathBuf::from);
    let own = HOME_SWITCHES.iter().filter_map(|name| Some(home.as_ref()?.join(name)));
    own.flat_map(|path| [path.join(CONTROL_NAME), path])
        .chain(DEFAULT_SWITCHES.map(PathBuf::from))
        .collect()
}

/// Binds the data socket beside the control socket, or in a fallback directory.
fn bind_data(data: BorrowedFd<'_>, control: &Path) -> Result<SocketFile, ConnectError> {
    /// Two plugs of one process differ by it.
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let pid = getpid().as_raw_nonzero();
    let beside = control.parent().map(|directory| directory.join("."));
    let fallback = FALLBACK_DIRECTORIES.iter().map(|dir| Path::new(dir).join("vde."));
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for prefix in beside.into_iter().chain(fallback) {
        for _ in 0..NAME_ATTEMPTS {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed) % 100_000;
            let mut path = prefix.clone().into_os_string();
            path.push(format!("{pid:05}-{number:05}"));
            match SocketFile::bind(data, path.into()) {
                Ok(file) => return Ok(file),
                Err(error) => {
                    let taken = error.raw_os_error() == Some(Errno::ADDRINUSE.raw_os_error());
                    last = error;
                    if !taken {
                        break;
                    }
                }
            }
        }
    }
    Err(ConnectError::Local { what: "find a writable directory for the data socket", source: last })
}

/// Lets the switch, and as few others as possible, send to the data socket.
fn ownership(control: &Path, mode: u32, group: Option<u32>) -> Ownership {
    let ours = Ownership { owner: None, group, mode };
    if group.is_some() || mode & 0o077 != 0 {
        return ours;
    }
    match std::fs::metadata(control) {
        Ok(found) if found.uid() != 0 && found.uid() != geteuid().as_raw() => {
            // The switch runs as another user without rights of its own.
            let member = rustix::process::getegid().as_raw() == found.gid()
                || rustix::process::getgroups()
                    .is_ok_and(|groups| groups.iter().any(|g| g.as_raw() == found.gid()));
            if member || geteuid().is_root() {
                Ownership { group: Some(found.gid()), mode: mode | 0o070, ..ours }
            } else {
                Ownership { mode: mode | 0o077, ..ours }
            }
        }
        _ => ours,
    }
}

#[cfg(test)]
mod tests;
