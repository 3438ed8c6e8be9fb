//! The roster on disk: the file's content. It is written as a whole.

use std::path::Path;
use std::sync::Arc;

use mesh::NodeKey;
use mesh::roster::{Entry, Founding, Roster};
use serde::{Deserialize, Serialize};

use crate::calendar::unix_seconds;
use crate::signer::Signatures;
use crate::store::{self, StoreError};

use super::membership::RosterError;

/// The version of the file.
const FILE_VERSION: u32 = 1;

/// A content that is to be on disk.
#[derive(Debug)]
pub(super) struct Writing {
    file: Arc<Path>,
    turn: u64,
    founding: Founding,
    entries: Vec<Entry>,
}

/// What is in the file.
#[derive(Debug, Serialize, Deserialize)]
struct Content {
    version: u32,
    founder: String,
    nonce: String,
    entries: Vec<String>,
}

impl Writing {
    pub(super) fn new(file: Arc<Path>, turn: u64, roster: &Roster) -> Self {
        let entries = roster.entries().cloned().collect();
        Self { file, turn, founding: *roster.founding(), entries }
    }

    /// Of which turn of the roster it is.
    pub(super) fn turn(&self) -> u64 {
        self.turn
    }

    /// Writes it. It is on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError::Write`]; what was there before is there still.
    pub(super) fn carry_out(&self) -> Result<(), StoreError> {
        store::save(&self.file, &encode(&self.founding, self.entries.iter()))
    }
}

pub(super) fn path_in(directory: &Path) -> Arc<Path> {
    directory.join("roster.json").into()
}

/// The roster of a state directory; none before a mesh was founded.
pub(super) fn load(directory: &Path, now: u64) -> Result<Option<Roster>, RosterError> {
    let path = path_in(directory);
    let Some(kept) = store::load::<Content>(&path)? else { return Ok(None) };
    let senseless = |why: String| StoreError::Senseless { path: path.to_path_buf(), why };
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
    Ok(store::save(&path_in(directory), &encode(roster.founding(), roster.entries()))?)
}

fn encode<'a>(founding: &Founding, entries: impl Iterator<Item = &'a Entry>) -> Content {
    let text = |octets: &[u8]| data_encoding::BASE64URL_NOPAD.encode(octets);
    let entry =
        |entry: &Entry| text(&postcard::to_allocvec(entry).expect("a vector takes everything"));
    Content {
        version: FILE_VERSION,
        founder: text(&founding.founder.0),
        nonce: text(&founding.nonce),
        entries: entries.map(entry).collect(),
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
