//! The control socket: who may talk to the node, and how many at once; what is answered without the
//! data plane.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use control::transport::{self, Reply};
use control::{Failure, Request};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::config::SocketAccess;
use crate::driver::{Asked, DataPlane};
use crate::journal::Journal;
use crate::local_socket::LocalSocket;

/// Clients at once. More wait in the kernel's queue until one leaves.
const CLIENTS: usize = 128;

/// How long to leave the socket alone when the system has no descriptor for a client.
const PAUSE: Duration = Duration::from_millis(100);

/// The bound control socket; its file goes when it is dropped.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    socket: LocalSocket,
}

impl ControlSocket {
    /// Binds the socket, for its owner only, in the place of one that a dead node left.
    pub(crate) fn bind(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o755).create(parent).with_context(|| {
                format!("cannot make the directory of the control socket {shown}; choose another with --control")
            })?;
        }
        Ok(Self { socket: LocalSocket::bind(path, SocketAccess::default(), "--control")? })
    }

    /// Serves clients for ever.
    pub(crate) async fn serve(&self, plane: &DataPlane) {
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
            let (requests, journal) = (plane.requests.clone(), plane.journal.clone());
            tokio::spawn(async move {
                let ask = |request| answer(requests.clone(), journal.clone(), request);
                if let Err(err) = transport::serve(stream, ask).await {
                    tracing::debug!(%err, "control client lost");
                }
                drop(place);
            });
        }
    }
}

/// Carries a request out as far as it concerns the data plane there, and the rest here.
async fn answer(
    requests: mpsc::Sender<Asked>,
    journal: Arc<Journal>,
    request: Request,
) -> Result<Reply, Failure> {
    if let Request::Events { last, follow } = request {
        return journal.follow(last, follow).map(Reply::Events);
    }
    let ending = || Failure::new("the request was not carried out", "the node is ending", "");
    let (reply, reading) = oneshot::channel();
    requests.send(Asked::Control { request, reply }).await.map_err(|_| ending())?;
    let reading = reading.await.map_err(|_| ending())??;
    reading.answer().map(Reply::Answer)
}
