//! How much of what is there for all machines each of them has.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

/// Counts by address; only who has something is in it, and all together have no more than there is.
type Counts = Rc<RefCell<BTreeMap<IpAddr, usize>>>;

/// What machines share.
#[derive(Debug)]
pub(super) struct Shares {
    /// What one may have at once.
    most: usize,
    counts: Counts,
}

/// One machine's hold on one piece.
#[derive(Debug)]
pub(super) struct Share {
    counts: Counts,
    client: IpAddr,
}

impl Shares {
    pub(super) fn new(most: usize) -> Self {
        Self { most, counts: Counts::default() }
    }

    /// One more for a machine; `None` when it has as many as one may.
    pub(super) fn take(&self, client: IpAddr) -> Option<Share> {
        let client = client.to_canonical();
        let mut counts = self.counts.borrow_mut();
        let count = counts.entry(client).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share { counts: self.counts.clone(), client })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.counts.borrow_mut();
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_its_share_leaves_the_others_theirs() {
        let shares = Shares::new(2);
        let [one, other]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap());
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        let held = [shares.take(one), shares.take(mapped)];
        assert!(held.iter().all(Option::is_some) && shares.take(one).is_none());
        assert!(shares.take(other).is_some());
        drop(held);
        assert!(shares.take(one).is_some(), "it is given back");
        assert!(shares.counts.borrow().is_empty(), "nobody is remembered who has nothing");
    }
}
