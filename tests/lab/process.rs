//! Programs under test: where they are built, how they are started and ended, what they cost.
//! Every process writes into a log of its scene and dies with the thread that started it.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use crate::suite::Scene;
use crate::wait::{wait_for, wait_until};

/// When set to `1`, the programs beside the test are taken as they are, without asking cargo
/// whether they are up to date.
const PREBUILT_VARIABLE: &str = "VDE_PREBUILT";

/// Brings the workspace's programs up to date, once in this process.
///
/// Cargo builds the programs of a *package* before its tests, but these tests are in another
/// package: without this, `cargo test` would test a program of yesterday, or none. The command
/// is the one that `./test` gives, so that nothing is compiled twice.
///
/// # Errors
///
/// When the build fails.
pub fn build_programs() -> Result<()> {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    BUILT.get_or_init(build).clone().map_err(|error| anyhow!(error))
}

fn build() -> Result<(), String> {
    // Outside cargo there is nothing to ask: the programs must be there.
    let Some(cargo) = env::var_os("CARGO") else {
        return Ok(());
    };
    if env::var(PREBUILT_VARIABLE).is_ok_and(|value| value == "1") {
        return Ok(());
    }
    let profile_directory = profile_directory().map_err(|error| format!("{error:#}"))?;
    let target = profile_directory.parent().unwrap_or(&profile_directory);
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "--workspace", "--all-targets", "--target-dir"])
        .arg(target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    if profile_directory.file_name() == Some(OsStr::new("release")) {
        command.arg("--release");
    }
    let output = command.output().map_err(|error| format!("cannot run cargo: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("the programs do not build:\n{}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// `target/debug`, or the like in another target directory: test programs lie in its `deps`.
fn profile_directory() -> Result<PathBuf> {
    let test = env::current_exe().context("cannot find this test program")?;
    let deps = test.parent().context("this test program has no directory")?;
    let profile = if deps.ends_with("deps") { deps.parent() } else { Some(deps) };
    Ok(profile.context("this test program has no profile directory")?.to_path_buf())
}

/// The path of one of the workspace's own programs.
///
/// # Errors
///
/// When it was not built.
pub fn built_program(name: &str) -> Result<PathBuf> {
    let path = profile_directory()?.join(name);
    ensure!(
        path.is_file(),
        "{} does not exist; `cargo build --workspace --bins` makes it",
        path.display()
    );
    Ok(path)
}

/// A command that dies with the calling thread, optionally inside a network namespace.
///
/// `setpriv` and `ip netns exec` both become the program instead of starting it, so the process
/// that is started is the program itself and its id can be signalled.
#[must_use]
pub fn command(program: impl AsRef<OsStr>, namespace: Option<&str>) -> Command {
    let entrance = namespace.map(|name| ["ip", "netns", "exec", name]);
    command_at(entrance.as_slice().as_flattened(), program)
}

/// The same behind words that let the program run somewhere else, such as `ip netns exec NAME`.
#[must_use]
pub fn command_at(entrance: &[impl AsRef<OsStr>], program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).args(entrance).arg(program);
    command
}

/// Runs a command to its end and returns what it printed, without its input.
///
/// # Errors
///
/// When it cannot be started or does not succeed; the text holds what it printed.
pub fn run(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    ensure!(output.status.success(), "{command:?} failed ({})\n{}", output.status, both(&output));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command to its end, whatever it returns.
///
/// # Errors
///
/// When it cannot be started.
pub fn output(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))
}

/// What a program printed on both of its outputs.
#[must_use]
pub fn both(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}

/// A running program. Dropping it kills it and collects its exit status.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts a program whose whole output goes to the log of that name. A log that exists is
    /// continued, so that a program that is started again keeps its past.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn spawn(scene: &Scene, name: &str, command: &mut Command) -> Result<Self> {
        let log = scene.log_path(name);
        let file = open_log(&log)?;
        let copy = file.try_clone().context("cannot duplicate a log's descriptor")?;
        command.stdin(Stdio::null()).stdout(copy).stderr(file);
        Self::start(name, log, command)
    }

    /// Starts a program that is talked to: only its standard error goes to the log.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn spawn_piped(
        scene: &Scene,
        name: &str,
        command: &mut Command,
    ) -> Result<(Self, ChildStdin, ChildStdout)> {
        let log = scene.log_path(name);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(open_log(&log)?);
        let mut process = Self::start(name, log, command)?;
        let stdin = process.child.stdin.take().expect("stdin was asked for as a pipe");
        let stdout = process.child.stdout.take().expect("stdout was asked for as a pipe");
        Ok((process, stdin, stdout))
    }

    /// Starts a program with these as its standard input and output; its standard error goes to the
    /// log.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn spawn_on(
        scene: &Scene,
        name: &str,
        command: &mut Command,
        (stdin, stdout): (Stdio, Stdio),
    ) -> Result<(Self, Option<ChildStdout>)> {
        let log = scene.log_path(name);
        command.stdin(stdin).stdout(stdout).stderr(open_log(&log)?);
        let mut process = Self::start(name, log, command)?;
        let stdout = process.child.stdout.take();
        Ok((process, stdout))
    }

    fn start(name: &str, log: PathBuf, command: &mut Command) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, log, ended: None })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has written to its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Its exit status, once it has ended.
    ///
    /// # Errors
    ///
    /// When the system cannot tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().context("cannot ask for an exit status")?;
        }
        Ok(self.ended)
    }

    /// Fails when the program has ended, with its log's name.
    ///
    /// # Errors
    ///
    /// When it runs no more.
    pub fn check_running(&mut self) -> Result<()> {
        if let Some(status) = self.ended()? {
            bail!("{} has ended ({status})", self.name);
        }
        Ok(())
    }

    /// Waits until its log holds `text`.
    ///
    /// # Errors
    ///
    /// When the time is over or the program ends first.
    pub fn wait_log(&mut self, text: &str, within: Duration) -> Result<()> {
        wait_until(&format!("{:?} in the log of {}", text, self.name), within, || {
            // Asked before the log is read: what a program writes last still counts.
            let running = self.check_running();
            if self.log().contains(text) {
                return Ok(true);
            }
            running.map(|()| false)
        })
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// When it still runs after `within`.
    pub fn wait_end(&mut self, within: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        wait_for(&what, within, || self.ended())
    }

    /// Sends a signal to it. A program that has ended gets none: its id may be another's.
    ///
    /// # Errors
    ///
    /// When it runs no more.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.check_running()?;
        let raw = i32::try_from(self.id()).context("a process id beyond the system's range")?;
        let pid = Pid::from_raw(raw).context("a process has id 0")?;
        kill_process(pid, signal).with_context(|| format!("cannot send {signal:?}"))
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    ///
    /// When it does not end within `within`.
    pub fn terminate(&mut self, within: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait_end(within)
    }

    /// SIGKILL, and waits for the end, which the system promises.
    ///
    /// # Errors
    ///
    /// When it had ended before.
    pub fn kill(&mut self) -> Result<()> {
        self.check_running()?;
        self.child.kill().context("cannot kill a process")?;
        self.ended = Some(self.child.wait().context("cannot collect an exit status")?);
        Ok(())
    }

    /// Resident memory in bytes (`VmRSS` of proc_pid_status(5)).
    ///
    /// # Errors
    ///
    /// When it runs no more.
    pub fn resident_bytes(&self) -> Result<u64> {
        let status = self.proc_file("status")?;
        let kibibytes: u64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next())
            .with_context(|| format!("{} has no resident memory", self.name))?
            .parse()
            .context("VmRSS is not a number")?;
        Ok(kibibytes * 1024)
    }

    /// Processor time used so far, user and system together (fields 14 and 15 of
    /// proc_pid_stat(5)).
    ///
    /// # Errors
    ///
    /// When it runs no more.
    pub fn cpu_time(&self) -> Result<Duration> {
        let stat = self.proc_file("stat")?;
        // The name in field 2 may hold blanks; the fields after its closing bracket do not.
        let (_, fields) = stat.rsplit_once(')').context("stat without a name")?;
        let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
        let mut next = || times.next().context("stat is too short")?.context("stat: no number");
        let ticks = next()? + next()?;
        let ticks_per_second = rustix::param::clock_ticks_per_second();
        Ok(Duration::from_millis(ticks * 1000 / ticks_per_second))
    }

    fn proc_file(&self, file: &str) -> Result<String> {
        fs::read_to_string(format!("/proc/{}/{file}", self.id()))
            .with_context(|| format!("cannot read {file} of {}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // Nothing can be done about a failure here, and the process is dead in every case.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn open_log(path: &Path) -> Result<File> {
    let open = || -> io::Result<File> { File::options().create(true).append(true).open(path) };
    open().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn a_process_is_killed_when_it_is_dropped() {
        let scene = Scene::new().unwrap();
        let sleeper = Process::spawn(&scene, "sleeper", command("sleep", None).arg("60")).unwrap();
        let proc = PathBuf::from(format!("/proc/{}", sleeper.id()));
        assert!(proc.exists());
        drop(sleeper);
        assert!(!proc.exists());
    }

    #[test]
    fn what_a_program_writes_last_is_seen_although_it_has_ended() {
        let scene = Scene::new().unwrap();
        let mut echo = Process::spawn(&scene, "echo", command("echo", None).arg("here")).unwrap();
        assert!(echo.wait_end(SOON).unwrap().success());
        echo.wait_log("here", SOON).unwrap();
        assert!(echo.wait_log("there", SOON).is_err());
    }

    #[test]
    fn memory_and_processor_time_of_a_running_program_are_read() {
        let scene = Scene::new().unwrap();
        let mut busy =
            Process::spawn(&scene, "busy", command("sh", None).args(["-c", "while :; do :; done"]))
                .unwrap();
        assert!(busy.resident_bytes().unwrap() > 0);
        wait_until("some processor time", SOON, || Ok(busy.cpu_time()? > Duration::ZERO)).unwrap();
        busy.kill().unwrap();
        assert!(busy.signal(Signal::TERM).is_err());
    }
}
