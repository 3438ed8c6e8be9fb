//! Nodes without a bridge: their cables, the frames that arrive, and how to wait for things.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cable::cables::Keep;
use cable::hello::Introduction;
use cable::{CableEvent, CableId, Cables, CablesConfig, Identity, Link, PublicKey, Target, Trust};
use control::status::{CableState, CableStatus};
use mesh::Nick;
use mesh::framing::{Reach, Received, RecordHeader};
use mesh::queue::Limits;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

/// How long anything may take that is not a matter of waiting for a timeout.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Runs a test on one thread, as a node's data plane does.
pub(crate) fn run(test: impl Future<Output = ()>) {
    run_for(Duration::from_secs(60), test);
}

/// The same for one that takes long.
pub(crate) fn run_for(limit: Duration, test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let in_time = async { tokio::time::timeout(limit, test).await };
    let done = runtime.block_on(LocalSet::new().run_until(in_time));
    done.expect("the test hangs");
}

/// Runs all at the same time, and gives what came of each.
pub(crate) async fn all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        for (future, result) in &mut futures {
            if result.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *result = Some(value);
            }
        }
        if futures.iter().all(|(_, result)| result.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    futures.into_iter().filter_map(|(_, result)| result).collect()
}

/// Waits for a condition.
#[track_caller]
pub(crate) fn until(what: &str, holds: impl FnMut() -> bool) -> impl Future<Output = ()> {
    until_within(SOON, what, holds)
}

#[track_caller]
pub(crate) fn until_within(
    deadline: Duration,
    what: &str,
    mut holds: impl FnMut() -> bool,
) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let waited = tokio::time::timeout(deadline, async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        if waited.await.is_err() {
            panic!("not within {deadline:?}: {what} ({caller})");
        }
    }
}

/// Watches that something stays as it is for longer than the first waits between two attempts.
pub(crate) async fn stays<T: PartialEq + std::fmt::Debug>(
    what: &str,
    mut state: impl FnMut() -> T,
) {
    let before = state();
    let end = tokio::time::Instant::now() + Duration::from_millis(700);
    while tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(state(), before, "{what}");
    }
}

/// What the data plane was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    Up(CableId),
    Down(CableId),
}

type Frame = (RecordHeader, Vec<u8>);

#[derive(Default)]
struct Plane {
    links: RefCell<BTreeMap<CableId, Rc<Link>>>,
    heard: RefCell<Vec<Heard>>,
    frames: RefCell<Vec<Frame>>,
}

/// A node that only has cables.
pub(crate) struct Node {
    pub(crate) cables: Cables,
    pub(crate) trust: Trust,
    pub(crate) key: PublicKey,
    plane: Rc<Plane>,
    /// Deleted with its last owner.
    home: Option<Rc<TempDir>>,
}

/// Who a node is, with the directory in which that is kept.
pub(crate) struct Home {
    directory: Rc<TempDir>,
    pub(crate) key: PublicKey,
}

impl Home {
    pub(crate) fn new() -> Self {
        let directory = Rc::new(tempfile::tempdir().unwrap());
        let key = Identity::load_or_generate(directory.path()).unwrap().public();
        Self { directory, key }
    }

    /// Two homes, that of the lower key first.
    pub(crate) fn pair() -> [Self; 2] {
        let mut homes = [Self::new(), Self::new()];
        homes.sort_by_key(|home| home.key);
        homes
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn start(&self) -> Node {
        self.start_at("127.0.0.1:0".parse().unwrap())
    }

    /// A node that belongs to a mesh: the one that its directory tells of, or one of its own.
    pub(crate) fn start_member(&self, name: &str) -> Node {
        let listen = "127.0.0.1:0".parse().unwrap();
        let mut node = Node::start_as(self.path(), Some(listen), Some(name));
        node.home = Some(self.directory.clone());
        node
    }

    pub(crate) fn start_at(&self, listen: SocketAddr) -> Node {
        let mut node = Node::start(self.path(), Some(listen));
        node.home = Some(self.directory.clone());
        node
    }
}

impl Node {
    pub(crate) fn start(state: &Path, listen: Option<SocketAddr>) -> Self {
        Self::start_as(state, listen, None)
    }

    fn start_as(state: &Path, listen: Option<SocketAddr>, member: Option<&str>) -> Self {
        let identity = Identity::load_or_generate(state).unwrap();
        let key = identity.public();
        let trust = Trust::load(state).unwrap();
        if let Some(name) = member {
            trust.belong(Some(state), &identity, name).unwrap();
        }
        let config = CablesConfig {
            listen,
            state: Some(state.to_owned()),
            introduction: Introduction {
                name: format!("node-{}", key.short()),
                nick: new_nick(),
                max_frame: u32::try_from(ether::limits::MAX_FRAME).unwrap(),
            },
            // On a machine that stands still for a while nothing is lost for having waited.
            queue: Limits { interval: Duration::from_secs(60), ..Limits::default() },
            seed: 7,
        };
        let (cables, events) = Cables::start(config, &identity, trust.clone()).unwrap();
        let plane = Rc::new(Plane::default());
        tokio::task::spawn_local(hear(events, plane.clone()));
        Self { cables, trust, key, plane, home: None }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.cables.local_addr().unwrap()
    }

    /// Trusts another node.
    pub(crate) fn trust(&self, other: PublicKey) {
        self.trust.add(other, None).unwrap();
        self.cables.handle_trust_change();
    }

    pub(crate) fn untrust(&self, other: PublicKey) {
        assert!(self.trust.remove(other).unwrap());
        self.cables.handle_trust_change();
    }

    pub(crate) async fn connect(&self, to: SocketAddr) -> CableId {
        let target: Target = to.to_string().parse().unwrap();
        self.cables.connect(target, Keep::Always).await.unwrap().0
    }

    pub(crate) fn status(&self, cable: CableId) -> Option<CableStatus> {
        let statuses = self.cables.statuses();
        statuses.into_iter().find(|s| s.id == cable.to_string())
    }

    /// State of each cable, by id.
    pub(crate) fn states(&self) -> Vec<CableState> {
        self.cables.statuses().iter().map(|s| s.state).collect()
    }

    /// Why a cable is as it is; empty when there is nothing to say.
    pub(crate) fn reason(&self, cable: CableId) -> String {
        let status = self.status(cable);
        status.and_then(|status| status.reason).unwrap_or_default()
    }

    pub(crate) fn is_up(&self, cable: CableId) -> bool {
        self.status(cable).is_some_and(|s| s.state == CableState::Up)
    }

    /// What the data plane was told so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.plane.heard.borrow().clone()
    }

    pub(crate) fn link_count(&self) -> usize {
        self.plane.links.borrow().len()
    }

    /// The only link.
    #[track_caller]
    pub(crate) fn link(&self) -> Rc<Link> {
        let links = self.plane.links.borrow();
        assert_eq!(links.len(), 1, "one link");
        links.values().next().unwrap().clone()
    }

    /// How many frames have arrived and were not taken.
    pub(crate) fn arrived(&self) -> usize {
        self.plane.frames.borrow().len()
    }

    pub(crate) fn take_frames(&self) -> Vec<Frame> {
        self.plane.frames.take()
    }
}

/// Another at each start of a node.
fn new_nick() -> Nick {
    static LAST: AtomicU32 = AtomicU32::new(0);
    Nick::new(LAST.fetch_add(1, Ordering::Relaxed) + 1).unwrap()
}

/// The data plane: keeps what it hears and what arrives.
async fn hear(mut events: mpsc::Receiver<CableEvent>, plane: Rc<Plane>) {
    while let Some(event) = events.recv().await {
        match event {
            CableEvent::Up { cable, link } => {
                plane.heard.borrow_mut().push(Heard::Up(cable));
                let before = plane.links.borrow_mut().insert(cable, link.clone());
                assert!(before.is_none(), "{cable} came up twice");
                let plane = plane.clone();
                tokio::task::spawn_local(async move {
                    let (mut received, mut beats) = (Received::<Bytes>::new(), Vec::new());
                    while link.receive(&mut received, &mut beats).await.is_ok() {
                        let mut frames = plane.frames.borrow_mut();
                        frames.extend(received.iter().map(|(h, f)| (*h, f.to_vec())));
                        drop(frames);
                        received.clear();
                    }
                });
            }
            CableEvent::Message { .. } | CableEvent::Room { .. } | CableEvent::Doubted { .. } => {}
            CableEvent::Down { cable, .. } => {
                plane.heard.borrow_mut().push(Heard::Down(cable));
                let before = plane.links.borrow_mut().remove(&cable);
                assert!(before.is_some(), "{cable} went down twice");
            }
        }
    }
}

/// Two nodes that trust each other, and the cable that the first has to the second.
pub(crate) async fn linked() -> (Node, Node) {
    let (a, b) = (Home::new(), Home::new());
    let nodes = (a.start(), b.start());
    introduce(&nodes.0, &nodes.1);
    let to = nodes.1.address();
    link(&nodes.0, &nodes.1, to).await;
    nodes
}

/// Lets two nodes trust each other.
pub(crate) fn introduce(a: &Node, b: &Node) {
    a.trust(b.key);
    b.trust(a.key);
}

/// Connects a node with another and waits until both have a link.
pub(crate) async fn link(a: &Node, b: &Node, to: SocketAddr) -> CableId {
    let (links_a, links_b) = (a.link_count(), b.link_count());
    let cable = a.connect(to).await;
    until("both ends are up", || a.link_count() > links_a && b.link_count() > links_b).await;
    cable
}

/// Whether the kernel gives less buffer than a node asks for, which it does without the privilege to
/// insist (`net.core.rmem_max`). A burst is then lost where nobody counts it.
pub(crate) fn has_short_buffers(node: &Node) -> bool {
    let warnings = node.cables.warnings();
    if !warnings.is_empty() {
        eprintln!("no bursts are tried: {warnings:?}");
    }
    !warnings.is_empty()
}

/// What travels with a frame that is nothing special.
pub(crate) const PLAIN: RecordHeader = RecordHeader {
    hops: 3,
    ingress: match Nick::new(1) {
        Some(nick) => nick,
        None => unreachable!(),
    },
    reach: Reach::Unicast { egress: None },
    vnet: None,
};

/// A frame of which every octet depends on its number.
pub(crate) fn frame(len: usize, number: usize) -> Vec<u8> {
    let mut state =
        u64::try_from(number).unwrap().wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut octets = Vec::with_capacity(len + 8);
    while octets.len() < len {
        // xorshift64 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        octets.extend(state.to_le_bytes());
    }
    octets.truncate(len);
    // All of one conversation: a cable keeps their order.
    const HEADER: [u8; 14] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5];
    for (octet, header) in octets.iter_mut().zip(HEADER) {
        *octet = header;
    }
    octets
}
