//! The program `nft`, and the process of it that holds the gateway's table.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use gateway::nft::{Life, Rules, TableName};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

/// How long `nft` may take for anything. It takes milliseconds.
const LIMIT: Duration = Duration::from_secs(5);

/// How often is looked whether a change has come into force.
const LOOK: Duration = Duration::from_millis(10);

/// Complaints that are kept, and how long one may be. Full: the rest is dropped.
const COMPLAINTS: usize = 16;
const COMPLAINT_LEN: usize = 300;

/// A command that runs `nft` without an interest in its files.
fn command(arguments: &[&str]) -> Command {
    // The PATH of a service may lack the directory for administrators.
    let known = ["/usr/sbin/nft", "/sbin/nft"].into_iter().find(|path| Path::new(path).exists());
    let mut command = Command::new(known.map_or_else(|| OsStr::new("nft"), OsStr::new));
    // Where it would keep a history of commands.
    command.env("HOME", "/nonexistent").args(arguments).kill_on_drop(true);
    command
}

/// Runs `nft` to its end, feeding it `input`. Gives what it printed.
pub(super) async fn run(arguments: &[&str], input: &str) -> anyhow::Result<String> {
    let mut command = command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn(&mut command)?;
    let mut stdin = child.stdin.take().expect("it was asked for as a pipe");
    let whole = async {
        // It may end without reading all: its words say why.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(LIMIT, whole).await.context("nft does not end")?;
    let output = output.context("cannot run nft")?;
    if !output.status.success() {
        bail!("nft: {}", in_short(&String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn spawn(command: &mut Command) -> anyhow::Result<Child> {
    command.spawn().map_err(|err| match err.kind() {
        io::ErrorKind::NotFound => anyhow::anyhow!(
            "the gateway needs the program nft for masquerade, and it is not installed; on Debian: apt-get install nftables; or leave the way out to other rules with --no-masquerade"
        ),
        _ => anyhow::Error::new(err).context("cannot run nft"),
    })
}

/// Says now, and not when it is needed, that `nft` is missing or that the kernel knows none.
pub(super) async fn check() -> anyhow::Result<()> {
    run(&["list", "tables"], "").await.map(drop)
}

/// Whether the kernel knows tables with an owner: Linux 5.12 does.
pub(super) fn kernel_has_owners() -> bool {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(5), Some(12))
}

/// The process that holds the table. When it ends, in whatever way, the table goes with it; and it
/// ends when the pipe to it is closed, which the end of this process does.
#[derive(Debug)]
pub(super) struct Holder {
    child: Child,
    stdin: ChildStdin,
    complaints: mpsc::Receiver<String>,
    /// How often the table was made. The name of a chain without rules tells which one is in force.
    generation: u32,
}

impl Holder {
    /// Starts it; it holds nothing yet.
    pub(super) fn start() -> anyhow::Result<Self> {
        let mut command = command(&["-i"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = spawn(&mut command)?;
        let stdin = child.stdin.take().expect("it was asked for as a pipe");
        let stderr = child.stderr.take().expect("it was asked for as a pipe");
        let (tell, complaints) = mpsc::channel(COMPLAINTS);
        tokio::task::spawn_local(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let _ = tell.try_send(in_short(&line));
            }
        });
        Ok(Self { child, stdin, complaints, generation: 0 })
    }

    /// Puts rules into force, in the place of those that it holds, in one transaction.
    pub(super) async fn set(&mut self, rules: &Rules) -> anyhow::Result<()> {
        let table = &rules.config().table;
        let replace = match self.generation {
            0 => String::new(),
            _ => format!("delete table inet {table} ; "),
        };
        let generation = self.generation + 1;
        let line = rules.line(Life::Owned);
        let line = format!(
            "{replace}{} ; add chain inet {table} generation_{generation}\n",
            line.trim_end()
        );
        let change = async {
            self.stdin.write_all(line.as_bytes()).await.context("nft has ended")?;
            self.confirm(table, generation).await
        };
        let Ok(result) = tokio::time::timeout(LIMIT, change).await else {
            // Another one takes its place.
            let _ = self.child.start_kill();
            bail!("nft does not answer");
        };
        result?;
        self.generation = generation;
        Ok(())
    }

    async fn confirm(&mut self, table: &TableName, generation: u32) -> anyhow::Result<()> {
        let (table, chain) = (table.to_string(), format!("generation_{generation}"));
        loop {
            if let Ok(complaint) = self.complaints.try_recv() {
                bail!("nft: {complaint}");
            }
            if run(&["list", "chain", "inet", &table, &chain], "").await.is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait().context("cannot ask for nft")? {
                bail!("nft has ended ({status})");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Completes with what is wrong: a complaint, or its end.
    pub(super) async fn trouble(&mut self) -> Trouble {
        tokio::select! {
            _ = self.child.wait() => Trouble::Ended,
            Some(complaint) = self.complaints.recv() => Trouble::Complaint(complaint),
        }
    }

    /// Ends it, and with it the table.
    pub(super) async fn end(mut self) {
        drop(self.stdin);
        if tokio::time::timeout(LIMIT, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

/// What is wrong with a [`Holder`].
#[derive(Debug)]
pub(super) enum Trouble {
    Complaint(String),
    Ended,
}

/// What a program said, in one line of bounded length.
fn in_short(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(COMPLAINT_LEN).collect()
}
