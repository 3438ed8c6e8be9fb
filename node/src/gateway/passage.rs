//! Whether what machines send gets through this host, and what they ask of it in, tried with packets
//! that end here.

use std::time::Duration;

use gateway::nft::{self as rules, Passages};

use super::{Gateway, nft};
use crate::driver::{Shard, now};

/// How often a packet is sent before it is given up, and how long each has.
const TRIES: usize = 2;
const LOOKS: usize = 10;
const LOOK: Duration = Duration::from_millis(50);

/// How far a packet came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passage {
    Through,
    /// The kernel began to forward or to deliver it, and was kept from it.
    Dropped,
    /// The kernel did not even begin.
    NotForwarded,
}

impl Gateway {
    /// Sends a packet as a machine would through the host, and looks how far it comes.
    pub(super) async fn try_passage(&self, shard: &Shard) -> anyhow::Result<Passage> {
        let frame = rules::probe(self.config.subnet, self.config.address, self.mac);
        self.try_way(shard, &frame, |counted| (counted.arrived, counted.departed)).await
    }

    /// The same for a question to the host's resolver.
    pub(super) async fn try_question(&self, shard: &Shard) -> anyhow::Result<Passage> {
        let frame = rules::question(self.config.subnet, self.config.address, self.mac);
        self.try_way(shard, &frame, |counted| (counted.asked, counted.heard)).await
    }

    async fn try_way(
        &self,
        shard: &Shard,
        frame: &[u8],
        ends: impl Fn(Passages) -> (u64, u64),
    ) -> anyhow::Result<Passage> {
        let mut farthest = Passage::NotForwarded;
        for _ in 0..TRIES {
            let before = ends(self.passages().await?);
            shard.plane.borrow_mut().send_own(self.port, frame, now());
            for _ in 0..LOOKS {
                tokio::time::sleep(LOOK).await;
                let after = ends(self.passages().await?);
                if after.1 != before.1 {
                    return Ok(Passage::Through);
                }
                if after.0 != before.0 {
                    farthest = Passage::Dropped;
                }
            }
        }
        Ok(farthest)
    }

    async fn passages(&self) -> anyhow::Result<Passages> {
        let Some(nat) = &self.nat else { return Ok(Passages::default()) };
        let table = nat.rules().config().table.to_string();
        let list = ["-j", "list", "counters", "table", "inet", &table];
        Ok(rules::passages(&nft::run(&list, "").await?)?)
    }
}

impl Passage {
    /// What an operator should know of a question that was lost, where no rule is found that explains
    /// it.
    pub(super) fn question_warning(self, tap: &str) -> Option<String> {
        (self != Self::Through).then(|| {
            format!(
                "a rule on this host drops what machines ask of it, names among it; look for what \
                 concerns {tap} with: nft list ruleset; iptables-legacy -S INPUT"
            )
        })
    }

    /// What an operator should know, where no rule is found that explains it.
    pub(super) fn warning(self, tap: &str) -> Option<String> {
        match self {
            Self::Through => None,
            Self::Dropped => Some(
                "a rule on this host drops what machines send through it; look for it with: nft list \
                 ruleset; iptables-legacy -S FORWARD"
                    .to_owned(),
            ),
            Self::NotForwarded => Some(format!(
                "this host does not forward what machines send; look at: ip route get 203.0.113.9 \
                 iif {tap}, and at rules of other firewalls on prerouting: nft list ruleset"
            )),
        }
    }
}
