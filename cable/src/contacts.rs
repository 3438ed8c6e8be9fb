//! Where members can be reached: what they say of themselves by the mesh, and where they were
//! reached before. Kept on disk, so that a node finds another after a restart of all others.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::address::Target;
use crate::identity::PublicKey;
use crate::store::{self, StoreError};

/// Nodes whose addresses are remembered: as many as there can be members. Full: no more are taken.
const NODES: usize = 1024;

/// Addresses of one node, the one that worked among them.
const ADDRESSES: usize = 8;

/// The addresses of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Card {
    key: PublicKey,
    /// Where a cable to it came up last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proved: Option<String>,
    /// As it says, the best first.
    told: Vec<String>,
}

/// The address book. See the [module](self).
#[derive(Debug)]
pub struct Contacts {
    file: Option<PathBuf>,
    cards: RefCell<BTreeMap<PublicKey, Card>>,
}

impl Contacts {
    /// That of a state directory (`contacts.json`); empty at first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn load(directory: Option<&Path>) -> Result<Self, StoreError> {
        let file = directory.map(|directory| directory.join("contacts.json"));
        let cards: Option<Vec<Card>> = file.as_deref().map_or(Ok(None), store::load)?;
        let cards = cards.unwrap_or_default().into_iter().map(|card| (card.key, card)).collect();
        Ok(Self { file, cards: RefCell::new(cards) })
    }

    /// What members say of themselves now. What is lost by a full disk is heard again.
    pub fn hear(&self, told: impl IntoIterator<Item = (PublicKey, Vec<String>)>) {
        let mut changed = false;
        for (key, mut addresses) in told {
            addresses.truncate(ADDRESSES);
            changed |= self.update(key, |card| card.told = addresses);
        }
        if changed {
            self.save();
        }
    }

    /// A cable to a node has come up at an address.
    pub fn prove(&self, key: PublicKey, address: &Target) {
        if self.update(key, |card| card.proved = Some(address.to_string())) {
            self.save();
        }
    }

    fn update(&self, key: PublicKey, change: impl FnOnce(&mut Card)) -> bool {
        let mut cards = self.cards.borrow_mut();
        if !cards.contains_key(&key) && cards.len() >= NODES {
            return false;
        }
        let card = cards.entry(key).or_insert_with(|| Card { key, proved: None, told: Vec::new() });
        let before = card.clone();
        change(card);
        *card != before
    }

    fn save(&self) {
        let Some(file) = &self.file else { return };
        let cards: Vec<Card> = self.cards.borrow().values().cloned().collect();
        if let Err(err) = store::save(file, &cards) {
            tracing::warn!(%err, "addresses of members are not remembered");
        }
    }

    /// Where to try, the best first.
    pub fn of(&self, key: PublicKey) -> Vec<Target> {
        let cards = self.cards.borrow();
        let Some(card) = cards.get(&key) else { return Vec::new() };
        let mut targets: Vec<Target> = Vec::new();
        for text in card.proved.iter().chain(&card.told) {
            if let Ok(target) = text.parse()
                && !targets.contains(&target)
                && targets.len() < ADDRESSES
            {
                targets.push(target);
            }
        }
        targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    #[test]
    fn the_address_that_worked_comes_first_and_all_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let key = Identity::generate().unwrap().public();
        let contacts = Contacts::load(Some(dir.path())).unwrap();
        contacts.hear([(key, vec!["192.0.2.1:7667".into(), "host:9".into(), "no address".into()])]);
        contacts.prove(key, &"host:9".parse().unwrap());
        let again = Contacts::load(Some(dir.path())).unwrap();
        let shown: Vec<String> = again.of(key).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["host:9", "192.0.2.1:7667"]);
        let many: Vec<String> = (1..100).map(|port| format!("host:{port}")).collect();
        again.hear([(key, many)]);
        assert_eq!(again.of(key).len(), ADDRESSES);
    }
}
