//! The control socket: lines in, lines out, everything bounded.

use std::future::Future;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::Semaphore;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::event::Told;
use crate::message::{self, Answer, Failure, Heard, Request, Right, StreamLine};
use crate::path::view_socket;

/// The longest request line of somebody who may change the node. The longest real request holds a
/// recorded trace of half a million lines.
pub const MAX_LINE: usize = 4 * 1024 * 1024;

/// The longest request line of somebody who may only look.
pub const MAX_VIEW_LINE: usize = 4096;

/// What a connection keeps for its next request line; a longer one gives its memory back.
const KEPT_LINE: usize = 64 * 1024;

/// The longest answer line a client accepts: a full filtering database of 65 536 entries.
const MAX_ANSWER: u64 = 32 * 1024 * 1024;

/// How long a client that stopped reading may hold its connection: local readers are never slow.
pub const STALL_LIMIT: Duration = Duration::from_secs(1);

/// How long a client may say nothing before its place is given to another.
pub const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// How long a client waits for an answer; nearly every request is answered at once.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The same where the node asks other nodes.
const JOIN_LIMIT: Duration = Duration::from_secs(60);

/// What a request leads to.
#[derive(Debug)]
pub enum Reply {
    /// One line.
    Answer(Answer),
    /// [`Answer::Events`], and then these for as long as the connection lasts.
    Events(Feed),
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

/// Events for one client.
#[derive(Debug)]
pub struct Feed {
    /// Those of before.
    pub past: Vec<Arc<Told>>,
    /// Those that follow, if it wants them. Its queue holds as many as its sender says; when the
    /// client is slower than that, the oldest give way and it is told how many.
    pub live: Option<broadcast::Receiver<Arc<Told>>>,
}

/// What a client may use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The longest request line, in octets.
    pub line: usize,
    /// Answers that may be made and held for their readers at once, by all clients that share this. Short
    /// ones that must be [waited for](Request::waits) count from when they are there.
    pub answers: Arc<Semaphore>,
}

impl Limits {
    /// Four answers at once: the largest has some megabytes, and a client that stopped reading holds
    /// its own for [`STALL_LIMIT`].
    const ANSWERS: usize = 4;

    /// Those of clients with a right.
    pub fn of(right: Right) -> Self {
        let line = match right {
            Right::Admin => MAX_LINE,
            Right::View => MAX_VIEW_LINE,
        };
        Self { line, answers: Arc::new(Semaphore::new(Self::ANSWERS)) }
    }
}

/// Tells a client why it is not served, if it can hear it at once.
pub fn turn_away(stream: &UnixStream, failure: Failure) {
    let mut line = message::encode_answer(Err(failure));
    line.push('\n');
    // The line is shorter than any socket's buffer. Whoever has gone need not know.
    let _ = stream.try_write(line.as_bytes());
}

/// Serves one client until it leaves, stalls, or sends what is not a line.
///
/// # Errors
/// Those of the socket; a client that misbehaves ends with `Ok` after it was told why.
pub async fn serve<F, H>(stream: UnixStream, limits: &Limits, mut handle: H) -> io::Result<()>
where
    H: FnMut(Request) -> F,
    F: Future<Output = Result<Reply, Failure>>,
{
    let (read, mut write) = stream.into_split();
    let mut reader = tokio::io::BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        line.shrink_to(KEPT_LINE);
        let limit = u64::try_from(limits.line + 1).expect("a small constant");
        let mut bounded = (&mut reader).take(limit);
        let read = tokio::time::timeout(IDLE_LIMIT, bounded.read_until(b'\n', &mut line));
        let Ok(count) = read.await else { return Ok(()) };
        let count = count?;
        if count == 0 {
            return Ok(());
        }
        let too_long = count > limits.line;
        let request = if too_long {
            Err(Failure::new(
                "the request was not understood",
                format!("the line is longer than {} octets", limits.line),
                "send one JSON object a line",
            ))
        } else {
            message::decode_request(line.trim_ascii_end())
        };
        let place = async || limits.answers.acquire().await.ok();
        let (outcome, place) = match request {
            // Whoever waits for another node, a disk or a resolver keeps no answer from others.
            Ok(request) if request.waits() => {
                let outcome = handle(request).await;
                (outcome, place().await)
            }
            request => {
                let place = place().await;
                let outcome = match request {
                    Ok(request) => handle(request).await,
                    Err(failure) => Err(failure),
                };
                (outcome, place)
            }
        };
        let Some(place) = place else { return Ok(()) };
        let (outcome, feed) = match outcome {
            Ok(Reply::Answer(answer)) => (Ok(answer), None),
            Ok(Reply::Events(feed)) => (Ok(Answer::Events), Some(feed)),
            Err(failure) => (Err(failure), None),
        };
        let mut answer = message::encode_answer(outcome);
        answer.push('\n');
        match tokio::time::timeout(STALL_LIMIT, write.write_all(answer.as_bytes())).await {
            Ok(result) => result?,
            Err(_elapsed) => return Ok(()),
        }
        drop((answer, place));
        if let Some(feed) = feed {
            return tokio::select! {
                told = tell(feed, &mut write) => told,
                // Whatever the client says now, it wants no more events.
                said = reader.fill_buf() => said.map(drop),
            };
        }
        if too_long {
            return Ok(());
        }
    }
}

/// Tells events until there are no more, or until the client has let so many pile up that its socket
/// takes no more of them for [`STALL_LIMIT`].
async fn tell(feed: Feed, write: &mut OwnedWriteHalf) -> io::Result<()> {
    for told in feed.past {
        write_line(write, message::encode_told(&told)).await?;
    }
    let Some(mut live) = feed.live else {
        return Ok(());
    };
    loop {
        let line = match live.recv().await {
            Ok(told) => message::encode_told(&told),
            Err(RecvError::Lagged(skipped)) => message::encode_skipped(skipped),
            Err(RecvError::Closed) => return Ok(()),
        };
        write_line(write, line).await?;
    }
}

async fn write_line(write: &mut OwnedWriteHalf, mut line: String) -> io::Result<()> {
    line.push('\n');
    match tokio::time::timeout(STALL_LIMIT, write.write_all(line.as_bytes())).await {
        Ok(written) => written,
        Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there.
    #[error("no node answers on {path}: {source}")]
    NotRunning {
        /// The control socket.
        path: String,
        /// What connecting said.
        source: io::Error,
    },
    /// The node refused or failed.
    #[error(transparent)]
    Refused(#[from] Failure),
    /// The node ended while its events were followed.
    #[error("the node on {path} has ended")]
    Ended {
        /// The control socket.
        path: String,
    },
    /// The connection broke.
    #[error("the node stopped answering on {path}: {source}")]
    Broken {
        /// The control socket.
        path: String,
        /// What the socket said.
        source: io::Error,
    },
}

/// A connection to a node's control socket, for programs without a runtime.
#[derive(Debug)]
pub struct Client {
    path: String,
    reader: BufReader<StdUnixStream>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// [`AskError::NotRunning`], also when this user may neither change the node nor look at it.
    pub fn connect(path: &Path) -> Result<Self, AskError> {
        let not_running =
            |source| AskError::NotRunning { path: path.display().to_string(), source };
        let stream = match StdUnixStream::connect(path) {
            Err(err) if err.kind() == io::ErrorKind::PermissionDenied => {
                // Whoever may not change the node may perhaps look at it.
                StdUnixStream::connect(view_socket(path)).map_err(|_| not_running(err))?
            }
            connected => connected.map_err(not_running)?,
        };
        stream.set_read_timeout(Some(ANSWER_LIMIT)).map_err(not_running)?;
        stream.set_write_timeout(Some(ANSWER_LIMIT)).map_err(not_running)?;
        Ok(Self { path: path.display().to_string(), reader: BufReader::new(stream) })
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn ask(&mut self, request: &Request) -> Result<Answer, AskError> {
        let limit = match request {
            Request::Join { .. } => JOIN_LIMIT,
            _ => ANSWER_LIMIT,
        };
        self.reader.get_ref().set_read_timeout(Some(limit)).map_err(|err| self.broken(err))?;
        let mut line = message::encode_request(request);
        line.push('\n');
        let written = self.reader.get_mut().write_all(line.as_bytes());
        // Who is turned away is told so before it has said anything, and cannot say it.
        let answer = self.line();
        if !matches!(answer, Ok(Some(_))) {
            written.map_err(|err| self.broken(err))?;
        }
        match answer? {
            Some(answer) => Ok(message::decode_answer(&answer)?),
            None => Err(self.broken(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Waits for the next line after [`Answer::Events`], for as long as it takes; none when the node
    /// has closed the connection.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn next_event(&mut self) -> Result<Option<StreamLine<Heard>>, AskError> {
        self.reader.get_ref().set_read_timeout(None).map_err(|err| self.broken(err))?;
        let line = self.line()?;
        Ok(line.map(|line| message::decode_stream_line(&line)).transpose()?)
    }

    /// The socket's path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A whole line; none at the end.
    fn line(&mut self) -> Result<Option<Vec<u8>>, AskError> {
        let mut line = Vec::new();
        let read = (&mut self.reader).take(MAX_ANSWER).read_until(b'\n', &mut line);
        match read {
            Ok(_) => Ok((line.last() == Some(&b'\n')).then_some(line)),
            Err(err) if err.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(err) => Err(self.broken(err)),
        }
    }

    fn broken(&self, source: io::Error) -> AskError {
        AskError::Broken { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests;
