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
use tokio::sync::broadcast::{self, error::RecvError};

use crate::event::Told;
use crate::message::{self, Answer, Failure, Heard, Request, StreamLine};

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

/// Serves one client until it leaves, stalls, or sends what is not a line.
///
/// # Errors
/// Those of the socket; a client that misbehaves ends with `Ok` after it was told why.
pub async fn serve<F, H>(stream: UnixStream, mut handle: H) -> io::Result<()>
where
    H: FnMut(Request) -> F,
    F: Future<Output = Result<Reply, Failure>>,
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

/// Tells events until there are no more. A client that stops reading is waited for: it may have
/// been stopped by its user, and costs no more than its queue.
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
    write.write_all(line.as_bytes()).await
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
        let mut line = message::encode_request(request);
        line.push('\n');
        self.reader.get_mut().write_all(line.as_bytes()).map_err(|err| self.broken(err))?;
        match self.line()? {
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
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::event::{Event, Named};

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    /// What a server that knows only `id` answers to raw bytes before it closes.
    fn dialogue(sent: &[u8]) -> String {
        runtime().block_on(async {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let server = tokio::spawn(serve(theirs, async |request| match request {
                Request::Id => Ok(Answer::Id { name: "n".into(), key: "k".into() }.into()),
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

    fn joined(name: &str) -> Arc<Told> {
        let node = Named { name: name.into(), key: String::new() };
        Arc::new(Told::new(SystemTime::UNIX_EPOCH, Event::NodeJoined { node }))
    }

    /// What a client without a runtime hears; `events` happen once it has its answer.
    fn followed(queue: usize, past: &[&str], events: &[&str]) -> Vec<StreamLine<Heard>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ctl");
        let runtime = runtime();
        let _guard = runtime.enter();
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let client = std::thread::spawn(move || {
            let mut client = Client::connect(&path).unwrap();
            let request = Request::Events { last: 1, follow: true };
            assert_eq!(client.ask(&request).unwrap(), Answer::Events);
            std::iter::from_fn(|| client.next_event().unwrap()).collect()
        });
        runtime.block_on(async {
            let (stream, _) = listener.accept().await.unwrap();
            let served = serve(stream, async |_| {
                let (tell, live) = broadcast::channel(queue);
                for name in events {
                    tell.send(joined(name)).unwrap();
                }
                let past = past.iter().map(|name| joined(name)).collect();
                Ok(Reply::Events(Feed { past, live: Some(live) }))
            });
            served.await.unwrap();
        });
        client.join().unwrap()
    }

    fn names(lines: &[StreamLine<Heard>]) -> Vec<String> {
        let name = |line: &StreamLine<Heard>| match line {
            StreamLine::Event(heard) => heard.rest["node"]["name"].as_str().unwrap().to_owned(),
            StreamLine::Skipped(skipped) => format!("skipped {skipped}"),
        };
        lines.iter().map(name).collect()
    }

    #[test]
    fn events_of_before_come_first_and_the_stream_ends_with_the_node() {
        assert_eq!(names(&followed(8, &["a", "b"], &["c", "d"])), ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_client_that_is_too_slow_hears_how_much_it_has_missed() {
        assert_eq!(names(&followed(2, &[], &["a", "b", "c", "d"])), ["skipped 2", "c", "d"]);
    }

    #[test]
    fn a_client_that_leaves_ends_its_stream() {
        runtime().block_on(async {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (tell, _) = broadcast::channel(2);
            let live = tell.subscribe();
            let mut feed = Some(Feed { past: Vec::new(), live: Some(live) });
            let server = tokio::spawn(serve(theirs, move |_| {
                std::future::ready(Ok(Reply::Events(feed.take().unwrap())))
            }));
            let (read, mut write) = ours.into_split();
            let request = message::encode_request(&Request::Events { last: 0, follow: true });
            write.write_all(format!("{request}\n").as_bytes()).await.unwrap();
            let mut lines = tokio::io::BufReader::new(read).lines();
            assert!(lines.next_line().await.unwrap().unwrap().contains("events"));
            drop((lines, write));
            server.await.unwrap().unwrap();
            assert_eq!(tell.receiver_count(), 0);
        });
    }

    #[test]
    fn nobody_listening_is_told_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let err = Client::connect(&dir.path().join("none")).unwrap_err();
        assert!(matches!(err, AskError::NotRunning { .. }));
    }
}
