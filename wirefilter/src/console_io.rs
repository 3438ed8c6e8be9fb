//! Consoles as they are used: octets in and out, commands to the link, files that they load.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use console::Errno;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::{broadcast, mpsc};

use crate::command::LinkCommand;
use crate::daemon::tell;
use crate::driver::{Shared, now};
use crate::filter::Filter;
use crate::reply::Reply;
use crate::session::{MAX_SCRIPT, Session, Step};

/// Octets read at once.
const READ: usize = 4096;

/// How long a client that stopped reading may hold its session.
const STALL_LIMIT: Duration = Duration::from_secs(5);

/// The longest file that a command may name: the longest trace has 45 MB.
const MAX_FILE: u64 = 64 << 20;

/// Pieces of standard input that may wait.
const PIECES: usize = 8;

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The client left, or logged out.
    Closed,
    /// The program is to end.
    Shutdown,
}

/// Runs a session to its end.
pub(crate) async fn run(
    shared: &Rc<Shared>,
    mut session: Session,
    mut read: impl AsyncRead + Unpin,
    mut write: impl AsyncWrite + Unpin,
) -> End {
    let mut steps = shared.steps.subscribe();
    let mut octets = vec![0; READ];
    loop {
        let end = take_steps(shared, &mut session);
        let output = session.take_output();
        if !output.is_empty() {
            let write_out = async {
                write.write_all(&output).await?;
                write.flush().await
            };
            let written = tokio::time::timeout(STALL_LIMIT, write_out).await;
            match end {
                Some(end) => return end,
                None if !matches!(written, Ok(Ok(()))) => return End::Closed,
                // A script may have waited for its output to be taken.
                None => continue,
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
            step = steps.recv() => match step {
                Ok(step) => session.handle_step(&step),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return End::Closed,
            },
        }
    }
}

/// Does what the session asks for until it needs input; says whether it is over.
fn take_steps(shared: &Shared, session: &mut Session) -> Option<End> {
    while let Some(step) = session.poll_step() {
        match step {
            Step::Execute(command) => {
                session.handle_reply(&execute(&mut shared.filter.borrow_mut(), &command));
                shared.changed.notify_one();
            }
            Step::Read { path } => {
                let text = load(&path, MAX_SCRIPT as u64);
                session.handle_script(text.as_deref().map_err(|errno| *errno));
            }
            Step::Complain(complaint) => tell(&complaint.to_string()),
            Step::Close => return Some(End::Closed),
            Step::Shutdown => return Some(End::Shutdown),
        }
    }
    None
}

/// Runs a script before the first frame; what fails in it is told.
pub(crate) fn run_script(shared: &Shared, path: &str, text: &[u8]) {
    let mut session = Session::rc(path, text);
    let _ = take_steps(shared, &mut session);
}

fn execute(filter: &mut Filter, command: &LinkCommand) -> Reply {
    let LinkCommand::File { kind, path: Some(path) } = command else {
        return filter.execute(command, now());
    };
    let text = match load(path, MAX_FILE) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(errno) => return Reply::failure(errno),
    };
    filter.take_file(*kind, Some(&text), now()).into()
}

fn load(path: &str, limit: u64) -> Result<Vec<u8>, Errno> {
    let size = std::fs::metadata(path).map_err(|err| Errno::from(err.kind()))?.len();
    if size > limit {
        return Err(Errno::EFBIG);
    }
    std::fs::read(path).map_err(|err| Errno::from(err.kind()))
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Standard input, whatever it is: a terminal, a pipe or a file. A thread of its own reads it, and
/// ends with the process: nothing else can wait for a file, and nothing can stop such a wait.
pub(crate) fn stdin() -> impl AsyncRead + Unpin {
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
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            self.rest = ready!(self.receiver.poll_recv(cx)).unwrap_or_default();
        }
        let count = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Poll::Ready(Ok(()))
    }
}
