//! The way out of the mesh: an interface of this host with an address, DHCP and names for every
//! machine on the Ethernet, and masquerade.
//!
//! The decisions are those of the package `gateway`. Here are its hands: frames of the interface's
//! port, the lease log's file, rtnetlink, `nft`, the sockets of the resolver. DHCP is served on the
//! virtual wire: nothing on this host listens on port 67. All of it lives on the data-plane thread
//! beside the bridge; what takes time is done elsewhere and awaited.
//!
//! | I want to change… | Open |
//! |---|---|
//! | a flag, a default | `cli/gateway.rs`, `config/gateway.rs` |
//! | the interface, what is read of the host's routes | `interface.rs` |
//! | which frames go to the DHCP server | `port.rs` |
//! | when leases are on disk | `lease_file.rs` |
//! | what `vdecable leases` and `forward` do | `requests.rs`, `forwards.rs` |
//! | who is asked for other names | `resolver.rs` |
//! | how the rules get into the kernel and stay there | `nat.rs`, `nft.rs` |
//! | what follows from routes and other firewalls | `upkeep.rs`, `forwarding.rs` |

mod clocks;
mod forwarding;
mod forwards;
mod interface;
mod lease_file;
mod nat;
mod nft;
mod port;
mod requests;
mod resolver;
mod upkeep;

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use arrayvec::ArrayVec;
use ether::VnetHeader;
use fabric::PortId;
use gateway::dhcp::{Config, Event, Server, Source, StoreError, Ticket};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::config::GatewayConfig;
use crate::driver::{self, Shard};
use crate::plane::{BATCH, Frame, Frames};
use forwarding::Forwarding;
use forwards::Forwards;
use interface::Netlink;
use lease_file::LeaseFile;
use nat::Nat;
pub(crate) use port::{Course, Inbox};
pub(crate) use requests::handle as handle_request;
use resolver::Resolver;
use upkeep::Standing;

/// `CAP_NET_ADMIN` of capabilities(7): to make interfaces, set addresses and rules.
const CAP_NET_ADMIN: u32 = 12;

/// How long the end may wait for leases that are being written.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// Somebody who waits for a change to be on disk.
type Waiting = (Ticket, oneshot::Sender<Result<(), StoreError>>);

/// The gateway's services.
#[derive(Debug)]
pub(crate) struct Gateway {
    config: GatewayConfig,
    port: PortId,
    inbox: Rc<Inbox>,
    netlink: Netlink,
    server: Rc<RefCell<Server>>,
    resolver: Rc<Resolver>,
    forwards: RefCell<Forwards>,
    /// None when the way out is the host's own business.
    nat: Option<Rc<Nat>>,
    forwarding: RefCell<Option<Forwarding>>,
    standing: RefCell<Standing>,
    waiting: RefCell<Vec<Waiting>>,
    /// The write that is under way.
    storing: Cell<Option<Ticket>>,
    /// Told when the server has something to store.
    wake: Notify,
    /// Told when routes or interfaces may have changed.
    host_changed: Rc<Notify>,
}

/// Sets the gateway up, or says what is missing and how to get it.
pub(crate) async fn start(shard: &Rc<Shard>, config: GatewayConfig) -> anyhow::Result<Rc<Gateway>> {
    if !has_capability(CAP_NET_ADMIN) {
        bail!(
            "--gateway needs root (CAP_NET_ADMIN), to make an interface and to masquerade; run vdenode as root"
        );
    }
    if config.masquerade {
        nft::check().await?;
    }
    let host_changed = Rc::new(Notify::new());
    let netlink = Netlink::connect(host_changed.clone())?;
    netlink.check_free(&config).await?;
    let interface = config.interface.to_string();
    let inbox = Rc::new(Inbox::default());
    let port = crate::port::tap::plug_in_gateway(shard, &interface, inbox.clone())?;
    let mac = netlink.configure(&config).await?;
    shard.plane.borrow_mut().keep_station(mac, port, driver::now());

    let (file, loaded) = LeaseFile::open(&config.state.join("leases.log"))?;
    let mut dhcp = Config::new(config.subnet, config.address, mac);
    dhcp.lease_time = config.lease_time;
    dhcp.domain = Some(config.domain.clone());
    dhcp.mtu = (config.mtu != 1500).then_some(config.mtu);
    let server =
        Server::new(dhcp, loaded, clocks::boot_id(), clocks::now()).context("--gateway")?;
    let server = Rc::new(RefCell::new(server));
    let resolver = Resolver::start(&config, server.clone()).await?;

    let forwards = Forwards::load(&config.state)?;
    let (mut nat, mut forwarding) = (None, None);
    if config.masquerade {
        let rules = upkeep::rules_for(&config, &netlink.routes(&interface).await?)?;
        let rules = forwards.apply(rules, &server.borrow());
        nat = Some(Nat::start(rules).await.context("cannot masquerade")?);
        forwarding = Some(Forwarding::take_over(&config.state));
    }
    let gateway = Rc::new(Gateway {
        config,
        port,
        inbox,
        netlink,
        server,
        resolver,
        forwards: RefCell::new(forwards),
        nat,
        forwarding: RefCell::new(forwarding),
        standing: RefCell::default(),
        waiting: RefCell::default(),
        storing: Cell::new(None),
        wake: Notify::new(),
        host_changed,
    });
    gateway.look_at_host().await;
    tokio::task::spawn_local(upkeep::follow(gateway.clone()));
    tokio::task::spawn_local(serve(shard.clone(), gateway.clone(), file));
    tracing::info!(
        address = %gateway.config.address,
        subnet = %gateway.config.subnet,
        interface,
        uplinks = ?gateway.standing.borrow().uplinks,
        "gateway ready"
    );
    Ok(gateway)
}

/// Undoes what a gateway that was killed has left on this host.
pub(crate) fn clean_up(state: &Path) {
    drop(Forwarding::take_over(state));
}

/// Whether this process may do what a capability is for (proc_pid_status(5), `CapEff`).
fn has_capability(number: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> number & 1 == 1)
}

impl Gateway {
    /// Leaves the host as it was. What is left goes with the data plane: the interface.
    pub(crate) async fn stop(&self) {
        let (tell, told) = oneshot::channel();
        if let Some(ticket) = self.storing.get() {
            self.waiting.borrow_mut().push((ticket, tell));
            let _ = tokio::time::timeout(LAST_WRITE, told).await;
        }
        if let Some(nat) = &self.nat {
            nat.stop().await;
        }
        drop(self.forwarding.borrow_mut().take());
    }

    /// Takes in what came, and sends, stores and tells what is to be. At most one batch, so that
    /// other ports have their turns.
    fn turn(&self, shard: &Shard, file: &LeaseFile, done: &mpsc::Sender<lease_file::Stored>) {
        let now = clocks::now();
        let mut server = self.server.borrow_mut();
        for (frame, node) in std::iter::from_fn(|| self.inbox.take()).take(BATCH) {
            server.handle_frame(&frame, Source { node: node.get().into(), port: 0 }, now);
        }
        if let Some(store) = server.poll_store() {
            self.storing.set(Some(store.ticket));
            file.store(store, done.clone());
        }
        let mut replies = std::iter::from_fn(|| server.poll_transmit()).peekable();
        while replies.peek().is_some() {
            let batch: ArrayVec<Vec<u8>, BATCH> = replies.by_ref().take(BATCH).collect();
            let frame = |bytes| Frame { bytes, vnet: VnetHeader::PLAIN, origin: None };
            let frames: Frames<'_> = batch.iter().map(|bytes| frame(&bytes[..])).collect();
            shard.plane.borrow_mut().relay_all(self.port, &frames, driver::now());
        }
        drop(replies);
        let events: Vec<Event> = std::iter::from_fn(|| server.poll_event()).collect();
        drop(server);
        for event in &events {
            tell(event);
        }
        if events.iter().any(changes_names) {
            self.follow_names();
        }
    }

    /// A write has come to its end.
    fn handle_stored(&self, (ticket, result): lease_file::Stored) {
        self.storing.set(None);
        self.server.borrow_mut().handle_stored(ticket, result, clocks::now());
        let mut waiting = self.waiting.borrow_mut();
        for (_, tell) in waiting.extract_if(.., |(waits_for, _)| *waits_for <= ticket) {
            // Whoever asked may have left.
            let _ = tell.send(result);
        }
    }
}

/// Serves DHCP for as long as the shard lives.
async fn serve(shard: Rc<Shard>, gateway: Rc<Gateway>, file: LeaseFile) {
    let (done, mut stored) = mpsc::channel(1);
    loop {
        gateway.turn(&shard, &file, &done);
        if !gateway.inbox.is_empty() {
            // The frames that wait must not keep the disk's report waiting.
            if let Ok(stored) = stored.try_recv() {
                gateway.handle_stored(stored);
            }
            tokio::task::yield_now().await;
            continue;
        }
        let due = gateway.server.borrow().poll_timeout();
        let timeout = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = gateway.inbox.filled() => {}
            () = gateway.wake.notified() => {}
            () = timeout => gateway.server.borrow_mut().handle_timeout(clocks::now()),
            Some(stored) = stored.recv() => gateway.handle_stored(stored),
        }
    }
}

/// Whether a name may stand for another address now.
fn changes_names(event: &Event) -> bool {
    matches!(event, Event::Given(_) | Event::Released(_) | Event::Expired(_) | Event::Declined(_))
}

fn tell(event: &Event) {
    match event {
        Event::Given(lease) => tracing::info!(
            address = %lease.address,
            mac = %lease.station,
            name = lease.hostname.as_ref().map(tracing::field::display),
            "lease given"
        ),
        Event::Renewed(lease) => tracing::debug!(address = %lease.address, "lease renewed"),
        Event::Released(lease) => tracing::info!(address = %lease.address, "lease released"),
        Event::Expired(lease) => tracing::info!(address = %lease.address, "lease expired"),
        Event::Declined(lease) => tracing::warn!(
            address = %lease.address,
            mac = %lease.station,
            "address declined, as another machine uses it; it is not given out for a while"
        ),
        Event::Conflict { address, station } => tracing::warn!(
            %address,
            mac = %station,
            "address in use by a machine without a lease; it is not given out for a while"
        ),
        Event::PoolExhausted { station } => tracing::warn!(
            mac = %station,
            "no address is left; widen the subnet of --gateway, or shorten --lease-time"
        ),
        Event::NotDurable(err) => tracing::warn!(
            %err,
            "leases not durable: no new machine gets an address, renewals go on"
        ),
        Event::Durable => tracing::info!("leases are durable again"),
        Event::RogueServer { station, server, .. } => tracing::warn!(
            mac = %station,
            %server,
            "another DHCP server answers machines; stop it, or give --gateway up"
        ),
        Event::ReservationIgnored { address, reason } => {
            tracing::warn!(%address, %reason, "a reservation is ignored");
        }
    }
}
