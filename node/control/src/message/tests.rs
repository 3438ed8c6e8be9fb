//! What is documented is what is spoken, and what makes no sense is refused.

use std::time::SystemTime;

use super::*;
use crate::event::{Event, Named};

#[test]
fn the_documented_lines_are_what_is_spoken() {
    let request = Request::Trust { key: "abc".into(), name: Some("hostB".into()) };
    let line = r#"{"v":1,"command":"trust","key":"abc","name":"hostB"}"#;
    assert_eq!(encode_request(&request), line);
    assert_eq!(decode_request(line.as_bytes()), Ok(request));

    let done = Answer::Done { message: "yes".into() };
    let line = r#"{"v":1,"ok":{"kind":"done","message":"yes"}}"#;
    assert_eq!(encode_answer(Ok(done.clone())), line);
    assert_eq!(decode_answer(line.as_bytes()), Ok(done));

    let macs = Request::Macs { node: None, vlan: None };
    let line = r#"{"v":1,"command":"macs"}"#;
    assert_eq!(encode_request(&macs), line);
    assert_eq!(decode_request(line.as_bytes()), Ok(macs));

    let events = Request::Events { last: 0, follow: true };
    let line = r#"{"v":1,"command":"events"}"#;
    assert_eq!(decode_request(line.as_bytes()), Ok(events));

    let failure = Failure::new("a", "b", "c");
    let line = r#"{"v":1,"error":{"what":"a","why":"b","fix":"c"}}"#;
    assert_eq!(encode_answer(Err(failure.clone())), line);
    assert_eq!(decode_answer(line.as_bytes()), Err(failure));
}

#[test]
fn a_stream_of_events_is_what_is_documented() {
    let node = Named { name: "b".into(), key: "k".into() };
    let told = Told::new(SystemTime::UNIX_EPOCH, Event::NodeJoined { node });
    let line = encode_told(&told);
    assert_eq!(
        line,
        r#"{"v":1,"event":{"at":"1970-01-01T00:00:00.000Z","level":"info","kind":"node-joined","node":{"name":"b","key":"k"},"text":"node b has joined: there is a way to it"}}"#
    );
    let Ok(StreamLine::Event(heard)) = decode_stream_line(line.as_bytes()) else {
        panic!("{line}")
    };
    assert_eq!((heard.level.as_str(), heard.text), ("info", told.text));
    assert_eq!(heard.rest["kind"], "node-joined");
    let line = r#"{"v":1,"skipped":3}"#;
    assert_eq!(encode_skipped(3), line);
    assert_eq!(decode_stream_line(line.as_bytes()), Ok(StreamLine::Skipped(3)));
    assert!(decode_stream_line(b"{}").is_err());
}

#[test]
fn a_request_that_makes_no_sense_is_refused_with_the_reason() {
    for (line, reason) in [
        ("", "EOF"),
        ("hello", "expected value"),
        ("[]", "expected a map"),
        (r#"{"command":"status"}"#, "no field \"v\""),
        (r#"{"v":2,"command":"status"}"#, "version 2"),
        (r#"{"v":1,"command":"explode"}"#, "explode"),
        (r#"{"v":1}"#, "command"),
        (r#"{"v":1,"command":"trust"}"#, "key"),
        (r#"{"v":1,"command":"connect","address":"x","adress":"y"}"#, "adress"),
    ] {
        let failure = decode_request(line.as_bytes()).expect_err(line);
        assert!(failure.why.contains(reason), "{line}: {}", failure.why);
    }
}

#[test]
fn what_changes_anything_needs_the_right_to() {
    let needs = |line: &str| decode_request(line.as_bytes()).expect(line).needs();
    for looking in ["id", "status", "ports", "macs", "nodes", "cables", "events", "leases"] {
        assert_eq!(needs(&format!(r#"{{"v":1,"command":"{looking}"}}"#)), Right::View);
    }
    for changing in [
        r#"{"v":1,"command":"trust","key":"k"}"#,
        r#"{"v":1,"command":"untrust","key":"k"}"#,
        r#"{"v":1,"command":"connect","address":"a"}"#,
        r#"{"v":1,"command":"disconnect","cable":"c1"}"#,
        r#"{"v":1,"command":"lease-remove","address":"a"}"#,
    ] {
        assert_eq!(needs(changing), Right::Admin, "{changing}");
    }
}
