//! What cables and the mesh report, as events in this node's words: ids of cables, names of nodes as
//! its operator gave them, descriptions of ports.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cable::failure::Failure;
use cable::link::Peer;
use cable::{CableId, Epoch, PublicKey, Trust};
use control::event::{Event, Level, LinkLoss, Named, NamedPort, Notice, Offence};
use fabric::PortId;
use mesh::authority::NodeKey;
use mesh::engine::{DownReason, Event as MeshEvent, LinkId, PortState, Silence, Who};
use mesh::record::{Notice as MeshNotice, Offence as MeshOffence};

use crate::driver::{Shard, now, wall_clock};
use crate::journal::Journal;
use crate::status::description_of;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Reporter {
    journal: Arc<Journal>,
    epoch: RefCell<Epoch>,
    /// The latest cable at each port: what is reported of one may be read when it has gone.
    cables: RefCell<BTreeMap<PortId, CableId>>,
    /// Since when cables that are connected carry no frames.
    silent: RefCell<BTreeMap<PortId, Instant>>,
}

/// The names that the mesh and the operator gave, by key.
pub(crate) fn given_names(trust: &Trust) -> BTreeMap<NodeKey, String> {
    trust.names().into_iter().map(|(key, name)| (key.into(), name)).collect()
}

impl Reporter {
    pub(crate) fn new(journal: Arc<Journal>, epoch: Epoch) -> Self {
        let (cables, silent) = Default::default();
        Self { journal, epoch: RefCell::new(epoch), cables, silent }
    }

    /// A cable is connected and has a port now.
    pub(crate) fn cable_up(&self, shard: &Shard, cable: CableId, port: PortId, peer: &Peer) {
        self.cables.borrow_mut().insert(port, cable);
        self.silent.borrow_mut().remove(&port);
        let id = cable.to_string();
        let status = shard.cables.statuses().into_iter().find(|status| status.id == id);
        let address = status.and_then(|status| status.remote);
        let peer = peer_named(shard, peer.key, &peer.name);
        // The log has it from the cable itself, as it has its end.
        self.journal.tell(wall_clock(), Event::CableUp { cable: id, peer, address });
    }

    /// A cable that had a port has ended.
    pub(crate) fn cable_down(&self, shard: &Shard, cable: CableId, peer: &Peer, why: &Failure) {
        let event = Event::CableDown {
            cable: cable.to_string(),
            peer: peer_named(shard, peer.key, &peer.name),
            reason: why.reason(),
            fix: why.fix(shard.identity.public()),
        };
        self.journal.tell(wall_clock(), event);
    }

    /// For how long the cable at a port has been connected without carrying frames.
    pub(crate) fn silent_for(&self, port: PortId, now: Instant) -> Option<Duration> {
        let since = self.silent.borrow().get(&port).copied();
        since.map(|since| now.saturating_duration_since(since))
    }

    /// The id of the cable at a port.
    pub(crate) fn cable_at(&self, port: PortId) -> Option<CableId> {
        self.cables.borrow().get(&port).copied()
    }

    /// Tells of something else.
    pub(crate) fn tell(&self, event: Event) {
        let told = self.journal.tell(wall_clock(), event);
        match told.level {
            Level::Debug => tracing::debug!("{}", told.text),
            Level::Info => tracing::info!("{}", told.text),
            Level::Warning => tracing::warn!("{}", told.text),
        }
    }

    /// This node.
    pub(crate) fn own(&self, shard: &Shard) -> Named {
        Named { name: shard.name.clone(), key: shard.identity.public().to_string() }
    }

    /// Another node, as its operator calls it here.
    pub(crate) fn named(&self, shard: &Shard, who: &Who) -> Named {
        Words::new(self, shard).who(who)
    }

    /// What nodes that can be reached want known, in sentences.
    pub(crate) fn notices(&self, shard: &Shard) -> Vec<String> {
        let notices = shard.plane.borrow().mesh().notices();
        let words = Words::new(self, shard);
        let told = notices.into_iter().map(|(from, notice)| Event::NoticeRaised {
            from: words.who(&from),
            notice: words.notice(notice),
        });
        told.map(|event| event.sentence()).collect()
    }

    /// Tells what the mesh has to report, and keeps its epoch.
    pub(crate) fn report(&self, shard: &Shard, events: Vec<MeshEvent>) {
        for event in events {
            match &event {
                MeshEvent::EpochRaised(above) => {
                    if let Err(err) = self.epoch.borrow_mut().raise(*above) {
                        tracing::warn!(%err, "after the next start other nodes take longer to listen");
                    }
                }
                MeshEvent::LinkUp { link, .. } => drop(self.silent.borrow_mut().remove(&at(*link))),
                MeshEvent::LinkDown { link, reason: DownReason::Silent(_), .. } => {
                    self.silent.borrow_mut().insert(at(*link), now());
                }
                _ => {}
            }
            self.tell(Words::new(self, shard).event(event));
        }
    }
}

fn at(link: LinkId) -> PortId {
    PortId(link.0)
}

fn offence_of(offence: MeshOffence) -> Offence {
    match offence {
        MeshOffence::DhcpServer => Offence::DhcpServer,
        MeshOffence::Router => Offence::Router,
        MeshOffence::GatewayAddress => Offence::GatewayAddress,
    }
}

fn peer_named(shard: &Shard, key: PublicKey, own_name: &str) -> Named {
    let name = shard.trust.name_of(key).unwrap_or_else(|| own_name.to_owned());
    Named { name, key: key.to_string() }
}

/// Puts things into this node's words.
struct Words<'a> {
    reporter: &'a Reporter,
    shard: &'a Shard,
    given: BTreeMap<NodeKey, String>,
}

impl<'a> Words<'a> {
    fn new(reporter: &'a Reporter, shard: &'a Shard) -> Self {
        Self { reporter, shard, given: given_names(&shard.trust) }
    }

    fn event(&self, event: MeshEvent) -> Event {
        match event {
            MeshEvent::LinkUp { link, peer } => {
                Event::LinkUp { cable: self.cable(link), peer: self.who(&peer) }
            }
            MeshEvent::LinkDown { link, peer, reason } => Event::LinkDown {
                cable: self.cable(link),
                peer: self.who(&peer),
                loss: match reason {
                    DownReason::Closed => LinkLoss::Closed,
                    DownReason::Silent(Silence::Inbound) => LinkLoss::Inbound,
                    DownReason::Silent(Silence::Outbound) => LinkLoss::Outbound,
                },
            },
            MeshEvent::NodeJoined(who) => Event::NodeJoined { node: self.who(&who) },
            MeshEvent::NodeLeft(who) => Event::NodeLeft { node: self.who(&who) },
            MeshEvent::EpochRaised(epoch) => Event::EpochRaised { epoch },
            MeshEvent::NickChanged { nick, keeper } => {
                Event::NickChanged { nick: nick.to_string(), keeper: self.who(&keeper) }
            }
            MeshEvent::NickClash { nick, keeper, loser } => Event::NickClash {
                nick: nick.to_string(),
                keeper: self.who(&keeper),
                loser: self.who(&loser),
            },
            MeshEvent::RecordRefused { link, origin, reason } => Event::RecordRefused {
                cable: self.cable(link),
                origin: self.who(&origin),
                reason: reason.to_string(),
            },
            MeshEvent::KeyCloned(who) => Event::KeyCloned { node: self.who(&who) },
            MeshEvent::DuplicateStation { vlan, mac, owner } => Event::DuplicateStation {
                vlan: vlan.0,
                mac: mac.to_string(),
                owner: self.who(&owner),
            },
            MeshEvent::StickyStation { vlan, mac, owner } => {
                Event::StickyStation { vlan: vlan.0, mac: mac.to_string(), owner: self.who(&owner) }
            }
            MeshEvent::LoopFound { port, other, other_port, state } => Event::LoopFound {
                port: self.port(PortId(port.0)),
                other: self.who(&other),
                other_port,
                blocked_here: state == PortState::Blocked,
            },
            MeshEvent::GatewayServes(who) => Event::GatewayServes { node: self.who(&who) },
            MeshEvent::GatewayGone(who) => Event::GatewayGone { node: self.who(&who) },
            MeshEvent::Guarded { port, offence, mac } => Event::Guarded {
                port: self.port(PortId(port.0)),
                offence: offence_of(offence),
                mac: mac.to_string(),
            },
            MeshEvent::LoopCleared { port } => {
                Event::LoopCleared { port: self.port(PortId(port.0)) }
            }
            MeshEvent::NoticeRaised { from, notice } => {
                Event::NoticeRaised { from: self.who(&from), notice: self.notice(notice) }
            }
            MeshEvent::NoticeCleared { from, notice } => {
                Event::NoticeCleared { from: self.who(&from), notice: self.notice(notice) }
            }
        }
    }

    fn who(&self, who: &Who) -> Named {
        let given = self.given.get(&who.key).cloned();
        let name = given.unwrap_or_else(|| who.name.as_str().to_owned());
        Named { name, key: who.key.to_string() }
    }

    /// A node of which only the key is at hand.
    fn node(&self, key: NodeKey) -> Named {
        let name = self.given.get(&key).cloned().or_else(|| {
            let nodes = self.shard.plane.borrow().mesh().nodes(now());
            let node = nodes.into_iter().find(|node| node.key == key)?;
            Some(node.name.as_str().to_owned())
        });
        Named { name: name.unwrap_or_default(), key: key.to_string() }
    }

    fn cable(&self, link: LinkId) -> String {
        self.reporter.cable_at(at(link)).map_or_else(|| "?".to_owned(), |cable| cable.to_string())
    }

    fn port(&self, id: PortId) -> NamedPort {
        let plane = self.shard.plane.borrow();
        NamedPort {
            port: id.0,
            description: plane.port(id).map(description_of).unwrap_or_default(),
        }
    }

    fn notice(&self, notice: MeshNotice) -> Notice {
        match notice {
            MeshNotice::Loop { port, number, sender, sender_number, .. } => Notice::Loop {
                port: NamedPort { port: number, description: port.as_str().to_owned() },
                other: self.node(sender),
                other_port: sender_number,
            },
            MeshNotice::DuplicateStation { vlan, mac, owner } => Notice::DuplicateStation {
                vlan,
                mac: ether::MacAddr(mac).to_string(),
                owner: self.node(owner),
            },
            MeshNotice::ClonedKey { key } => Notice::ClonedKey { node: self.node(key) },
            MeshNotice::Guarded { port, number, offence, mac } => Notice::Guarded {
                port: NamedPort { port: number, description: port.as_str().to_owned() },
                offence: offence_of(offence),
                mac: ether::MacAddr(mac).to_string(),
            },
        }
    }
}
