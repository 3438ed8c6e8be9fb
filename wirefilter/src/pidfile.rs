//! The pidfile: made for this process, removed at its end, taken over from a dead one.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// A pidfile; removed when dropped.
#[derive(Debug)]
pub(crate) struct Pidfile {
    path: PathBuf,
}

impl Pidfile {
    /// Writes this process's number to a new file, or over that of a dead process.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let path = std::path::absolute(path)
            .with_context(|| format!("{} is no path for a pidfile", path.display()))?;
        let shown = path.display();
        for _ in 0..2 {
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(mut file) => {
                    writeln!(file, "{}", std::process::id())
                        .with_context(|| format!("cannot write the pidfile {shown}"))?;
                    return Ok(Self { path });
                }
                Err(err) if err.kind() == io::ErrorKind::AlreadyExists => remove_stale(&path)?,
                Err(err) => {
                    return Err(err).with_context(|| format!("cannot make the pidfile {shown}"));
                }
            }
        }
        bail!("the pidfile {shown} comes back as soon as it is removed");
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn remove_stale(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .with_context(|| format!("the pidfile {shown} exists and cannot be read"))?;
    let pid: u32 = text.trim().parse().ok().with_context(|| {
        format!("{shown} exists and is no pidfile; remove it or choose another --pidfile")
    })?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    // A number is used again one day: only a wirefilter can be its owner.
    if pid != std::process::id() && name.starts_with("wirefilter") {
        bail!("the wirefilter of the pidfile {shown} still runs as process {pid}; stop it first");
    }
    fs::remove_file(path).with_context(|| format!("cannot remove the stale pidfile {shown}"))
}
