//! Requests, answers and failures, and their JSON form.

use serde::{Deserialize, Serialize};

use crate::status::{MacEntry, PortStatus, Status};
use crate::wire::{WireChange, WireProfile, WireStatus, WireTarget};

/// The version of the control protocol. A node refuses any other and says which it speaks.
pub const VERSION: u32 = 1;

/// What a client asks of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// This node's public key.
    Id,
    /// The node, its cables, and the keys that were refused.
    Status,
    /// Every bridge port with its counters.
    Ports,
    /// The filtering database: every MAC address known and its port.
    Macs,
    /// Accept cables from and to the holder of a key.
    Trust {
        /// Text form of the public key.
        key: String,
        /// What to call its holder in views; by default the name that it gives itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// Stop accepting a key and cut its cables.
    Untrust {
        /// Text form of the public key, or the name given with `trust`.
        key: String,
    },
    /// Make a cable and keep it: it is redialled for ever and after every restart.
    Connect {
        /// `HOST`, `HOST:PORT`, `[IPV6]:PORT`.
        address: String,
    },
    /// Pull a cable out and forget it.
    Disconnect {
        /// Cable id (`c1`), address as given to `connect`, peer name or peer key.
        cable: String,
    },
    /// Every wire: what is asked of it and what it achieved.
    Wires,
    /// Make a link worse, or better again, or show it when nothing is to be changed.
    Wire {
        /// Which one.
        target: WireTarget,
        /// How.
        #[serde(default)]
        change: WireChange,
    },
    /// The kinds of link that can be asked for by name.
    WireProfiles,
}

/// What a node answers when it did what was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Answer {
    /// Answer to [`Request::Id`].
    Id {
        /// The node's name.
        name: String,
        /// Its public key in text form.
        key: String,
    },
    /// Answer to [`Request::Status`].
    Status(Box<Status>),
    /// Answer to [`Request::Ports`].
    Ports {
        /// Every port, by number.
        ports: Vec<PortStatus>,
    },
    /// Answer to [`Request::Macs`].
    Macs {
        /// Every entry, by VLAN and address.
        macs: Vec<MacEntry>,
    },
    /// A cable was made, or was there already.
    Cable {
        /// Its id, for `disconnect`.
        cable: String,
        /// False when it was there before.
        created: bool,
    },
    /// Answer to [`Request::Wires`], and to [`Request::Wire`] with that one.
    Wires {
        /// Ports by number, then cables, then pairs.
        wires: Vec<WireStatus>,
    },
    /// Answer to [`Request::WireProfiles`].
    WireProfiles {
        /// Every profile.
        profiles: Vec<WireProfile>,
    },
    /// Nothing to show but that it is done.
    Done {
        /// One sentence.
        message: String,
    },
}

/// Why a request was not carried out, for people: what failed, why, what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Failure {
    /// What failed.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do about it; empty when there is nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fix: String,
}

impl Failure {
    /// A failure from its three parts.
    pub fn new(what: impl Into<String>, why: impl ToString, fix: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.to_string(), fix: fix.into() }
    }
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    v: u32,
    #[serde(flatten)]
    body: T,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Ok(Answer),
    Error(Failure),
}

/// The line (without its newline) that carries a request.
pub fn encode_request(request: &Request) -> String {
    to_line(request)
}

/// The line (without its newline) that carries what came of a request.
pub fn encode_answer(outcome: Result<Answer, Failure>) -> String {
    to_line(match outcome {
        Ok(answer) => Outcome::Ok(answer),
        Err(failure) => Outcome::Error(failure),
    })
}

fn to_line(body: impl Serialize) -> String {
    serde_json::to_string(&Versioned { v: VERSION, body })
        .expect("plain data with string keys always has a JSON form")
}

/// Reads a request line.
///
/// # Errors
/// A [`Failure`] ready to be sent back: not JSON, another version, an unknown command or field.
pub fn decode_request(line: &[u8]) -> Result<Request, Failure> {
    let refused = |why: String| {
        Failure::new(
            "the request was not understood",
            why,
            "send one JSON object a line, for example {\"v\":1,\"command\":\"status\"}",
        )
    };
    let mut object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(line).map_err(|err| refused(err.to_string()))?;
    match object.remove("v") {
        Some(version) if version == VERSION => {}
        Some(other) => {
            return Err(Failure::new(
                "the request was not understood",
                format!("it is of version {other}; this node speaks version {VERSION}"),
                "use the vdecable that came with this node",
            ));
        }
        None => return Err(refused("it has no field \"v\"".into())),
    }
    // The version is taken out by hand: `flatten` and `deny_unknown_fields` do not go together.
    serde_json::from_value(object.into()).map_err(|err| refused(err.to_string()))
}

/// Reads an answer line.
///
/// # Errors
/// The node's own [`Failure`], or one that says that the line was not an answer.
pub fn decode_answer(line: &[u8]) -> Result<Answer, Failure> {
    let answer: Versioned<Outcome> = serde_json::from_slice(line).map_err(|err| {
        Failure::new(
            "the node's answer was not understood",
            err,
            "use the vdecable that came with the node",
        )
    })?;
    match answer.body {
        Outcome::Ok(answer) => Ok(answer),
        Outcome::Error(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

        let failure = Failure::new("a", "b", "c");
        let line = r#"{"v":1,"error":{"what":"a","why":"b","fix":"c"}}"#;
        assert_eq!(encode_answer(Err(failure.clone())), line);
        assert_eq!(decode_answer(line.as_bytes()), Err(failure));
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
}
