//! Whether what machines send gets through this host, tried with a packet that ends here.

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
    /// The kernel began to forward it, and it did not leave.
    Dropped,
    /// The kernel did not even begin.
    NotForwarded,
}

impl Gateway {
    /// Sends a packet as a machine would, and looks how far it comes.
    pub(super) async fn try_passage(&self, shard: &Shard) -> anyhow::Result<Passage> {
        let frame = rules::probe(self.config.subnet, self.config.address, self.mac);
        let mut farthest = Passage::NotForwarded;
        for _ in 0..TRIES {
            let before = self.passages().await?;
            shard.plane.borrow_mut().send_own(self.port, &frame, now());
            for _ in 0..LOOKS {
                tokio::time::sleep(LOOK).await;
                let after = self.passages().await?;
                if after.departed != before.departed {
                    return Ok(Passage::Through);
                }
                if after.arrived != before.arrived {
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
