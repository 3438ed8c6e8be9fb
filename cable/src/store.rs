//! Small files that survive `kill -9` at any octet: written beside the old one, flushed, renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A state file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Reading failed.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Writing failed.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The content makes no sense.
    #[error("{path} is damaged: {why}; restore it or delete it to start afresh")]
    Senseless {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// The content is not what this program wrote.
    #[error("{path} is damaged: {source}; restore it or delete it to start afresh")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: serde_json::Error,
    },
}

/// Replaces a file as a whole: after a crash at any moment either the old or the new content is
/// there. Readable by its owner only.
///
/// # Errors
/// [`StoreError::Write`]; the old content is then still there.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let write = || {
        let aside = path.with_extension("new");
        match fs::remove_file(&aside) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        // The rename itself must reach the disk, too.
        match path.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(|source| StoreError::Write { path: path.into(), source })
}

/// Puts a file that is on disk in the place of another, in one step.
///
/// # Errors
/// [`StoreError::Write`]; both are then still there.
pub fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    let rename = || {
        fs::rename(from, to)?;
        match to.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    };
    rename().map_err(|source| StoreError::Write { path: to.into(), source })
}

/// Saves a value as JSON with [`replace`].
///
/// # Errors
/// [`StoreError::Write`].
pub fn save(path: &Path, value: &impl Serialize) -> Result<(), StoreError> {
    let mut text = serde_json::to_vec_pretty(value)
        .expect("state is plain data with string keys, which always has a JSON form");
    text.push(b'\n');
    replace(path, &text)
}

/// Loads what [`save`] wrote; nothing when there is no such file.
///
/// # Errors
/// [`StoreError::Read`], [`StoreError::Damaged`].
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(StoreError::Read { path: path.into(), source });
        }
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|source| StoreError::Damaged { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leftover_of_a_crash_neither_hides_the_old_content_nor_stops_the_next_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list.json");
        save(&path, &vec![1, 2]).unwrap();
        fs::write(path.with_extension("new"), b"[1,2,").unwrap();
        assert_eq!(load::<Vec<u32>>(&path).unwrap(), Some(vec![1, 2]));
        save(&path, &vec![3]).unwrap();
        assert_eq!(load::<Vec<u32>>(&path).unwrap(), Some(vec![3]));
    }

    #[test]
    fn a_damaged_file_is_named_and_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list.json");
        fs::write(&path, b"{").unwrap();
        let err = load::<Vec<u32>>(&path).unwrap_err();
        assert!(err.to_string().contains("list.json is damaged"), "{err}");
        assert_eq!(fs::read(&path).unwrap(), b"{");
    }
}
