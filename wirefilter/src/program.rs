//! From the command line to a running link and back.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::{Context as _, anyhow, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use crate::blink::BlinkSocket;
use crate::cli::{Arguments, Place, Sides, StatsFormat};
use crate::command::{FileKind, LinkCommand, trace};
use crate::console_io;
use crate::daemon::{self, tell};
use crate::driver::{Driver, Shared, now};
use crate::filter::{Blink, Filter};
use crate::management::Management;
use crate::pidfile::Pidfile;
use crate::session::Session;
use crate::side::Side;
use crate::stats;

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let arguments = match Arguments::parse_from_words(words) {
        Ok(arguments) => arguments,
        Err(err) => {
            let _ = err.print();
            // As VDE's, help asked for counts as success.
            return if err.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let sides = match arguments.sides() {
        Ok(sides) => sides,
        Err(err) => {
            eprintln!("wirefilter: {err}");
            return ExitCode::FAILURE;
        }
    };
    if arguments.daemon && !daemon::is_daemon() {
        return daemon::start(uses_stdio(&sides));
    }
    match run(&arguments, &sides) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            tell(&in_one_line(&err));
            ExitCode::FAILURE
        }
    }
}

fn uses_stdio(sides: &Sides) -> bool {
    match sides {
        Sides::Pipes => true,
        Sides::Named { left, right } => *left == Place::Stdio || *right == Place::Stdio,
    }
}

fn run(arguments: &Arguments, sides: &Sides) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let local = LocalSet::new();
    let result = local.block_on(&runtime, run_link(arguments, sides));
    // A thread that waits for standard input cannot be waited for.
    runtime.shutdown_background();
    result
}

async fn run_link(arguments: &Arguments, sides: &Sides) -> anyhow::Result<()> {
    let (left, right) = open(sides).await?;
    let one_way = right.is_none();
    let filter = prepare(arguments, one_way)?;
    let blink = filter.blink().map(BlinkSocket::new).transpose().context("cannot make a socket")?;
    let shared = Rc::new(Shared::new(filter));
    if let Some(path) = &arguments.rcfile {
        let text = std::fs::read(path)
            .with_context(|| format!("cannot read the rc file {}", path.display()))?;
        console_io::run_script(&shared, &path.to_string_lossy(), &text);
    }
    let _pidfile = arguments.pidfile.as_deref().map(Pidfile::create).transpose()?;
    let management = arguments.mgmt.as_deref();
    let management =
        management.map(|path| Management::bind(path, arguments.mgmtmode)).transpose()?;
    tell(&started(sides, one_way));
    if daemon::is_daemon() {
        daemon::leave_terminal()?;
    }

    let mut driver = Driver::new(&shared, left, right, blink)?;
    let has_console = !uses_stdio(sides) && !daemon::is_daemon();
    let ended = tokio::select! {
        result = driver.run() => result,
        result = until_told_to_end() => result,
        () = serve(management.as_ref(), &shared) => Ok(()),
        () = console(&shared), if has_console => Ok(()),
    };
    say_stats(arguments, &shared.filter.borrow(), &driver);
    ended
}

async fn open(sides: &Sides) -> anyhow::Result<(Side, Option<Side>)> {
    match sides {
        Sides::Named { left, right } => {
            Ok((Side::open(left).await?, Some(Side::open(right).await?)))
        }
        Sides::Pipes => {
            if std::io::stdin().is_terminal() || std::io::stdout().is_terminal() {
                bail!(
                    "standard input or output is a terminal and no pipe; run it under dpipe, \
                     between two vde_plug, or with -v A:B"
                );
            }
            let alternate = Side::alternate()?;
            Ok((Side::stdio()?, alternate))
        }
    }
}

/// The link as the command line wants it.
fn prepare(arguments: &Arguments, one_way: bool) -> anyhow::Result<Filter> {
    let blink = arguments.blink.as_ref().map(|socket| {
        let id = arguments.blinkid.clone();
        Blink {
            socket: socket.to_string_lossy().into_owned(),
            id: id.unwrap_or_else(|| format!("{:06}", std::process::id())),
        }
    });
    let seed = arguments.seed.unwrap_or_else(rand::random);
    let mut filter = Filter::new(seed, one_way, blink, now());
    if let Some(path) = &arguments.distribution {
        take_file(&mut filter, FileKind::Distribution, path)?;
    }
    if let Some(profile) = arguments.profile {
        filter.execute(&LinkCommand::Profile(profile), now());
    }
    for (field, value) in arguments.settings() {
        filter.set(field, value, now()).map_err(|failure| anyhow!(failure.reason))?;
    }
    for text in &arguments.trace {
        let (direction, path) = trace(text);
        take_file(&mut filter, FileKind::Trace(direction), Path::new(path))?;
    }
    if let Some(path) = &arguments.pairs {
        take_file(&mut filter, FileKind::Pairs, path)?;
    }
    if let Some(path) = &arguments.timeline {
        take_file(&mut filter, FileKind::Timeline, path)?;
    }
    Ok(filter)
}

fn take_file(filter: &mut Filter, kind: FileKind, path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let text = std::fs::read(path).with_context(|| format!("cannot read {shown}"))?;
    let text = String::from_utf8_lossy(&text);
    filter
        .take_file(kind, Some(&text), now())
        .map_err(|failure| anyhow!("{shown}, {}", failure.reason))
}

fn started(sides: &Sides, one_way: bool) -> String {
    let shown = |place: &Place| match place {
        Place::Stdio => "-".to_owned(),
        Place::Switch { path: None, .. } => "default switch".to_owned(),
        Place::Switch { path: Some(path), .. } => path.display().to_string(),
    };
    match sides {
        Sides::Pipes if one_way => "monodirectional filter starting...".to_owned(),
        Sides::Pipes => "bidirectional filter starting...".to_owned(),
        Sides::Named { left, right } => {
            format!("bidirectional vdeplug filter L={} R={} starting...", shown(left), shown(right))
        }
    }
}

/// Completes with SIGTERM, SIGINT or SIGHUP.
async fn until_told_to_end() -> anyhow::Result<()> {
    let listen = |kind| signal(kind).context("cannot wait for signals");
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hang_up = listen(SignalKind::hangup())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

async fn serve(management: Option<&Management>, shared: &Rc<Shared>) {
    match management {
        Some(management) => management.serve(shared).await,
        None => std::future::pending().await,
    }
}

/// The console on standard input. Its end is the program's end, as in VDE.
async fn console(shared: &Rc<Shared>) {
    console_io::run(shared, Session::console(), console_io::stdin(), tokio::io::stdout()).await;
}

fn say_stats(arguments: &Arguments, filter: &Filter, driver: &Driver<'_>) {
    match arguments.stats {
        None => {}
        Some(StatsFormat::Json) => eprintln!("{}", stats::json(filter)),
        Some(StatsFormat::Text) => {
            for line in stats::text(filter) {
                eprintln!("{line}");
            }
            let unfit = driver.unfit().frames;
            if unfit > 0 {
                eprintln!("Unfit for a stream or a plug: {unfit} packets");
            }
        }
    }
}

/// An error and its causes on one line, each text once: a cause that is part of the text before it
/// is not repeated.
fn in_one_line(err: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in err.chain().map(ToString::to_string) {
        if line.contains(&cause) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&cause);
    }
    line
}
