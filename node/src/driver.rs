//! The data-plane thread: one runtime that owns the bridge, its ports and the cables. Everything
//! else talks to it by requests. The only place that reads the clock.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use cable::hello::Introduction;
use cable::{CableEvent, Cables, CablesConfig, Epoch, Identity, Notary, Target, Trust};
use console::{Event, Reply, SwitchCommand};
use control::{Failure, Request};
use fabric::Bridge;
use mesh::message::Name;
use mesh::record::Incarnation;
use mesh::{Mesh, Nick};
use rand::RngExt as _;
use segment::Segment;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::LocalSet;
use vdeplug::Server;

use crate::config::{GatewayConfig, Listen, ShardConfig, TapFailure};
use crate::gateway::{self, Role};
use crate::journal::Journal;
use crate::plane::{Plane, Settings};
use crate::port;
use crate::port::batches::Batches;
use crate::port::stream::{KnownStreams, StreamListener};
use crate::readings::Reading;
use crate::refused::RefusedPlugs;
use crate::reporter::Reporter;
use crate::vde_switch::execute::{self, SwitchFacts};
use crate::{cabling, logging, membership, requests};

/// Requests that may wait for the data plane. Full: the control plane waits.
const REQUESTS: usize = 64;

/// Events that may wait for a console. Full: the oldest are skipped there.
const EVENTS: usize = 256;

/// Something asked of the data plane, and where the answer goes.
#[derive(Debug)]
pub(crate) enum Asked {
    /// By `vdecable`.
    Control { request: Request, reply: oneshot::Sender<Result<Reading, Failure>> },
    /// By VDE's console.
    Switch { command: SwitchCommand, reply: oneshot::Sender<Reply> },
}

/// A port needs two descriptors; the usual soft limit of 1024 is for programs that use `select`.
pub(crate) fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Not a reason to stop: it only bounds how many can plug in.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Keeps this process's memory, where its key is, from other processes of its user and from core
/// files (prctl(2), PR_SET_DUMPABLE). What it does itself by /proc/self goes on.
pub(crate) fn hide_memory() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    if let Err(err) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::debug!(%err, "memory is not hidden");
    }
}

/// Everything that lives on the data-plane thread.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) name: String,
    pub(crate) identity: Arc<Identity>,
    pub(crate) trust: Trust,
    /// Where others reach this node, beside the addresses of its interfaces.
    pub(crate) announce: Vec<Target>,
    /// Where the key is kept; none to keep nothing.
    pub(crate) state: Option<PathBuf>,
    pub(crate) started: Instant,
    pub(crate) server: Server,
    pub(crate) cables: Cables,
    pub(crate) plane: RefCell<Plane>,
    pub(crate) batches: Batches,
    pub(crate) tap_batch: RefCell<port::tap::TapBatch>,
    pub(crate) known_streams: RefCell<KnownStreams>,
    pub(crate) refused_plugs: RefCell<RefusedPlugs>,
    /// The way out of the mesh, when it is this node.
    pub(crate) role: Role,
    pub(crate) reporter: Reporter,
    /// What only `vde_switch` has.
    pub(crate) switch: Option<RefCell<SwitchFacts>>,
}

/// The present moment, for the cores.
#[expect(clippy::disallowed_methods, reason = "this driver is where the node reads the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The present moment, for people.
#[expect(clippy::disallowed_methods, reason = "this driver is where the node reads the clock")]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// Seconds since 1970, for what must be later than before the last start.
pub(crate) fn unix_seconds() -> u64 {
    let since = wall_clock().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// A running data plane.
#[derive(Debug)]
pub(crate) struct DataPlane {
    pub(crate) requests: mpsc::Sender<Asked>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) journal: Arc<Journal>,
    thread: std::thread::JoinHandle<anyhow::Result<()>>,
    stop: oneshot::Sender<()>,
}

/// What an operator is told when the node is ready.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) key: String,
    pub(crate) listen: Option<String>,
    pub(crate) vde: String,
}

impl DataPlane {
    /// Starts the thread and waits until every socket is there.
    pub(crate) fn start(config: ShardConfig) -> anyhow::Result<(Self, Ready)> {
        let (requests, receiver) = mpsc::channel(REQUESTS);
        let (events, _) = broadcast::channel(EVENTS);
        let (stop, stopped) = oneshot::channel();
        let told = events.clone();
        let journal = Arc::<Journal>::default();
        let written = journal.clone();
        let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("shard-0".into())
            .spawn(move || run(config, receiver, (told, written), stopped, ready))
            .context("cannot start the data-plane thread")?;
        match is_ready.recv() {
            Ok(ready) => Ok((Self { requests, events, journal, thread, stop }, ready)),
            // It ended before it was ready, and says why.
            Err(_) => match thread.join() {
                Ok(result) => Err(result.err().unwrap_or_else(|| {
                    anyhow::anyhow!("the data plane ended before it was ready")
                })),
                Err(_) => Err(anyhow::anyhow!("the data plane panicked at its start")),
            },
        }
    }

    /// Completes when the thread has ended by itself.
    pub(crate) async fn until_ended(&self) {
        self.requests.closed().await;
    }

    /// Tells peers and clients, removes every socket, and waits for the end.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        let _ = self.stop.send(());
        match self.thread.join() {
            Ok(result) => result,
            Err(_) => Err(anyhow::anyhow!("the data plane panicked")),
        }
    }
}

fn run(
    config: ShardConfig,
    requests: mpsc::Receiver<Asked>,
    (events, journal): (broadcast::Sender<Event>, Arc<Journal>),
    stopped: oneshot::Receiver<()>,
    ready: std::sync::mpsc::SyncSender<Ready>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the data-plane runtime")?;
    let local = LocalSet::new();
    let result = local.block_on(&runtime, async {
        let (taps, offload) = (config.taps.clone(), config.offload);
        let tap_failure = config.tap_failure;
        let (streams, dgrams) = (config.streams.clone(), config.dgrams.clone());
        let (sequenced, access) = (config.sequenced.clone(), config.sockets);
        let (gateway, state) = (config.gateway.clone(), config.state.clone());
        let (shard, cable_events) = set_up(config, events, journal)?;
        for at in &taps {
            match port::tap::plug_in(&shard, at, offload) {
                Err(err) if tap_failure == TapFailure::Told => {
                    tracing::error!("{}", logging::in_one_line(&err));
                }
                result => result?,
            }
        }
        for at in &streams {
            StreamListener::bind(at, access)?.spawn(&shard);
        }
        for at in &dgrams {
            port::dgram::exchange(&shard, at, access)?;
        }
        for path in &sequenced {
            port::dgram::accept(&shard, path, access)?;
        }
        // What is polled here is polled whenever any task of the set is, for every frame.
        let serving = tokio::task::spawn_local(serve(
            shard.clone(),
            (requests, cable_events),
            (gateway, state),
            stopped,
            ready,
        ));
        let result = match serving.await {
            Ok(result) => result,
            Err(err) => match err.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Ok(()),
            },
        };
        shard.role.end(&shard).await;
        membership::exchange_contacts(&shard);
        shard.cables.shut_down().await;
        result
    });
    // With the set goes every port, which removes its files.
    drop(local);
    // A name that is being looked up must not hold up the end.
    runtime.shutdown_background();
    result
}

/// Does all that is not a port's or a cable's own, until the node is to stop.
async fn serve(
    shard: Rc<Shard>,
    (requests, cable_events): (mpsc::Receiver<Asked>, mpsc::Receiver<CableEvent>),
    (gateway, state): (Option<GatewayConfig>, Option<PathBuf>),
    stopped: oneshot::Receiver<()>,
    ready: std::sync::mpsc::SyncSender<Ready>,
) -> anyhow::Result<()> {
    let is_ready = || {
        let _ = ready.send(Ready {
            key: shard.identity.public().to_string(),
            listen: shard.cables.local_addr().map(|address| address.to_string()),
            vde: shard.server.directory().display().to_string(),
        });
    };
    tokio::select! {
        _ = stopped => Ok(()),
        () = serve_requests(&shard, requests) => Ok(()),
        () = cabling::follow_cables(&shard, cable_events) => Ok(()),
        () = cabling::follow_mesh(&shard) => Ok(()),
        () = membership::follow_contacts(&shard) => Ok(()),
        () = port::vde::accept(&shard) => Ok(()),
        () = age(&shard) => Ok(()),
        Err(err) = gateway::fill_role(&shard, gateway, state.as_deref(), is_ready) => Err(err),
    }
}

fn set_up(
    config: ShardConfig,
    events: broadcast::Sender<Event>,
    journal: Arc<Journal>,
) -> anyhow::Result<(Rc<Shard>, mpsc::Receiver<CableEvent>)> {
    let (identity, trust) = match &config.state {
        Some(state) => (cable::trust::settle(state)?, Trust::load(state)?),
        None => (Identity::generate()?, Trust::in_memory([])),
    };
    let called = membership::name_in_mesh(&config.name);
    trust.belong(config.state.as_deref(), &identity, &called)?;
    let server = Server::bind(config.vde)?;
    let mut random = rand::rng();
    let nick = std::iter::repeat_with(|| random.random())
        .find_map(Nick::new)
        .expect("a random number is not zero for ever");
    let (cables, cable_events) = start_cables(
        config.listen,
        &config.name,
        config.state.as_deref(),
        nick,
        &identity,
        &trust,
    )?;
    let seconds = unix_seconds();
    let epoch = Epoch::begin(config.state.as_deref(), seconds)?;
    let instance = seconds << 32 | u64::from(random.random::<u32>());
    let incarnation = Incarnation { epoch: epoch.current(), instance };
    let (key, name) = (identity.public().into(), Name::lossy(&config.name));
    let mesh = mesh::engine::Config::new(key, name, nick, incarnation, random.random());
    let mesh = Mesh::new(mesh, Notary::new(&identity, trust.clone()), now());
    let fabric = fabric::Config {
        hub: config.hub,
        ageing_time: config.ageing_time,
        storm_control: config.storm_control,
        seed: random.random(),
        ..Default::default()
    };
    let (ports, vlans, probes, guards) = (config.ports, config.vlans, config.probes, config.guards);
    let settings = Settings { ports, vlans, probes, events };
    let joined = segment::Config { probes, guards, seed: random.random() };
    let segment = Segment::new(Bridge::new(fabric), mesh, joined);
    let shard = Rc::new(Shard {
        name: config.name,
        identity: Arc::new(identity),
        trust,
        announce: config.announce,
        state: config.state,
        started: now(),
        server,
        cables,
        plane: RefCell::new(Plane::new(segment, settings)),
        batches: Batches::new(),
        tap_batch: RefCell::new(port::tap::TapBatch::new()),
        known_streams: RefCell::default(),
        refused_plugs: RefCell::default(),
        role: Role::default(),
        reporter: Reporter::new(journal, epoch),
        switch: config.switch.map(RefCell::new),
    });
    Ok((shard, cable_events))
}

fn start_cables(
    listen: Listen,
    name: &str,
    state: Option<&Path>,
    nick: Nick,
    identity: &Identity,
    trust: &Trust,
) -> anyhow::Result<(Cables, mpsc::Receiver<CableEvent>)> {
    let mut last = None;
    for candidate in listen.candidates() {
        let config = CablesConfig {
            listen: candidate,
            state: state.map(Path::to_owned),
            introduction: Introduction {
                name: name.to_owned(),
                nick,
                max_frame: u32::try_from(ether::limits::MAX_FRAME).expect("a small constant"),
            },
            queue: mesh::queue::Limits::default(),
            seed: rand::random(),
        };
        match Cables::start(config, identity, trust.clone()) {
            Ok(started) => return Ok(started),
            Err(err) => last = last.or(Some(err)),
        }
    }
    Err(last.expect("there is at least one candidate").into())
}

async fn serve_requests(shard: &Rc<Shard>, mut requests: mpsc::Receiver<Asked>) {
    while let Some(asked) = requests.recv().await {
        match asked {
            Asked::Control { request, reply } => {
                let shard = shard.clone();
                // A request that resolves a name must not hold up the others.
                tokio::task::spawn_local(async move {
                    let _ = reply.send(requests::handle(&shard, request).await);
                });
            }
            Asked::Switch { command, reply } => {
                let _ = reply.send(execute::execute(shard, &command));
            }
        }
    }
}

async fn age(shard: &Shard) {
    /// Entries that are due are not used anyway; the sweep only frees their memory.
    const SWEEP: Duration = Duration::from_secs(10);
    loop {
        tokio::time::sleep(SWEEP).await;
        shard.plane.borrow_mut().segment.bridge.handle_timeout(now());
    }
}
