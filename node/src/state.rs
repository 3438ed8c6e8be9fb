//! The state directory: made for its owner only, held by one node at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
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
        check(directory)?;
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

/// Whoever can write in the directory can exchange the key and the lists in it.
fn check(directory: &Path) -> anyhow::Result<()> {
    let shown = directory.display();
    let found = std::fs::metadata(directory).with_context(|| {
        format!("cannot look at the state directory {shown}; choose another with --state")
    })?;
    let (owner, own) = (found.uid(), rustix::process::geteuid().as_raw());
    if owner != own {
        bail!(
            "the state directory {shown} belongs to user {owner}, and this node runs as user {own}; chown {own} {shown}, or choose another with --state"
        );
    }
    let mode = found.mode() & 0o777;
    if mode & 0o022 != 0 {
        bail!(
            "others may write in the state directory {shown} (mode {mode:04o}), and could exchange this node's key; chmod 700 {shown}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_directory_in_which_others_write_is_refused_with_what_to_do() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("state");
        drop(StateLock::take(&directory).unwrap());
        for (mode, refused) in [(0o700, false), (0o755, false), (0o770, true), (0o702, true)] {
            fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
            match StateLock::take(&directory) {
                Ok(_) => assert!(!refused, "{mode:o}"),
                Err(err) => {
                    assert!(refused, "{mode:o}: {err}");
                    assert!(err.to_string().contains("chmod 700"), "{err}");
                }
            }
        }
    }
}
