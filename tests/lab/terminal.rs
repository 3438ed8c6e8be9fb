//! A terminal for programs that behave otherwise without one.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::suite::Scene;
use crate::transcript::Transcript;

/// The person's side of a terminal. Dropping it hangs up.
#[derive(Debug)]
pub struct Terminal {
    keyboard: File,
    program_side: File,
}

impl Terminal {
    /// Opens a new one.
    ///
    /// # Errors
    ///
    /// When the system has none left.
    pub fn open() -> Result<Self> {
        let open = || -> rustix::io::Result<_> {
            let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
            let keyboard = openpt(flags)?;
            grantpt(&keyboard)?;
            unlockpt(&keyboard)?;
            let name = ptsname(&keyboard, Vec::new())?;
            Ok((keyboard, name))
        };
        let (keyboard, name) = open().context("no terminal")?;
        let name = name.to_str().context("a terminal's name is text")?;
        let program_side = File::options().read(true).write(true).open(Path::new(name))?;
        Ok(Self { keyboard: File::from(keyboard), program_side })
    }

    /// The program's side, once for each of its inputs and outputs.
    ///
    /// # Errors
    ///
    /// When no descriptor is left.
    pub fn end(&self) -> Result<Stdio> {
        Ok(self.program_side.try_clone().context("cannot duplicate a terminal")?.into())
    }

    /// What is shown on it, its own echo included.
    ///
    /// # Errors
    ///
    /// When the log cannot be made.
    pub fn record(&self, scene: &Scene, log: &str) -> Result<Transcript> {
        Transcript::record(scene, log, self.keyboard.try_clone()?)
    }

    /// Types.
    ///
    /// # Errors
    ///
    /// When the terminal has hung up.
    pub fn type_in(&mut self, keys: &str) -> Result<()> {
        self.keyboard.write_all(keys.as_bytes()).context("cannot type")
    }
}
