//! The management socket: a console for each client.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use console::Session;
use tokio::sync::{Notify, Semaphore};

use super::VERSION;
use super::console_io::{Consoles, End};
use crate::accounts;
use crate::config::SocketAccess;
use crate::local_socket::LocalSocket;

/// Sessions at once. More wait until one ends.
const SESSIONS: usize = 32;

/// How long the socket is left alone when the system has no descriptor for a client.
const PAUSE: Duration = Duration::from_millis(100);

/// A bound management socket, or none.
#[derive(Debug)]
pub(super) enum Management {
    None,
    At(LocalSocket),
}

impl Management {
    /// Binds in the place of a dead switch's socket.
    pub(super) fn bind(path: &Path, mode: u32, group: Option<&str>) -> anyhow::Result<Self> {
        let number =
            |name| accounts::group_number(name).with_context(|| format!("No such group '{name}'"));
        let group = group.map(number).transpose()?;
        Ok(Self::At(LocalSocket::bind(path, SocketAccess { mode, group }, "--mgmt")?))
    }

    /// Serves clients until one of them shuts the switch down.
    pub(super) async fn serve(&self, consoles: &Consoles) {
        let Self::At(socket) = self else {
            return std::future::pending().await;
        };
        let places = Arc::new(Semaphore::new(SESSIONS));
        let shutdown = Arc::new(Notify::new());
        loop {
            let accepted = async {
                let place = places.clone().acquire_owned().await.ok()?;
                let (stream, _) = socket.listener.accept().await.ok()?;
                Some((place, stream))
            };
            let accepted = tokio::select! {
                () = shutdown.notified() => return,
                accepted = accepted => accepted,
            };
            let Some((place, stream)) = accepted else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let (consoles, shutdown) = (consoles.clone(), shutdown.clone());
            tokio::spawn(async move {
                let (read, write) = stream.into_split();
                let session = Session::management(VERSION);
                if consoles.run(session, read, write).await == End::Shutdown {
                    shutdown.notify_one();
                }
                drop(place);
            });
        }
    }
}
