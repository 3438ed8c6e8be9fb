//! Consoles as they are used: octets in and out, commands to the data plane, events from it.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use console::session::MAX_SCRIPT;
use console::{Errno, Event, Reply, Session, Step, SwitchCommand};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::driver::{Asked, DataPlane};

/// Octets read at once, within what a session takes.
const READ: usize = 4096;

/// How long a client that stopped reading may hold its session.
const STALL_LIMIT: Duration = Duration::from_secs(5);

/// Pieces of standard input that may wait.
const PIECES: usize = 8;

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The client left, or logged out.
    Closed,
    /// The switch is to end.
    Shutdown,
}

/// What every console needs.
#[derive(Debug, Clone)]
pub(super) struct Consoles {
    requests: mpsc::Sender<Asked>,
    events: broadcast::Sender<Event>,
}

impl Consoles {
    pub(super) fn new(plane: &DataPlane) -> Self {
        Self { requests: plane.requests.clone(), events: plane.events.clone() }
    }

    /// Runs a script before anyone can give commands; what fails in it is told in the log.
    pub(super) async fn run_script(&self, path: &str, text: Vec<u8>) {
        let session = Session::rc(path, text);
        self.run(session, tokio::io::empty(), tokio::io::sink()).await;
    }

    /// Runs a session to its end.
    pub(super) async fn run(
        &self,
        mut session: Session,
        mut read: impl AsyncRead + Unpin,
        mut write: impl AsyncWrite + Unpin,
    ) -> End {
        let mut events = self.events.subscribe();
        let mut octets = vec![0; READ];
        loop {
            let end = self.take_steps(&mut session).await;
            let output = session.take_output();
            if !output.is_empty() {
                let write_out = async {
                    write.write_all(&output).await?;
                    write.flush().await
                };
                match tokio::time::timeout(STALL_LIMIT, write_out).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) if end.is_none() => return End::Closed,
                    Ok(Err(_)) | Err(_) => {}
                }
            }
            if let Some(end) = end {
                return end;
            }
            tokio::select! {
                count = read.read(&mut octets), if session.wants_input() => match count {
                    Ok(0) | Err(_) => session.handle_eof(),
                    Ok(count) => session.handle_bytes(&octets[..count], now()),
                },
                () = until(session.poll_timeout()) => session.handle_timeout(now()),
                event = events.recv() => match event {
                    Ok(event) => session.handle_event(&event),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return End::Closed,
                },
            }
        }
    }

    /// Does what the session asks for until it needs input; says whether it is over.
    async fn take_steps(&self, session: &mut Session) -> Option<End> {
        while let Some(step) = session.poll_step() {
            match step {
                Step::Execute(command) => {
                    let reply = self.execute(command).await;
                    session.handle_reply(&reply);
                }
                Step::Load { path } => session.handle_script(load(Path::new(&path))),
                Step::Complain(complaint) => tracing::warn!(
                    script = complaint.path,
                    line = complaint.number,
                    text = complaint.line,
                    status = complaint.status,
                    "a command of the start script failed"
                ),
                Step::Close => return Some(End::Closed),
                Step::Shutdown => return Some(End::Shutdown),
            }
        }
        None
    }

    async fn execute(&self, command: SwitchCommand) -> Reply {
        let (reply, answer) = oneshot::channel();
        let failure = command.failure(Errno::EIO);
        match self.requests.send(Asked::Switch { command, reply }).await {
            Ok(()) => answer.await.unwrap_or(failure),
            Err(_) => failure,
        }
    }
}

fn load(path: &Path) -> Result<Vec<u8>, Errno> {
    let size = std::fs::metadata(path).map_err(|err| Errno::from(err.kind()))?.len();
    if size > MAX_SCRIPT as u64 {
        return Err(Errno::EFBIG);
    }
    std::fs::read(path).map_err(|err| Errno::from(err.kind()))
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Standard input, whatever it is: a terminal, a pipe or a file. A thread of its own reads it, and
/// ends with the process: nothing else can wait for a file, and nothing can stop such a wait.
pub(super) fn stdin() -> impl AsyncRead + Unpin {
    let (sender, receiver) = mpsc::channel::<Vec<u8>>(PIECES);
    std::thread::spawn(move || {
        let mut octets = vec![0; READ];
        while let Ok(count @ 1..) = io::Read::read(&mut io::stdin(), &mut octets) {
            if sender.blocking_send(octets[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    Pieces { receiver, rest: Vec::new() }
}

/// Pieces of octets as a stream.
struct Pieces {
    receiver: mpsc::Receiver<Vec<u8>>,
    rest: Vec<u8>,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        if self.rest.is_empty() {
            self.rest = std::task::ready!(self.receiver.poll_recv(cx)).unwrap_or_default();
        }
        let count = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..count]);
        self.rest.drain(..count);
        std::task::Poll::Ready(Ok(()))
    }
}
