//! What an operator is told beside the state of each cable.

use control::status::Strangers;

use super::Cables;

impl Cables {
    /// What an operator should know.
    pub fn warnings(&self) -> Vec<String> {
        let socket = self.shared.endpoint.warning().map(str::to_owned);
        let door = self.shared.endpoint.door();
        let flood = door.flood.map(|flood| {
            format!(
                "strangers flood the cables' UDP port since {} s: {} packets ignored, {} asked to prove their address; cables that are up are not concerned, a first cable from a new address may take longer",
                flood.since.as_secs(),
                flood.ignored,
                flood.retried
            )
        });
        let faults = (door.faults > 0).then(|| {
            format!(
                "the QUIC library has failed {} times and was started anew, and cables were dialled again; see the log, and report it",
                door.faults
            )
        });
        let members = self.shared.trust.trouble().map(|why| {
            format!(
                "members not durable: {why}; what was said counts, and the write is tried again; if this node ended now, it would let in who was put out since"
            )
        });
        let clock = self.shared.trust.calendar().warning();
        socket.into_iter().chain(flood).chain(faults).chain(members).chain(clock).collect()
    }

    /// What became of those who knocked and had no cable.
    pub fn strangers(&self) -> Strangers {
        let door = self.shared.endpoint.door();
        let counts = door.counts;
        let words = counts.ignored.into_iter().map(|(reason, n)| (reason.as_str().to_owned(), n));
        Strangers {
            accepted: counts.accepted,
            retried: counts.retried,
            ignored: words.collect(),
            refused: counts.refused.into_iter().map(|(why, n)| (why.to_owned(), n)).collect(),
            under_way: door.under_way,
            faults: door.faults,
        }
    }
}
