//! How a data socket is connected to the one that a client names: to that client's own or to none,
//! and without waiting for a file system that may never answer.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::net::SocketAddrUnix;
use tokio::sync::Semaphore;

use crate::address::UnixAddress;
use crate::path::{pin, pinned_path};
use crate::plug::PeerCredentials;
use crate::refusal::Refusal;

/// How long the file system may take in which a client's socket lies. One in user space (FUSE) may be
/// the client's own and never answer.
pub const LOOKUP_DEADLINE: Duration = Duration::from_secs(5);

/// Lookups of one user at once. Each holds a thread for as long as the file system likes, which is the
/// end only of that user's plugs.
const OF_USER: u32 = 4;

/// Lookups under way, by user.
#[derive(Debug, Default)]
pub(crate) struct Lookups(Mutex<HashMap<u32, Arc<Semaphore>>>);

impl Lookups {
    fn of(&self, user: u32) -> Arc<Semaphore> {
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_at_it = |places: &Arc<Semaphore>| Arc::strong_count(places) > 1;
        users.retain(|known, places| *known == user || is_at_it(places));
        let places = || Arc::new(Semaphore::new(OF_USER as usize));
        users.entry(user).or_insert_with(places).clone()
    }

    /// Connects a data socket to the client's, on a thread of its own.
    pub(crate) async fn reach(
        &self,
        data: OwnedFd,
        address: UnixAddress,
        peer: PeerCredentials,
    ) -> Result<OwnedFd, Refusal> {
        let places = self.of(peer.uid);
        let lookup = async {
            // Never closed.
            let place = places.acquire_owned().await.ok();
            let lookup = tokio::task::spawn_blocking(move || {
                let reached = reach(data.as_fd(), &address, peer).map(|()| data);
                drop(place);
                reached
            });
            lookup.await.unwrap_or_else(|_| Err(unanswered(address)))
        };
        let reached = tokio::time::timeout(LOOKUP_DEADLINE, lookup).await;
        reached.unwrap_or_else(|_elapsed| Err(unanswered(address)))
    }
}

fn unanswered(address: UnixAddress) -> Refusal {
    Refusal::Unreachable { address, source: io::ErrorKind::TimedOut.into() }
}

/// Connects the data socket to the client's.
///
/// A switch may have rights that its client has not, and the address is only a claim. So a path
/// is opened without following a link, must be a socket of the very user who is connected, and
/// that file, not its name, is connected to. It may lie in any directory: libvdeplug falls back
/// to `/var/run`, `/var/tmp` and `/tmp`, and dynamips takes what its user says. An abstract name
/// has no owner and is taken as it is.
fn reach(
    data: BorrowedFd<'_>,
    address: &UnixAddress,
    peer: PeerCredentials,
) -> Result<(), Refusal> {
    let unreachable = |source| Refusal::Unreachable { address: *address, source };
    let Some(path) = address.path() else {
        let name = address.to_socket().map_err(unreachable)?;
        return rustix::net::connect(data, &name).map_err(|errno| unreachable(errno.into()));
    };
    if path.is_relative() {
        return Err(Refusal::RelativePath(path.to_owned()));
    }
    let (handle, stat) = pin(path).map_err(unreachable)?;
    // Root could reach every socket without our help.
    if stat.st_uid != peer.uid && peer.uid != 0 {
        let path = path.to_owned();
        return Err(Refusal::ForeignSocket { path, owner: stat.st_uid, peer: peer.uid });
    }
    SocketAddrUnix::new(pinned_path(handle.as_fd()))
        .and_then(|pinned| rustix::net::connect(data, &pinned))
        .map_err(|errno| unreachable(errno.into()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use rustix::process::geteuid;

    use super::*;
    use crate::server::data_socket;

    #[test]
    fn a_data_socket_of_another_user_is_not_reached_for_a_client() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("socket");
        let _owned = UnixDatagram::bind(&path).unwrap();
        let address = UnixAddress::from_path(&path).unwrap();
        let owner = geteuid().as_raw();
        let as_user = |uid| {
            let data = data_socket(4096).unwrap();
            reach(data.as_fd(), &address, PeerCredentials { pid: None, uid, gid: 0 })
        };
        let refusal = as_user(owner + 1).unwrap_err();
        assert!(
            matches!(refusal, Refusal::ForeignSocket { owner: o, peer, .. } if o == owner && peer == owner + 1),
            "{refusal}"
        );
        as_user(owner).unwrap();
        as_user(0).unwrap();
    }

    /// A file system that does not answer stands for itself as a closed gate: every place of the
    /// user is taken, as by lookups that never end.
    #[tokio::test(start_paused = true)]
    async fn a_user_whose_file_system_hangs_is_refused_and_in_nobodys_way() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("socket");
        let _owned = UnixDatagram::bind(&path).unwrap();
        let address = UnixAddress::from_path(&path).unwrap();
        let user = |uid| PeerCredentials { pid: None, uid, gid: 0 };
        let own = geteuid().as_raw();
        let lookups = Lookups::default();
        let stuck = lookups.of(own + 1).acquire_many_owned(OF_USER).await.unwrap();
        let data = data_socket(4096).unwrap();
        let refusal = lookups.reach(data, address, user(own + 1)).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Unreachable { .. }), "{refusal}");
        let data = data_socket(4096).unwrap();
        lookups.reach(data, address, user(own)).await.unwrap();
        drop(stuck);
        // What is idle is forgotten.
        lookups.of(own + 2);
        assert_eq!(lookups.0.lock().unwrap().len(), 1);
    }
}
