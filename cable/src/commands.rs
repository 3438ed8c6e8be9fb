//! What each command of `vdecable` asks and shows.

mod membership;
mod ssh;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use control::message::StreamLine;
use control::path::Surroundings;
use control::status::{CableState, CableStatus};
use control::transport::{AskError, Client};
use control::{Answer, Failure, Request, message, render};

use crate::cli::{Cli, Command, LeaseCommand};
use crate::ping::Echoes;

/// How often a cable is looked at while it comes up.
const LOOK: Duration = Duration::from_millis(50);

/// For how long a refusal must last before nobody waits for the end of it: news of who was let in are
/// on their way for less.
const REFUSED: Duration = Duration::from_secs(1);

/// Runs one command.
pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    if let Command::Plug { sock, descr, max_frame } = &cli.command {
        crate::plug::run(sock.as_deref(), descr, (*max_frame).into())?;
        return Ok(ExitCode::SUCCESS);
    }
    let path = control_path(&cli)?;
    let mut client = Client::connect(&path)?;
    let request = match cli.command {
        Command::Connect { address, ssh, remote, wait, .. } if address.contains('@') => {
            let host = ssh::Host::new(&ssh, address, &remote)?;
            return ssh::connect(&mut client, &host, wait, cli.json);
        }
        Command::Connect { address, once, parallel, wait, .. } => {
            let request = Request::Connect { address, once, parallel };
            return connect(&mut client, request, wait, cli.json);
        }
        Command::Join { token, name, wait } => {
            return membership::join(&mut client, token, name, wait, cli.json);
        }
        Command::Invite { name, expires, lasts, role } => {
            return membership::invite(&mut client, (name, role), (expires, lasts), cli.json);
        }
        Command::Invites => Request::Invites,
        Command::Uninvite { id } => Request::Uninvite { id },
        Command::Revoke { member, with_admitted } => Request::Revoke { member, with_admitted },
        Command::Leave { force } => Request::Leave { force },
        Command::RotateKey => Request::RotateKey,
        Command::Events { last, no_follow } => {
            return events(&mut client, last, !no_follow, cli.json);
        }
        Command::Ping { target, count, interval, wait, size, vlan } => {
            let echoes = Echoes { target, vlan, size: size.into(), wait, interval, count };
            return echoes.run(&mut client, cli.json);
        }
        Command::Id => Request::Id,
        Command::Trust { key, name } => Request::Trust { key, name },
        Command::Untrust { key } => Request::Untrust { key },
        Command::Disconnect { cable } => Request::Disconnect { cable },
        Command::Status => Request::Status,
        Command::Ports => Request::Ports,
        Command::Leases => Request::Leases,
        Command::Lease(LeaseCommand::Add { address, mac, name }) => {
            Request::LeaseAdd { address, mac, name }
        }
        Command::Lease(LeaseCommand::Remove { address }) => Request::LeaseRemove { address },
        Command::Forward { protocol, port, to, remove } => forward(protocol, port, to, remove)?,
        Command::Macs { at, vlan } => Request::Macs { node: at, vlan },
        Command::Nodes => Request::Nodes,
        Command::Cables => Request::Cables,
        Command::Trace { target, vlan } => Request::Trace { target, vlan },
        Command::Wire(arguments) => arguments.request()?,
        Command::Plug { .. } => unreachable!("it was run above: it needs no node"),
    };
    let answer = client.ask(&request)?;
    if cli.json {
        show(&json(&answer));
        return Ok(ExitCode::SUCCESS);
    }
    show(&match answer {
        Answer::Id { key, .. } => key,
        Answer::Status(status) => render::status(&status),
        Answer::Ports { ports } => render::ports(&ports),
        Answer::Macs { macs } => render::macs(&macs),
        Answer::Leases { leases } => render::leases(&leases),
        Answer::Forwards { forwards } => render::forwards(&forwards),
        Answer::Nodes { nodes } => render::nodes(&nodes),
        Answer::Cables { cables } => render::cable_table(&cables),
        Answer::Trace { traces } => render::traces(&traces),
        Answer::Invites { invites, attempts } => render::invites(&invites, &attempts),
        Answer::Events | Answer::Ping(_) | Answer::Invitation(_) | Answer::Joined { .. } => {
            return Err(surprise());
        }
        Answer::Wires { wires } => render::wires(&wires),
        Answer::WireProfiles { profiles } => render::wire_profiles(&profiles),
        Answer::Done { message } => message,
        Answer::Cable { cable, .. } => cable,
    });
    Ok(ExitCode::SUCCESS)
}

/// Which of its three forms `forward` has.
fn forward(
    protocol: Option<String>,
    port: Option<String>,
    to: Option<String>,
    remove: bool,
) -> anyhow::Result<Request> {
    match (protocol.zip(port), to) {
        (None, _) => Ok(Request::Forwards),
        (Some((protocol, port)), Some(to)) => Ok(Request::ForwardAdd { protocol, port, to }),
        (Some((protocol, port)), None) if remove => Ok(Request::ForwardRemove { protocol, port }),
        (Some((protocol, port)), None) => anyhow::bail!(
            "where shall {protocol} port {port} lead? Write MACHINE:PORT behind it, or --remove"
        ),
    }
}

fn control_path(cli: &Cli) -> anyhow::Result<PathBuf> {
    if let Some(path) = &cli.control {
        return Ok(path.clone());
    }
    let surroundings = Surroundings::of_this_process(rustix::process::geteuid().is_root());
    surroundings
        .control(&cli.node)
        .context("XDG_RUNTIME_DIR is not set; name the node's control socket with --control PATH")
}

/// Plugs a cable in and watches it come up, saying what it waits for.
fn connect(
    client: &mut Client,
    request: Request,
    wait: Duration,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let Answer::Cable { cable: id, created } = client.ask(&request)? else {
        return Err(surprise());
    };
    await_cable(client, &id, created, wait, as_json)
}

/// Watches a cable come up.
fn await_cable(
    client: &mut Client,
    id: &str,
    created: bool,
    wait: Duration,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let deadline = now() + wait;
    let mut told = None;
    let mut refused = None;
    loop {
        let cable = look_at(client, id)?;
        let settled = matches!(cable.state, CableState::Up | CableState::Standby);
        refused = if cable.refused && !settled { refused.or_else(|| Some(now())) } else { None };
        let is_refused = refused.is_some_and(|since| now() - since >= REFUSED);
        if settled || is_refused || now() >= deadline {
            if as_json {
                show_cable(&cable, Some(created));
            } else {
                if settled && !created && !cable.dialled_here {
                    let peer = cable.peer.as_deref().unwrap_or("the peer");
                    eprintln!(
                        "there already: {peer} has dialled and keeps it; another one beside it: \
                         vdecable connect --parallel"
                    );
                }
                show(&render::cables(std::slice::from_ref(&cable)));
                if !settled {
                    show("the node keeps trying; vdecable status shows how it goes\n");
                }
            }
            return Ok(if settled { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        if !as_json && told.is_none() {
            let verb = if created { "plugging in" } else { "there already:" };
            eprintln!("{verb} cable {id} to {} …", cable.address);
            told = Some(None);
        }
        if !as_json && cable.reason.is_some() && told != Some(cable.reason.clone()) {
            eprintln!("  {}", cable.reason.as_deref().unwrap_or_default());
            if let Some(fix) = &cable.fix {
                eprintln!("  → {fix}");
            }
            told = Some(cable.reason);
        }
        pause();
    }
}

/// A cable as one object.
fn show_cable(cable: &CableStatus, created: Option<bool>) {
    #[derive(serde::Serialize)]
    struct Shown<'a> {
        kind: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        created: Option<bool>,
        #[serde(flatten)]
        cable: &'a CableStatus,
    }
    show(&json(&Shown { kind: "cable", created, cable }));
}

/// Shows events until the node or the reader ends.
fn events(
    client: &mut Client,
    last: usize,
    follow: bool,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let Answer::Events = client.ask(&Request::Events { last, follow })? else {
        return Err(surprise());
    };
    while let Some(line) = client.next_event()? {
        let text = match line {
            StreamLine::Event(heard) if as_json => compact(&heard),
            StreamLine::Event(heard) => render::event(&heard),
            StreamLine::Skipped(_) if as_json => compact(&line),
            StreamLine::Skipped(count) => render::skipped(count),
        };
        if try_to_show(&text).is_err() {
            return Ok(ExitCode::SUCCESS);
        }
    }
    if follow {
        return Err(AskError::Ended { path: client.path().to_owned() }.into());
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn surprise() -> anyhow::Error {
    anyhow::anyhow!("the node answered something else; use the vdecable that came with it")
}

fn look_at(client: &mut Client, id: &str) -> anyhow::Result<CableStatus> {
    let Answer::Status(status) = client.ask(&Request::Status)? else {
        return Err(surprise());
    };
    let cable = status.cables.into_iter().find(|cable| cable.id == id);
    cable.with_context(|| format!("cable {id} was pulled out meanwhile"))
}

#[expect(clippy::disallowed_methods, reason = "a command waits in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the node tells nothing by itself in this version")]
fn pause() {
    std::thread::sleep(LOOK);
}

pub(crate) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).expect("views are plain data with string keys")
}

fn compact(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("views are plain data with string keys")
}

/// Prints a failure in the form in which the node would say it.
pub(crate) fn show_json_failure(failure: &Failure) {
    show(&message::encode_answer(Err(failure.clone())));
}

/// Prints; a reader that has closed the pipe has seen enough. What cannot be written otherwise is lost,
/// and may be a token that is shown once: the command has failed then.
pub(crate) fn show(text: &str) {
    match try_to_show(text) {
        Err(err) if err.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("vdecable: the answer is lost: standard output takes nothing: {err}");
            std::process::exit(1);
        }
        Ok(()) | Err(_) => {}
    }
}

fn try_to_show(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    write!(out, "{text}{newline}")?;
    out.flush()
}
