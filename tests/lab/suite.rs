//! A ring's trials: which of them can run, where they keep their files, and what is shown when
//! one fails. Leaves the command line and the report to `libtest-mimic`.

use std::any::Any;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::process;
use crate::requirements::{Ring, is_root, is_strict, missing};

/// How much of each log a failure shows: enough for the last minutes of a quiet program.
const LOG_TAIL_LINES: usize = 60;

/// The directory of one trial: sockets, state and logs. Removed when the trial ends.
#[derive(Debug)]
pub struct Scene {
    directory: tempfile::TempDir,
}

impl Scene {
    /// Makes an empty directory whose path is short, since a socket's address holds 107 bytes.
    ///
    /// # Errors
    ///
    /// When the directory for temporary files cannot be written.
    pub fn new() -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("vdelab-")
            .tempdir()
            .context("cannot make a directory for the trial")?;
        Ok(Self { directory })
    }

    /// A path of that name inside the scene; nothing is created.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Lets other users reach what lies in the directory, where the modes of that allow it.
    ///
    /// # Errors
    ///
    /// When the directory's mode cannot be set.
    pub fn admit_everyone(&self) -> Result<()> {
        fs::set_permissions(self.directory(), fs::Permissions::from_mode(0o711))
            .context("cannot open the trial's directory")
    }

    /// The directory itself.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where the program of that name writes its output.
    #[must_use]
    pub fn log_path(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.log"))
    }

    /// The ends of all logs, for a failure's report.
    #[must_use]
    pub fn logs(&self) -> String {
        let Ok(entries) = fs::read_dir(self.directory.path()) else {
            return String::new();
        };
        let mut logs: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        logs.sort();
        logs.iter()
            .map(|path| {
                let bytes = fs::read(path).unwrap_or_default();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                format!("--- {name}\n{}", tail(&String::from_utf8_lossy(&bytes)))
            })
            .collect()
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(LOG_TAIL_LINES);
    let mut shown = String::new();
    if skipped > 0 {
        shown = format!("({skipped} earlier lines)\n");
    }
    for line in &lines[skipped..] {
        shown.push_str(line);
        shown.push('\n');
    }
    shown
}

/// The trials of one ring and what they all need.
#[derive(Debug)]
pub struct Suite {
    ring: Ring,
    programs: &'static [&'static str],
    root: bool,
    built_programs: bool,
    trials: Vec<Trial>,
}

impl Suite {
    /// A suite without trials. Ring 4 needs root; all rings need the project's own programs.
    #[must_use]
    pub fn new(ring: Ring) -> Self {
        Self {
            ring,
            programs: &["setpriv"],
            root: ring == Ring::Netns,
            built_programs: true,
            trials: Vec::new(),
        }
    }

    /// Adds foreign programs that every later trial needs.
    #[must_use]
    pub fn needs(mut self, programs: &'static [&'static str]) -> Self {
        self.programs = programs;
        self
    }

    /// Says that later trials test the lab itself and no program of the project.
    #[must_use]
    pub fn without_built_programs(mut self) -> Self {
        self.built_programs = false;
        self
    }

    /// Says that later trials need root.
    #[must_use]
    pub fn as_root(mut self) -> Self {
        self.root = true;
        self
    }

    /// Adds a trial that also needs `programs`. Its name is a sentence.
    #[must_use]
    pub fn trial(
        mut self,
        name: &str,
        programs: &'static [&'static str],
        run: fn(&Scene) -> Result<()>,
    ) -> Self {
        let needed: Vec<&'static str> =
            ["setpriv"].iter().chain(self.programs).chain(programs).copied().collect();
        let (ring, root, built_programs) = (self.ring, self.root, self.built_programs);
        self.trials.push(Trial::ignorable_test(name, move || {
            if let Some(reason) = ring.unselected() {
                return Ok(Completion::ignored_with(reason));
            }
            if let Some(reason) = unmet(&needed, root) {
                if is_strict() {
                    return Err(Failed::from(reason));
                }
                return Ok(Completion::ignored_with(reason));
            }
            if built_programs {
                process::build_programs().map_err(|error| Failed::from(format!("{error:#}")))?;
            }
            run_in_scene(run).map(|()| Completion::Completed)
        }));
        self
    }

    /// Runs what the command line selects. Rings 4 and 5 run one trial at a time: they share the
    /// processors with emulated guests and measure deadlines of real time.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let mut arguments = Arguments::from_args();
        if self.ring != Ring::Compat {
            arguments.test_threads = Some(1);
        }
        libtest_mimic::run(&arguments, self.trials).exit_code()
    }
}

/// What keeps a trial from running here, if anything.
fn unmet(programs: &[&str], root: bool) -> Option<String> {
    let absent = missing(programs);
    if !absent.is_empty() {
        return Some(format!("not installed: {}", absent.join(", ")));
    }
    if root && !is_root() {
        return Some("needs root, for network namespaces and taps".to_owned());
    }
    None
}

/// Runs a trial and, when it fails or panics, adds the logs of everything it started.
fn run_in_scene(run: fn(&Scene) -> Result<()>) -> Result<(), Failed> {
    let scene = Scene::new().map_err(|error| Failed::from(format!("{error:#}")))?;
    let outcome = catch_unwind(AssertUnwindSafe(|| run(&scene)))
        .unwrap_or_else(|panic| Err(anyhow!("panicked: {}", panic_text(panic.as_ref()))));
    outcome.map_err(|error| Failed::from(format!("{error:#}\n{}", scene.logs())))
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a value that is no text")
}
