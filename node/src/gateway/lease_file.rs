//! The lease log's file. A thread of its own writes it, because a disk may take its time.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc as blocking;

use anyhow::Context as _;
use gateway::dhcp::{Store, StoreError, Ticket, Write};
use gateway::lease_log::{self, Loaded};
use tokio::sync::mpsc;

/// What became of a write: how long the log is now.
pub(super) type Stored = (Ticket, Result<u64, StoreError>);

/// The file, in its thread's hands.
#[derive(Debug)]
pub(super) struct LeaseFile {
    writes: blocking::Sender<(Store, mpsc::Sender<Stored>)>,
}

impl LeaseFile {
    /// Reads the log, and opens it for writing.
    pub(super) fn open(path: &Path) -> anyhow::Result<(Self, Loaded)> {
        let shown = path.display();
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(err) if err.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(err) => return Err(err).with_context(|| format!("cannot read {shown}")),
        };
        let loaded = lease_log::load(&bytes).with_context(|| format!("{shown}"))?;
        if loaded.damage.is_serious() {
            tracing::warn!(path = %shown, damage = ?loaded.damage, "the lease log is damaged; leases may be lost");
        }
        if loaded.valid_len > 0 && loaded.valid_len < bytes.len() {
            let file = OpenOptions::new().write(true).open(path);
            let keep = u64::try_from(loaded.valid_len).unwrap_or(u64::MAX);
            file.and_then(|file| file.set_len(keep))
                .with_context(|| format!("cannot mend {shown}"))?;
        }
        let (writes, orders) = blocking::channel();
        let path = path.to_owned();
        std::thread::Builder::new()
            .name("leases".into())
            .spawn(move || run(&path, &orders))
            .context("cannot start the thread that writes leases")?;
        Ok((Self { writes }, loaded))
    }

    /// Makes a write durable, and tells `done`.
    pub(super) fn store(&self, store: Store, done: mpsc::Sender<Stored>) {
        // The thread ends after this.
        let _ = self.writes.send((store, done));
    }
}

fn run(path: &Path, orders: &blocking::Receiver<(Store, mpsc::Sender<Stored>)>) {
    while let Ok((Store { ticket, write }, done)) = orders.recv() {
        let result = match write {
            Write::Append { at, bytes } => append(path, at, &bytes),
            Write::Replace(bytes) => replace(path, &bytes),
            Write::Compact { at, bytes } => compact(path, at, &bytes),
        };
        let _ = done.blocking_send((ticket, result));
    }
}

fn append(path: &Path, at: u64, bytes: &[u8]) -> Result<u64, StoreError> {
    let write = |file: &File| {
        file.write_all_at(bytes, at)?;
        file.sync_data()
    };
    let file = OpenOptions::new().write(true).open(path).map_err(|err| kind_of(&err))?;
    write(&file).map_err(|err| match file.set_len(at) {
        Ok(()) => kind_of(&err),
        Err(_) => StoreError::Failed,
    })?;
    Ok(at + length_of(bytes))
}

/// Here and not where frames are relayed: a full pool's log takes a tenth of a second.
fn compact(path: &Path, at: u64, bytes: &[u8]) -> Result<u64, StoreError> {
    let log = std::fs::read(path).map_err(|_| StoreError::Failed)?;
    let compacted = (length_of(&log) == at).then(|| lease_log::compacted(&log, bytes)).flatten();
    replace(path, &compacted.ok_or(StoreError::Failed)?)
}

fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("a length has at most 64 bits")
}

fn replace(path: &Path, bytes: &[u8]) -> Result<u64, StoreError> {
    replace_file(path, bytes).map_err(|err| kind_of(&err))?;
    Ok(length_of(bytes))
}

fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside: PathBuf = path.with_extension("new");
    match std::fs::remove_file(&aside) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
        Ok(()) | Err(_) => {}
    }
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&aside, path)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&aside);
    }
    written?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn kind_of(err: &io::Error) -> StoreError {
    match err.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::NoSpace,
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => StoreError::ReadOnly,
        _ => StoreError::Failed,
    }
}
