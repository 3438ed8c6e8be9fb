//! The control socket and the view socket: who may talk to the node, how many at once and how often;
//! what is answered without the data plane.

mod pace;

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use control::message::Right;
use control::transport::{self, Limits, Reply};
use control::{Failure, Request};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::config::{ControlAccess, SocketAccess};
use crate::driver::{Asked, DataPlane};
use crate::journal::Journal;
use crate::local_socket::LocalSocket;
use pace::Pace;

/// Clients of a socket at once. More wait in the kernel's queue until one leaves.
const CLIENTS: usize = 32;

/// Clients of a socket that one user may have: a quarter, so that nobody shuts others out.
const CLIENTS_OF_USER: usize = 8;

/// The same of root and of the node's own user at the control socket. What they run by hand must find
/// a place beside what they have run by programs, and others beside both.
const CLIENTS_OF_OWNER: usize = 24;

/// How long to leave the socket alone when the system has no descriptor for a client.
const PAUSE: Duration = Duration::from_millis(100);

/// The bound sockets; their files go when this is dropped.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    admin: LocalSocket,
    view: Option<LocalSocket>,
}

/// One of the sockets and what its clients share.
struct Counter<'a> {
    socket: &'a LocalSocket,
    right: Right,
    limits: Limits,
    /// How often the data plane is asked something.
    requests: Arc<Pace>,
    users: Users,
}

/// Clients by user.
type Users = Arc<Mutex<HashMap<u32, usize>>>;

/// One client's place among those of its user.
struct UserPlace {
    users: Users,
    user: u32,
}

impl UserPlace {
    /// None when the user has as many as one may have.
    fn take(users: &Users, user: u32, most: usize) -> Option<Self> {
        let mut counts = users.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(user).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Self { users: users.clone(), user })
    }
}

impl Drop for UserPlace {
    fn drop(&mut self) {
        let mut counts = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.user);
            }
        }
    }
}

impl ControlSocket {
    /// Binds the sockets in the place of those that a dead node left: for its owner only, unless
    /// `access` says otherwise.
    pub(crate) fn bind(path: &Path, access: ControlAccess) -> anyhow::Result<Self> {
        let shown = path.display();
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o755).create(parent).with_context(|| {
                format!("cannot make the directory of the control socket {shown}; choose another with --control")
            })?;
        }
        let bind = |path: &Path, access: SocketAccess| LocalSocket::bind(path, access, "--control");
        let view = access.view.map(|view| bind(&control::path::view_socket(path), view));
        Ok(Self { view: view.transpose()?, admin: bind(path, access.admin)? })
    }

    /// Serves clients for ever.
    pub(crate) async fn serve(&self, plane: &DataPlane) {
        let admin = Counter::new(&self.admin, Right::Admin).serve(plane);
        match &self.view {
            Some(view) => drop(tokio::join!(admin, Counter::new(view, Right::View).serve(plane))),
            None => admin.await,
        }
    }
}

impl<'a> Counter<'a> {
    fn new(socket: &'a LocalSocket, right: Right) -> Self {
        // A request costs the data plane some tenths of a millisecond at most. Who looks on must not
        // take more than a hundredth of it, and the owner not more than a tenth.
        let requests = Arc::new(match right {
            Right::Admin => Pace::per_second(250, 50),
            Right::View => Pace::per_second(50, 20),
        });
        Self { socket, right, limits: Limits::of(right), requests, users: Users::default() }
    }

    async fn serve(self, plane: &DataPlane) {
        let places = Arc::new(Semaphore::new(CLIENTS));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            let stream = match self.socket.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(err) => {
                    tracing::debug!(%err, "no control client accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let Some(user_place) = self.admit(&stream) else { continue };
            let (requests, journal) = (plane.requests.clone(), plane.journal.clone());
            let (right, limits, pace) = (self.right, self.limits.clone(), self.requests.clone());
            tokio::spawn(async move {
                let ask = |request| {
                    answer(right, pace.clone(), requests.clone(), journal.clone(), request)
                };
                if let Err(err) = transport::serve(stream, &limits, ask).await {
                    tracing::debug!(%err, "control client lost");
                }
                drop((user_place, place));
            });
        }
    }

    /// A place among its user's. None when it is turned away.
    fn admit(&self, stream: &UnixStream) -> Option<UserPlace> {
        let user = stream.peer_cred().ok()?.uid();
        let most = places_of(self.right, user, rustix::process::geteuid().as_raw());
        let place = UserPlace::take(&self.users, user, most);
        if place.is_none() {
            let why = format!("your user has {most} connections to this node already");
            let fix = "close one of them";
            transport::turn_away(stream, Failure::new("the request was not carried out", why, fix));
        }
        place
    }
}

/// How many clients of a socket a user may have at a node of another, or the same, user.
fn places_of(right: Right, user: u32, owner: u32) -> usize {
    match right {
        Right::Admin if user == 0 || user == owner => CLIENTS_OF_OWNER,
        Right::Admin | Right::View => CLIENTS_OF_USER,
    }
}

/// Carries a request out as far as it concerns the data plane there, and the rest here.
async fn answer(
    right: Right,
    pace: Arc<Pace>,
    requests: mpsc::Sender<Asked>,
    journal: Arc<Journal>,
    request: Request,
) -> Result<Reply, Failure> {
    if right == Right::View && request.needs() == Right::Admin {
        return Err(Failure::new(
            "nothing was changed",
            "your user may look at this node and not change it",
            "run the command as the user who started the node, or have it started with --control-group and your group",
        ));
    }
    pace.turn().await;
    if let Request::Events { last, follow } = request {
        return journal.follow(last, follow).map(Reply::Events);
    }
    let ending = || Failure::new("the request was not carried out", "the node is ending", "");
    let (reply, reading) = oneshot::channel();
    requests.send(Asked::Control { request, reply }).await.map_err(|_| ending())?;
    let reading = reading.await.map_err(|_| ending())??;
    reading.answer().map(Reply::Answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_all_places_of_a_socket() {
        let users = Users::default();
        for (right, user) in [(Right::View, 0), (Right::View, 1000), (Right::Admin, 1000)] {
            assert_eq!(places_of(right, user, 0), CLIENTS_OF_USER);
        }
        for user in [0, 1000] {
            let most = places_of(Right::Admin, user, 1000);
            let taken: Vec<_> =
                (0..CLIENTS).map_while(|_| UserPlace::take(&users, user, most)).collect();
            assert!(taken.len() < CLIENTS && taken.len() > CLIENTS / 2);
            drop(taken);
            assert!(UserPlace::take(&users, user, most).is_some(), "they are given back");
        }
    }
}
