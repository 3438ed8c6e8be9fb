//! `vdecable connect USER@HOST`: lets the host at the other end of an ssh login join this node's
//! mesh. Each step is said before it is made; when one fails, what the steps before have made is
//! taken back.
//!
//! The system's own ssh does the login, with its configuration, agent and questions. The invitation
//! goes through its standard input: a command line can be read by everybody on either host.

use std::io::Write as _;
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use control::status::CableState;
use control::transport::{AskError, Client};
use control::{Answer, Failure, Request, message, render};

use super::{now, pause, show, show_cable, surprise};

/// For how long an invitation made for this can be used: as long as somebody types a password.
const EXPIRES: Duration = Duration::from_secs(600);

/// The exit codes of `vdecable`, of a shell that finds no program, and of ssh itself.
const NO_NODE: i32 = 3;
const NO_PROGRAM: i32 = 127;
const NO_LOGIN: i32 = 255;

/// How a host is reached, and its vdecable there.
pub(super) struct Host {
    ssh: Vec<String>,
    login: String,
    remote: String,
}

impl Host {
    pub(super) fn new(ssh: &str, login: String, remote: &str) -> anyhow::Result<Self> {
        let ssh: Vec<String> = ssh.split_whitespace().map(str::to_owned).collect();
        anyhow::ensure!(!ssh.is_empty(), "--ssh names no program");
        // ssh would take it for an option.
        anyhow::ensure!(!login.starts_with('-'), "{login:?} is no login");
        Ok(Self { ssh, login, remote: remote.to_owned() })
    }

    /// Runs vdecable there with these words, and this on its standard input.
    fn run(&self, words: &str, input: &str) -> anyhow::Result<Output> {
        let mut child = Command::new(&self.ssh[0])
            .args(&self.ssh[1..])
            .arg("--")
            .arg(&self.login)
            .arg(format!("{} --json {words}", self.remote))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.ssh[0]))?;
        let mut stdin = child.stdin.take().expect("it was asked for as a pipe");
        // If ssh has ended already, its exit code says why.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output().context("cannot wait for ssh")
    }

    /// What vdecable there answers; its failure, or the shell's, or ssh's, as one of this command.
    fn ask(&self, what: &str, words: &str, input: &str) -> anyhow::Result<serde_json::Value> {
        let output = self.run(words, input)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            let answer = serde_json::from_str(&said);
            return answer.with_context(|| format!("{} answers {said:?}", self.login));
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        let complaint = harmless(complaint.trim().lines().last().unwrap_or("it says nothing"));
        let failure = |why: String, fix: String| Failure::new(what, why, fix);
        let failure = match output.status.code() {
            Some(NO_LOGIN) => failure(
                format!("ssh {} fails: {complaint}", self.login),
                format!("see that this works: {} {}", self.ssh.join(" "), self.login),
            ),
            Some(NO_PROGRAM) => failure(
                format!("there is no {} on {}", self.remote, self.login),
                "install vdenode and vdecable there, or say where they are: --remote /path/to/vdecable"
                    .to_owned(),
            ),
            code => {
                let told = match message::decode_answer(said.trim().as_bytes()) {
                    Err(told) if !said.trim().is_empty() => told,
                    _ => Failure::new("", complaint, ""),
                };
                let (told_why, fix) = (harmless(&told.why), harmless(&told.fix));
                let why = format!("on {}: {told_why}", self.login);
                if code == Some(NO_NODE) {
                    failure(
                        format!("no node runs on {} ({told_why})", self.login),
                        "start vdenode there; if it has a name: --remote 'vdecable --node NAME'"
                            .to_owned(),
                    )
                } else {
                    failure(why, fix)
                }
            }
        };
        Err(AskError::Refused(failure).into())
    }
}

/// Lets a host join, and waits for its cable.
pub(super) fn connect(
    client: &mut Client,
    host: &Host,
    wait: Duration,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let what = "the two hosts are not linked";
    let say = |step: &str| {
        if !as_json {
            eprintln!("{step}");
        }
    };
    say(&format!("{}: looking for its node …", host.login));
    let id = host.ask(what, "id", "")?;
    let (key, name) = (text(&id, "key")?, text(&id, "name")?);
    say(&format!("  node {name}, key {}", key.get(..8).unwrap_or(&key)));

    if is_member(client, &key)? {
        say("it belongs to this mesh already; plugging in a cable …");
        let request = Request::Connect { address: key, once: false, parallel: false };
        return super::connect(client, request, wait, as_json);
    }
    say("inviting it into this node's mesh …");
    let request = Request::Invite {
        name: None,
        roles: Vec::new(),
        expires_seconds: Some(EXPIRES.as_secs()),
        lasts_seconds: None,
    };
    let Answer::Invitation(invitation) = client.ask(&request)? else { return Err(surprise()) };

    say(&format!("{}: joining …", host.login));
    let joined = host.ask(what, "join - --wait 0", &invitation.token.0);
    let joined = match joined {
        Ok(joined) => joined,
        Err(err) => {
            // What is left of this attempt is the invitation. If it was used in spite of all, the
            // node there is a member, and may stay one.
            let taken_back = client.ask(&Request::Uninvite { id: invitation.id });
            say(&match taken_back {
                Ok(_) => "nothing was changed here: the invitation was taken back".to_owned(),
                Err(left) => format!(
                    "the invitation could not be taken back ({left}): see vdecable members and invites"
                ),
            });
            return Err(err);
        }
    };
    say(&format!("  it is called {} now", text(&joined, "name")?));
    await_cable_of(client, &key, wait, as_json)
}

/// Waits for a cable with the holder of a key, whoever dials it.
fn await_cable_of(
    client: &mut Client,
    key: &str,
    wait: Duration,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let deadline = now() + wait;
    loop {
        let Answer::Status(status) = client.ask(&Request::Status)? else {
            return Err(surprise());
        };
        let mut cables = status.cables.into_iter();
        let cable = cables.find(|c| c.key.as_deref() == Some(key) && c.state == CableState::Up);
        if let Some(cable) = cable {
            if as_json {
                show_cable(&cable, None);
            } else {
                show(&render::cables(std::slice::from_ref(&cable)));
            }
            return Ok(ExitCode::SUCCESS);
        }
        if now() >= deadline {
            let why = "it has joined, and its cable is not up yet";
            let fix = "it goes on trying; vdecable status there says why it is not up";
            let failure = Failure::new("the two hosts are not linked", why, fix);
            return Err(AskError::Refused(failure).into());
        }
        pause();
    }
}

/// Whether the holder of a key is a member of this node's mesh.
fn is_member(client: &mut Client, key: &str) -> anyhow::Result<bool> {
    let Answer::Nodes { nodes } = client.ask(&Request::Nodes)? else { return Err(surprise()) };
    let found = nodes.into_iter().find(|node| node.key == key);
    Ok(found.and_then(|node| node.member).is_some_and(|member| member.state == "member"))
}

fn text(answer: &serde_json::Value, field: &str) -> anyhow::Result<String> {
    let text = answer.get(field).and_then(serde_json::Value::as_str);
    text.map(harmless).with_context(|| {
        format!("vdecable there told no {field}: {}", harmless(&answer.to_string()))
    })
}

/// What another host says, without what a terminal would act upon.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_host_says_does_nothing_to_the_terminal() {
        let answer = serde_json::json!({ "name": "a\u{1b}]0;b\u{7}\u{9b}2J" });
        assert_eq!(text(&answer, "name").unwrap(), "a ]0;b  2J");
        let Err(err) = text(&serde_json::json!("\u{1b}[2J"), "name") else { panic!() };
        assert!(!err.to_string().chars().any(char::is_control), "{err}");
    }
}
