//! Lines, limits and streams of events, at both ends of a socket.

use std::time::SystemTime;

use super::*;
use crate::event::{Event, Named};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn serve_admin<F, H>(stream: UnixStream, handle: H) -> io::Result<()>
where
    H: FnMut(Request) -> F,
    F: Future<Output = Result<Reply, Failure>>,
{
    serve(stream, &Limits::of(Right::Admin), handle).await
}

/// What a server that knows only `id` answers to raw bytes before it closes.
fn dialogue(sent: &[u8]) -> String {
    runtime().block_on(async {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let server = tokio::spawn(serve_admin(theirs, async |request| match request {
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
        let served = serve_admin(stream, async |_| {
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
        let server = tokio::spawn(serve_admin(theirs, move |_| {
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

#[test]
fn who_may_only_look_sends_short_lines() {
    runtime().block_on(async {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let limits = Limits::of(Right::View);
        let server = tokio::spawn(async move {
            serve(theirs, &limits, async |_| Err(Failure::new("x", "y", ""))).await
        });
        let (mut read, mut write) = ours.into_split();
        let _ = write.write_all(&vec![b'x'; 2 * MAX_VIEW_LINE]).await;
        let mut answer = Vec::new();
        // What it sent beyond the limit was never read, so the end may be a reset.
        let _ = read.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.contains("longer than 4096"), "{answer}");
        server.await.unwrap().unwrap();
    });
}

#[test]
fn a_client_that_stops_reading_holds_up_neither_others_nor_its_place() {
    runtime().block_on(async {
        let limits = Limits::of(Right::View);
        let big = || Answer::Done { message: "x".repeat(8 << 20) };
        let mut stalled = Vec::new();
        let mut servers = Vec::new();
        for _ in 0..2 * Limits::ANSWERS {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            let limits = limits.clone();
            servers.push(tokio::spawn(async move {
                serve(theirs, &limits, async |_| Ok(big().into())).await
            }));
            let request = message::encode_request(&Request::Id);
            ours.write_all(format!("{request}\n").as_bytes()).await.unwrap();
            stalled.push(ours);
        }
        // Each is dropped after the limit, and gives its place to the next.
        let all = async {
            for server in servers {
                server.await.unwrap().unwrap();
            }
        };
        tokio::time::timeout(10 * STALL_LIMIT, all).await.expect("they are dropped");
        assert_eq!(limits.answers.available_permits(), Limits::ANSWERS);
    });
}

#[test]
fn those_who_wait_for_other_nodes_keep_no_answer_from_anybody() {
    runtime().block_on(async {
        let limits = Limits::of(Right::View);
        let mut clients = Vec::new();
        let ping = b"{\"v\":1,\"command\":\"ping\",\"target\":\"far\"}\n".as_slice();
        let pings = std::iter::repeat_n(ping, 2 * Limits::ANSWERS);
        for line in pings.chain([b"{\"v\":1,\"command\":\"id\"}\n".as_slice()]) {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            let limits = limits.clone();
            tokio::spawn(async move {
                serve(theirs, &limits, async |request| match request {
                    Request::Id => Ok(Answer::Id { name: "n".into(), key: "k".into() }.into()),
                    _ => std::future::pending().await,
                })
                .await
            });
            ours.write_all(line).await.unwrap();
            tokio::task::yield_now().await;
            clients.push(ours);
        }
        let mut answer = [0; 6];
        let heard = clients.pop().unwrap();
        let mut heard = tokio::io::BufReader::new(heard);
        let read = heard.read_exact(&mut answer);
        tokio::time::timeout(Duration::from_secs(5), read).await.expect("an answer").unwrap();
        assert!(answer.starts_with(b"{"));
    });
}
