//! The control socket: lines in, lines out, everything bounded.

use std::future::Future;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::message::{self, Answer, Failure, Request};

/// The longest request line. The longest real request holds a recorded trace of half a million
/// lines; only the node's owner can send one.
pub const MAX_LINE: usize = 4 * 1024 * 1024;

/// The longest answer line a client accepts: a full filtering database of 65 536 entries.
const MAX_ANSWER: u64 = 32 * 1024 * 1024;

/// How long a client that stopped reading may hold its connection: local readers are never slow.
pub const STALL_LIMIT: Duration = Duration::from_secs(1);

/// How long a client may say nothing before its place is given to another.
pub const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// How long a client waits for an answer; every request is answered at once.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Serves one client until it leaves, stalls, or sends what is not a line.
///
/// # Errors
/// Those of the socket; a client that misbehaves ends with `Ok` after it was told why.
pub async fn serve<F, H>(stream: UnixStream, mut handle: H) -> io::Result<()>
where
    H: FnMut(Request) -> F,
    F: Future<Output = Result<Answer, Failure>>,
{
    let (read, mut write) = stream.into_split();
    let mut reader = tokio::io::BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = u64::try_from(MAX_LINE + 1).expect("a small constant");
        let mut bounded = (&mut reader).take(limit);
        let read = tokio::time::timeout(IDLE_LIMIT, bounded.read_until(b'\n', &mut line));
        let Ok(count) = read.await else { return Ok(()) };
        let count = count?;
        if count == 0 {
            return Ok(());
        }
        let too_long = count > MAX_LINE;
        let outcome = if too_long {
            Err(Failure::new(
                "the request was not understood",
                format!("the line is longer than {MAX_LINE} octets"),
                "send one JSON object a line",
            ))
        } else {
            match message::decode_request(line.trim_ascii_end()) {
                Ok(request) => handle(request).await,
                Err(failure) => Err(failure),
            }
        };
        let mut answer = message::encode_answer(outcome);
        answer.push('\n');
        match tokio::time::timeout(STALL_LIMIT, write.write_all(answer.as_bytes())).await {
            Ok(result) => result?,
            Err(_elapsed) => return Ok(()),
        }
        if too_long {
            return Ok(());
        }
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
    /// [`AskError::NotRunning`].
    pub fn connect(path: &Path) -> Result<Self, AskError> {
        let not_running =
            |source| AskError::NotRunning { path: path.display().to_string(), source };
        let stream = StdUnixStream::connect(path).map_err(not_running)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT)).map_err(not_running)?;
        stream.set_write_timeout(Some(ANSWER_LIMIT)).map_err(not_running)?;
        Ok(Self { path: path.display().to_string(), reader: BufReader::new(stream) })
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn ask(&mut self, request: &Request) -> Result<Answer, AskError> {
        let broken = |source| AskError::Broken { path: self.path.clone(), source };
        let mut line = message::encode_request(request);
        line.push('\n');
        self.reader.get_mut().write_all(line.as_bytes()).map_err(broken)?;
        let mut answer = Vec::new();
        let mut bounded = (&mut self.reader).take(MAX_ANSWER);
        bounded.read_until(b'\n', &mut answer).map_err(broken)?;
        if answer.last() != Some(&b'\n') {
            return Err(broken(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(message::decode_answer(&answer)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    /// What a server that knows only `id` answers to raw bytes before it closes.
    fn dialogue(sent: &[u8]) -> String {
        runtime().block_on(async {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let server = tokio::spawn(serve(theirs, async |request| match request {
                Request::Id => Ok(Answer::Id { name: "n".into(), key: "k".into() }),
                _ => Err(Failure::new("x", "y", "")),
            }));
            let (mut read, mut write) = ours.into_split();
            write.write_all(sent).await.unwrap();
            drop(write);
            let mut answer = String::new();
            read.read_to_string(&mut answer).await.unwrap();
            server.await.unwrap().unwrap();
            answer
        })
    }

    #[test]
    fn each_line_gets_its_answer_in_order() {
        let answer = dialogue(b"{\"v\":1,\"command\":\"id\"}\n{\"v\":1,\"command\":\"macs\"}\r\n");
        let lines: Vec<_> = answer.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains("\"key\":\"k\""));
        assert!(lines[1].contains("\"error\""));
    }

    #[test]
    fn garbage_is_answered_with_an_error_and_the_next_request_still_works() {
        let answer = dialogue(b"\x00\xff garbage\n{\"v\":1,\"command\":\"id\"}\n");
        let lines: Vec<_> = answer.lines().collect();
        assert!(lines[0].contains("not understood"));
        assert!(lines[1].contains("\"ok\""));
    }

    #[test]
    fn an_endless_line_is_cut_off_with_the_reason() {
        let mut endless = vec![b'x'; MAX_LINE + 2];
        endless.extend_from_slice(b"\n{\"v\":1,\"command\":\"id\"}\n");
        let answer = dialogue(&endless);
        assert_eq!(answer.lines().count(), 1, "the connection ends: {answer}");
        assert!(answer.contains("longer than 4194304"));
    }

    #[test]
    fn nobody_listening_is_told_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let err = Client::connect(&dir.path().join("none")).unwrap_err();
        assert!(matches!(err, AskError::NotRunning { .. }));
    }
}
