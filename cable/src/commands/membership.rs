//! Inviting and joining, as they are typed.

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use cable::Token;
use control::membership::TokenText;
use control::transport::Client;
use control::{Answer, Failure, Request, render};

use super::{await_cable, json, show, surprise};

/// The longest line that is read as an invitation.
const MAX_TOKEN: u64 = 8 * 1024;

/// Invites: the line on standard output, so that a script can take it, the rest on standard error.
pub(super) fn invite(
    client: &mut Client,
    (name, roles): (Option<String>, Vec<String>),
    (expires, lasts): (Duration, Option<Duration>),
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let request = Request::Invite {
        name,
        roles,
        expires_seconds: Some(expires.as_secs()),
        lasts_seconds: lasts.map(|lasts| lasts.as_secs()),
    };
    let answer = client.ask(&request)?;
    let Answer::Invitation(invitation) = &answer else { return Err(surprise()) };
    if as_json {
        show(&json(&answer));
    } else {
        show(&invitation.token.0);
        eprint!("{}", render::invitation(invitation));
    }
    Ok(ExitCode::SUCCESS)
}

/// Joins, and waits for the cable.
pub(super) fn join(
    client: &mut Client,
    token: String,
    name: Option<String>,
    wait: Duration,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let token = if token == "-" { read_token()? } else { token };
    // The node would say the same of a mistyped one; here nothing of it leaves the terminal.
    let parsed: Token = token.parse().map_err(|err| {
        let what = "this node has joined no mesh";
        let fix = "copy the line that vdecable invite printed on the other host";
        control::transport::AskError::Refused(Failure::new(what, err, fix))
    })?;
    if !as_json {
        let addresses: Vec<_> = parsed.addresses.iter().map(ToString::to_string).collect();
        eprintln!("asking at {} …", addresses.join(", "));
    }
    let answer = client.ask(&Request::Join { token: TokenText(token), name })?;
    let Answer::Joined { name, by, cable, .. } = &answer else { return Err(surprise()) };
    if as_json {
        // One object: how the cable does, vdecable status says.
        show(&json(&answer));
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("joined: {by} has let this node in as {name}");
    let outcome = await_cable(client, cable, true, wait, false)?;
    eprintln!("other members: vdecable nodes; a cable to one: vdecable connect NAME");
    Ok(outcome)
}

/// One line, so that it can be pasted as well as piped.
fn read_token() -> anyhow::Result<String> {
    if std::io::stdin().is_terminal() {
        eprintln!("paste the line that vdecable invite printed on the other host:");
    }
    let mut text = String::new();
    let mut input = std::io::stdin().lock().take(MAX_TOKEN);
    input.read_line(&mut text).context("cannot read the invitation")?;
    Ok(text.trim().to_owned())
}
