//! Unix sockets that a dead process left: whether a path can be bound, and if not, who holds it.

use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context as _, bail};

/// Makes way for a new socket at `path`: removes the one of a dead process. `flag` is what the
/// user can change.
pub(crate) fn make_way(path: &Path, flag: &str) -> anyhow::Result<()> {
    let shown = path.display();
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(err).with_context(|| format!("cannot look at {shown}")),
    };
    if !metadata.file_type().is_socket() {
        bail!("{shown} exists and is not a socket; remove it or choose another {flag}");
    }
    match UnixStream::connect(path) {
        Ok(stream) => {
            let holder = rustix::net::sockopt::socket_peercred(&stream).ok();
            let pid = holder.map_or(0, |peer| peer.pid.as_raw_nonzero().get());
            bail!("process {pid} already answers on {shown}; stop it, or choose another {flag}")
        }
        Err(err) if err.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)
            .with_context(|| format!("cannot remove the socket {shown} of a dead process")),
        Err(err) => Err(err).with_context(|| format!("cannot tell who holds {shown}")),
    }
}
