//! A machine within this one: a network namespace and, in a mount namespace of its own, files and
//! directories in their usual places, so that a command of a manual can be given word for word.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::netns::Netns;
use crate::process::{Process, command_at, run};
use crate::suite::Scene;
use crate::users::User;

/// How long mounting may take.
const SOON: Duration = Duration::from_secs(10);

/// What is seen in a place of the machine.
#[derive(Clone, Debug)]
pub struct Mount {
    from: PathBuf,
    onto: PathBuf,
}

impl Mount {
    /// Shows the file or directory `from` in the place of the one at `onto`, which must exist.
    #[must_use]
    pub fn new(from: &Path, onto: &str) -> Self {
        Self { from: from.to_path_buf(), onto: PathBuf::from(onto) }
    }

    /// Shows an empty directory of the scene at `onto`, open to everybody as `/tmp` is.
    ///
    /// # Errors
    ///
    /// When the directory cannot be made.
    pub fn empty(scene: &Scene, onto: &str) -> Result<Self> {
        let from = scene.path(&format!("mount{}", onto.replace('/', "-")));
        fs::create_dir(&from)?;
        run(Command::new("chmod").arg("1777").arg(&from))?;
        Ok(Self::new(&from, onto))
    }
}

/// A machine; everything that runs in it ends when it is dropped.
#[derive(Debug)]
pub struct Machine {
    // Before the namespace that it holds.
    holder: Process,
    netns: Netns,
}

impl Machine {
    /// Makes a machine. `label` helps a reader of logs.
    ///
    /// # Errors
    ///
    /// When a mount fails, usually for want of root.
    pub fn new(scene: &Scene, label: &str, mounts: &[Mount]) -> Result<Self> {
        let netns = Netns::new(label)?;
        // `ip netns exec` gives its program a mount namespace, from which nothing comes back.
        let mut holder = netns.command("sh");
        let script = "while [ $# -gt 0 ]; do mount --bind \"$1\" \"$2\" || exit; shift 2; done
            echo mounted; exec sleep infinity";
        holder.args(["-c", script, "sh"]);
        for mount in mounts {
            holder.arg(&mount.from).arg(&mount.onto);
        }
        let mut holder = Process::spawn(scene, label, &mut holder)?;
        holder.wait_log("mounted", SOON).context("cannot mount what a machine is to show")?;
        Ok(Self { holder, netns })
    }

    /// Its network.
    #[must_use]
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// The words before a program of root that let it run in here.
    pub(crate) fn entrance(&self) -> Vec<String> {
        let target = format!("--target={}", self.holder.id());
        ["nsenter", &target, "--mount", "--net", "--"].map(str::to_owned).into()
    }

    /// A command of root that runs in here.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        command_at(&self.entrance(), program)
    }

    /// A command of root that sees this machine's files and another one's network, as a guest on
    /// this machine does.
    #[must_use]
    pub fn guest_command(&self, network: &Netns, program: &str) -> Command {
        let target = format!("--target={}", self.holder.id());
        let network = format!("--net=/run/netns/{}", network.name());
        command_at(&["nsenter", &target, "--mount", &network, "--"], program)
    }

    /// A command of a user.
    #[must_use]
    pub fn command_as(&self, user: User, program: &str) -> Command {
        let mut command = self.command("setpriv");
        // Again, because a change of the user undoes it.
        command.args(["--pdeathsig", "KILL"]);
        command.args(user.setpriv_arguments()).arg("--").arg(program);
        command
    }

    /// Runs a line of shell as root and returns what it prints.
    ///
    /// # Errors
    ///
    /// When it fails.
    pub fn shell(&self, line: &str) -> Result<String> {
        run(self.command("sh").args(["-c", line]))
    }
}
