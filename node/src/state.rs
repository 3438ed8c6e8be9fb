//! The state directory: made for its owner only, held by one node at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::process::Pid;

/// A program that a killed node was just starting has a copy of the lock until it is another program:
/// so often, and for so long each time, one that nobody holds any more is waited for.
const PATIENCE: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);

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
        let mut patience = PATIENCE;
        while rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            file.rewind()?;
            let _ = file.read_to_string(&mut holder);
            if !is_alive(holder.trim()) && patience > 0 {
                patience -= 1;
                pause();
                continue;
            }
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

#[expect(clippy::disallowed_methods, reason = "nothing tells when a lock is free but asking")]
fn pause() {
    std::thread::sleep(PAUSE);
}

/// Whether a process with the number in `holder` runs.
fn is_alive(holder: &str) -> bool {
    let pid = holder.parse().ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(Errno::SRCH))
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
    fn a_lock_that_a_dead_node_leaves_to_a_child_for_a_moment_is_waited_for() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("state");
        let held = StateLock::take(&directory).unwrap();
        assert!(StateLock::take(&directory).is_err(), "its holder lives");
        // No process has it: Linux gives numbers below PID_MAX_LIMIT.
        fs::write(directory.join("lock"), "4194304").unwrap();
        let child = std::thread::spawn(move || {
            pause();
            pause();
            drop(held);
        });
        StateLock::take(&directory).unwrap();
        child.join().unwrap();
    }

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
