//! The state directory: made for its owner only, held by one node at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use rustix::fs::FlockOperation;

/// Holds a state directory until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub(crate) struct StateLock {
    _file: File,
}

impl StateLock {
    /// Makes the directory when it is missing, and takes it.
    pub(crate) fn take(directory: &Path) -> anyhow::Result<Self> {
        let shown = directory.display();
        DirBuilder::new().recursive(true).mode(0o700).create(directory).with_context(|| {
            format!("cannot make the state directory {shown}; choose another with --state")
        })?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(directory.join("lock"))
            .with_context(|| {
                format!("cannot write in the state directory {shown}; choose another with --state")
            })?;
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            bail!(
                "the state directory {shown} is in use by vdenode process {}; stop it, or give this node another --name or --state",
                holder.trim()
            );
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self { _file: file })
    }
}
