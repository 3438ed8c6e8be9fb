//! A `vde_switch`, the project's or Debian's, and its console.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::process::{Process, built_program, command};
use crate::suite::Scene;
use crate::wait::{wait_for, wait_until};

/// How long a switch may take to start, or to answer a line, on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// What a console says when it takes the next line.
const PROMPT: &str = "\nvde$ ";

/// Whose switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// This workspace's.
    Project,
    /// Debian's, of the package `vde-switch`.
    Debian,
}

impl Maker {
    /// The program's path. Both programs have one name, so `PATH` cannot choose.
    ///
    /// # Errors
    ///
    /// When it is not there.
    pub fn program(self) -> Result<PathBuf> {
        match self {
            Self::Project => built_program("vde_switch"),
            Self::Debian => {
                let path = PathBuf::from("/usr/bin/vde_switch");
                ensure!(path.exists(), "Debian's vde_switch is not at {}", path.display());
                Ok(path)
            }
        }
    }
}

/// A switch in the foreground with a management socket; killed when dropped.
#[derive(Debug)]
pub struct Switch {
    process: Process,
    socket: PathBuf,
    management: PathBuf,
    // One session for all questions: Debian's switch at times overlooks the end of a client whose
    // connection has the number of a session that has just ended.
    console: Mutex<Console>,
    // The end of the console on standard input would end the switch, and Debian's has no way to
    // go without.
    _input: ChildStdin,
}

impl Switch {
    /// Starts it with `flags` beside those that name its sockets, and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it ends instead.
    pub fn start(scene: &Scene, name: &str, maker: Maker, flags: &[&str]) -> Result<Self> {
        Self::start_by(scene, name, command(maker.program()?, None), flags)
    }

    /// Starts the project's.
    ///
    /// # Errors
    ///
    /// When it ends instead.
    pub fn ours(scene: &Scene, name: &str) -> Result<Self> {
        Self::start(scene, name, Maker::Project, &[])
    }

    /// Starts it by a command that ends in its program, such as one that changes the user first.
    ///
    /// # Errors
    ///
    /// When it ends instead.
    pub fn start_by(
        scene: &Scene,
        name: &str,
        mut command: Command,
        flags: &[&str],
    ) -> Result<Self> {
        let socket = scene.path(&format!("{name}.sock"));
        let management = scene.path(&format!("{name}.mgmt"));
        command.arg("-s").arg(&socket).arg("-M").arg(&management).args(flags);
        let (mut process, _input, _) = Process::spawn_piped(scene, name, &mut command)?;
        let console = wait_for("the management socket", SOON, || {
            process.check_running()?;
            Ok(Console::open(&management).ok())
        })?;
        Ok(Self { process, socket, management, console: Mutex::new(console), _input })
    }

    /// The directory that clients plug into.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The management socket.
    #[must_use]
    pub fn management(&self) -> &Path {
        &self.management
    }

    /// The running program.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What the console answers to one line, without prompt.
    ///
    /// # Errors
    ///
    /// When it falls silent.
    pub fn ask(&self, line: &str) -> Result<String> {
        Ok(self.session(&[line])?.remove(0))
    }

    /// Gives lines that must succeed.
    ///
    /// # Errors
    ///
    /// When one does not; the answer is in the error.
    pub fn order(&self, lines: &[&str]) -> Result<()> {
        for (line, answer) in lines.iter().zip(self.session(lines)?) {
            ensure!(answer.contains("1000 Success"), "{line:?} was answered {answer:?}");
        }
        Ok(())
    }

    /// What the console answers to each line, all in the session of all other questions.
    ///
    /// # Errors
    ///
    /// When it falls silent.
    pub fn session(&self, lines: &[&str]) -> Result<Vec<String>> {
        let mut console = self.console.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| console.ask(line)).collect()
    }

    /// How many plugs are in.
    ///
    /// # Errors
    ///
    /// When the console falls silent.
    pub fn plugs(&self) -> Result<usize> {
        Ok(self.ask("port/print")?.matches("endpoint ID").count())
    }

    /// Waits until so many plugs are in.
    ///
    /// # Errors
    ///
    /// When they are not within ten seconds.
    pub fn wait_plugs(&self, count: usize) -> Result<()> {
        wait_until(&format!("{count} plugs"), SOON, || Ok(self.plugs()? == count))
    }
}

/// A session at a management socket.
#[derive(Debug)]
pub struct Console {
    stream: UnixStream,
}

impl Console {
    /// Connects and takes the banner.
    ///
    /// # Errors
    ///
    /// When nobody listens or no banner comes.
    pub fn open(management: &Path) -> Result<Self> {
        let stream = UnixStream::connect(management).context("no console")?;
        stream.set_read_timeout(Some(SOON))?;
        let mut console = Self { stream };
        console.until_prompt()?;
        Ok(console)
    }

    /// What it answers to a line, without prompt.
    ///
    /// # Errors
    ///
    /// When it falls silent.
    pub fn ask(&mut self, line: &str) -> Result<String> {
        self.stream.write_all(format!("{line}\n").as_bytes())?;
        self.until_prompt().with_context(|| format!("after {line:?}"))
    }

    /// The next answer, when several lines were given at once.
    ///
    /// # Errors
    ///
    /// When it falls silent.
    pub fn next_answer(&mut self) -> Result<String> {
        self.until_prompt()
    }

    /// The lines that come by themselves, up to and with the one that holds `text`.
    ///
    /// # Errors
    ///
    /// When it falls silent first.
    pub fn lines_until(&mut self, text: &str) -> Result<Vec<String>> {
        let mut lines: Vec<String> = Vec::new();
        while !lines.last().is_some_and(|line| line.contains(text)) {
            let line = self.until("\n").with_context(|| format!("after {lines:#?}"))?;
            // Prompts of the commands before stand at the beginning of a line.
            let line = line.trim_start_matches("vde$ ").trim();
            if !line.is_empty() {
                lines.push(line.to_owned());
            }
        }
        Ok(lines)
    }

    fn until_prompt(&mut self) -> Result<String> {
        self.until(PROMPT)
    }

    fn until(&mut self, end: &str) -> Result<String> {
        let mut said = Vec::new();
        let mut octet = [0];
        while !said.ends_with(end.as_bytes()) {
            self.stream.read_exact(&mut octet).context("the console fell silent")?;
            said.push(octet[0]);
        }
        said.truncate(said.len() - end.len());
        Ok(String::from_utf8_lossy(&said).into_owned())
    }
}

/// A daemon by its pidfile; killed when a trial ends before it ended the daemon itself.
#[derive(Debug)]
pub struct Daemon<'a>(pub &'a Path);

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if let Ok(pid) = fs::read_to_string(self.0) {
            let _ = Command::new("kill").args(["-9", pid.trim()]).output();
        }
    }
}
