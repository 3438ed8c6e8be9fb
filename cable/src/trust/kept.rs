//! The roster on disk: the file's content, and who may write it when. It is written as a whole, from
//! the data plane or from a thread of its own; an older content never takes the place of a newer one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use mesh::NodeKey;
use mesh::roster::{Entry, Founding, Roster};
use serde::{Deserialize, Serialize};

use crate::calendar::unix_seconds;
use crate::signer::Signatures;
use crate::store::{self, StoreError};

use super::membership::RosterError;

/// The version of the file.
const FILE_VERSION: u32 = 1;

/// The roster's file.
#[derive(Debug)]
pub(super) struct RosterFile {
    path: PathBuf,
    /// Of which turn the content is.
    written: Mutex<u64>,
}

/// A content that is to be on disk.
#[derive(Debug)]
pub(crate) struct Writing {
    file: Arc<RosterFile>,
    pub(super) turn: u64,
    content: Content,
}

/// What is in the file.
#[derive(Debug, Serialize, Deserialize)]
struct Content {
    version: u32,
    founder: String,
    nonce: String,
    entries: Vec<String>,
}

impl RosterFile {
    /// That of a state directory.
    pub(super) fn of(directory: &Path) -> Arc<Self> {
        Arc::new(Self { path: path_in(directory), written: Mutex::default() })
    }
}

impl Writing {
    /// A higher turn is of a later content.
    pub(super) fn new(file: &Arc<RosterFile>, turn: u64, roster: &Roster) -> Self {
        Self { file: file.clone(), turn, content: encode(roster) }
    }

    /// Writes it, unless something later is there. It is on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError::Write`]; what was there before is there still.
    pub(crate) fn carry_out(&self) -> Result<(), StoreError> {
        let mut written = self.file.written.lock().unwrap_or_else(PoisonError::into_inner);
        if *written < self.turn {
            store::save(&self.file.path, &self.content)?;
            *written = self.turn;
        }
        Ok(())
    }
}

fn path_in(directory: &Path) -> PathBuf {
    directory.join("roster.json")
}

/// The roster of a state directory; none before a mesh was founded.
pub(super) fn load(directory: &Path, now: u64) -> Result<Option<Roster>, RosterError> {
    let path = path_in(directory);
    let Some(kept) = store::load::<Content>(&path)? else { return Ok(None) };
    let senseless = |why: String| StoreError::Senseless { path: path.clone(), why };
    let (founding, entries) = decode(&kept).map_err(senseless)?;
    let mut roster = Roster::new(founding);
    let merged = roster.merge(entries, now, &Signatures);
    merged.map_err(|err| senseless(err.to_string()))?;
    Ok(Some(roster))
}

/// Adds to the roster of a node that does not run.
pub(super) fn add(
    directory: &Path,
    roster: &mut Roster,
    entries: Vec<Entry>,
) -> Result<(), RosterError> {
    roster.merge(entries, unix_seconds(), &Signatures)?;
    Ok(store::save(&path_in(directory), &encode(roster))?)
}

fn encode(roster: &Roster) -> Content {
    let text = |octets: &[u8]| data_encoding::BASE64URL_NOPAD.encode(octets);
    let entry =
        |entry: &Entry| text(&postcard::to_allocvec(entry).expect("a vector takes everything"));
    Content {
        version: FILE_VERSION,
        founder: text(&roster.founding().founder.0),
        nonce: text(&roster.founding().nonce),
        entries: roster.entries().map(entry).collect(),
    }
}

fn decode(file: &Content) -> Result<(Founding, Vec<Entry>), String> {
    if file.version != FILE_VERSION {
        return Err(format!(
            "it is of version {}, and this program reads {FILE_VERSION}",
            file.version
        ));
    }
    let octets = |text: &str| {
        data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|err| err.to_string())
    };
    let wrong = |_| "the founding has a wrong length".to_owned();
    let founder = NodeKey(octets(&file.founder)?.try_into().map_err(wrong)?);
    let nonce = octets(&file.nonce)?.try_into().map_err(wrong)?;
    let entries = file
        .entries
        .iter()
        .map(|text| postcard::from_bytes(&octets(text)?).map_err(|err| format!("an entry: {err}")));
    Ok((Founding { founder, nonce }, entries.collect::<Result<_, _>>()?))
}
