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
//! | when this node is the gateway and when another is | `role.rs` |
//! | the interface, what is read of the host's routes | `interface.rs` |
//! | which frames go to the DHCP server | `port.rs` |
//! | behind which port a machine is that asks for an address | `places.rs` |
//! | whether somebody has the gateway's address already | `ownership.rs` |
//! | when leases are on disk | `lease_file.rs` |
//! | how much the log says of leases | `chronicle.rs` |
//! | what `vdecable leases` and `forward` do | `requests.rs`, `forwards.rs` |
//! | who is asked for other names | `resolver.rs` |
//! | IPv6: prefix, advertisements | `ipv6.rs` |
//! | how the rules get into the kernel and stay there | `nat.rs`, `nft.rs` |
//! | what follows from routes and other firewalls | `upkeep.rs`, `forwarding.rs`, `passage.rs` |
//! | how settings of the host's kernel are put back | `sysctl.rs` |

mod chronicle;
mod clocks;
mod forwarding;
mod forwards;
mod interface;
mod ipv6;
mod lease_file;
mod nat;
mod nft;
mod ownership;
mod passage;
mod places;
mod port;
mod requests;
mod resolver;
mod role;
mod sysctl;
mod upkeep;

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use arrayvec::ArrayVec;
use ether::MacAddr;
use fabric::PortId;
use gateway::dhcp::{Event, Server, StoreError, Ticket};
use gateway::ra::Advertiser;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::config::GatewayConfig;
use crate::driver::{self, Shard};
use crate::plane::{BATCH, Frame, Frames};
use crate::port::tap::GatewayPlug;
use chronicle::Chronicle;
use forwards::Forwards;
use interface::Netlink;
use ipv6::Ipv6;
use lease_file::LeaseFile;
use nat::Nat;
use places::Places;
pub(crate) use port::{Course, Inbox};
pub(crate) use requests::handle as handle_request;
use resolver::Resolver;
pub(crate) use role::{Role, fill as fill_role};
use sysctl::Sysctls;
use upkeep::Standing;

/// `CAP_NET_ADMIN` of capabilities(7): to make interfaces, set addresses and rules.
const CAP_NET_ADMIN: u32 = 12;

/// How long the end may wait for leases that are being written.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// How long the port of an interface that is new listens for loops before it lets anything pass.
const OPENING: Duration = Duration::from_millis(1500);

/// How often the gateway's address is announced, and how far apart (RFC 5227 1.1).
const ANNOUNCEMENTS: usize = 2;
const BETWEEN_ANNOUNCEMENTS: Duration = Duration::from_secs(2);

/// Somebody who waits for a change to be on disk.
type Waiting = (Ticket, oneshot::Sender<Result<(), StoreError>>);

/// The gateway's services.
#[derive(Debug)]
pub(crate) struct Gateway {
    config: GatewayConfig,
    port: PortId,
    mac: MacAddr,
    /// The interface; it goes when the services end.
    plug: RefCell<Option<GatewayPlug>>,
    inbox: Rc<Inbox>,
    netlink: Netlink,
    server: Rc<RefCell<Server>>,
    ipv6: Option<Ipv6>,
    advertiser: RefCell<Option<Advertiser>>,
    resolver: Rc<Resolver>,
    forwards: RefCell<Forwards>,
    /// None when the way out is the host's own business.
    nat: Option<Rc<Nat>>,
    sysctls: RefCell<Option<Sysctls>>,
    standing: RefCell<Standing>,
    chronicle: RefCell<Chronicle>,
    places: RefCell<Places>,
    /// Told when another node is to be asked for a place.
    unplaced: Notify,
    waiting: RefCell<Vec<Waiting>>,
    /// The write that is under way.
    storing: Cell<Option<Ticket>>,
    /// Told when the server has something to store.
    wake: Notify,
    /// Told when routes or interfaces may have changed.
    host_changed: Rc<Notify>,
    /// Told when somebody has deleted the interface.
    interface_gone: Rc<Notify>,
    is_without_interface: Cell<bool>,
    /// Everything that runs for it.
    tasks: RefCell<JoinSet<()>>,
}

/// Says what is missing for a gateway on this host, and how to get it.
async fn check(config: &GatewayConfig) -> anyhow::Result<()> {
    if !has_capability(CAP_NET_ADMIN) {
        bail!(
            "--gateway needs root (CAP_NET_ADMIN), to make an interface and to masquerade; run vdenode as root"
        );
    }
    if config.masquerade {
        nft::check().await?;
    }
    let mut tasks = JoinSet::new();
    let netlink = Netlink::connect(Rc::default(), &mut tasks)?;
    netlink.check_free(config).await
}

/// Sets the gateway's services up. Nothing is left of them when that fails.
///
/// `succeeds` says that another node may have served before, of whose leases nothing is known.
async fn start(
    shard: &Rc<Shard>,
    config: GatewayConfig,
    succeeds: bool,
) -> anyhow::Result<Rc<Gateway>> {
    let (host_changed, interface_gone) = (Rc::new(Notify::new()), Rc::new(Notify::new()));
    let mut tasks = JoinSet::new();
    let netlink = Netlink::connect(host_changed.clone(), &mut tasks)?;
    netlink.check_free(&config).await?;
    // What a node that was killed has left is put back, or taken over.
    let sysctls = Sysctls::take_over(&config.state);
    let ipv6 = Ipv6::new(&config)?;
    let interface = config.interface.to_string();
    let inbox = Rc::new(Inbox::new(config.address, config.subnet));
    let plug = crate::port::tap::plug_in_gateway(
        shard,
        &interface,
        inbox.clone(),
        interface_gone.clone(),
    )?;
    let mac = netlink.bring_up(&config, ipv6.is_some()).await?;
    ownership::check(shard, &config, (plug.port(), mac), &inbox).await?;
    netlink.assign(&config, ipv6.map(|ipv6| ipv6.addresses(mac)).unwrap_or_default()).await?;

    let (file, loaded) = LeaseFile::open(&config.state.join("leases.log"))?;
    let dhcp = config.dhcp(mac);
    let mut server =
        Server::new(dhcp, loaded, clocks::boot_id(), clocks::now()).context("--gateway")?;
    if succeeds {
        server.expect_unknown_leases(clocks::now());
    }
    let server = Rc::new(RefCell::new(server));
    let resolver = Resolver::start(&config, ipv6, server.clone(), &mut tasks).await?;

    let forwards = Forwards::load(&config.state)?;
    let routes = netlink.routes(&interface).await?;
    let mut nat = None;
    if config.masquerade {
        let rules = upkeep::rules_for(&config, ipv6, &routes)?;
        let rules = forwards.apply(rules, &server.borrow());
        nat = Some(Nat::start(rules).await.context("cannot masquerade")?);
    }
    let advertiser = ipv6.map(|ipv6| ipv6.advertiser(&config, mac, &routes, driver::now()));
    let gateway = Rc::new(Gateway {
        sysctls: RefCell::new(config.masquerade.then_some(sysctls)),
        config,
        port: plug.port(),
        mac,
        plug: RefCell::new(Some(plug)),
        inbox,
        netlink,
        server,
        ipv6,
        advertiser: RefCell::new(advertiser),
        resolver,
        forwards: RefCell::new(forwards),
        nat,
        standing: RefCell::default(),
        chronicle: RefCell::default(),
        places: RefCell::default(),
        unplaced: Notify::new(),
        waiting: RefCell::default(),
        storing: Cell::new(None),
        wake: Notify::new(),
        host_changed,
        interface_gone,
        is_without_interface: Cell::new(false),
        tasks: RefCell::default(),
    });
    shard.plane.borrow_mut().keep_gateway(gateway.port, mac, driver::now());
    gateway.look_at_host(shard).await;
    tasks.spawn_local(upkeep::follow(shard.clone(), gateway.clone()));
    tasks.spawn_local(announce(shard.clone(), gateway.clone()));
    tasks.spawn_local(places::ask(shard.clone(), gateway.clone()));
    tasks.spawn_local(serve(shard.clone(), gateway.clone(), file));
    *gateway.tasks.borrow_mut() = tasks;
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
fn clean_up(state: &Path) {
    drop(Sysctls::take_over(state));
}

/// Whether this process may do what a capability is for (proc_pid_status(5), `CapEff`).
fn has_capability(number: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> number & 1 == 1)
}

impl Gateway {
    /// Leaves the host as it was.
    async fn stop(&self, shard: &Shard) {
        if let Some(advertiser) = &mut *self.advertiser.borrow_mut() {
            advertiser.stop();
        }
        self.send_advertisements(shard);
        let (tell, told) = oneshot::channel();
        if let Some(ticket) = self.storing.get() {
            self.waiting.borrow_mut().push((ticket, tell));
            let _ = tokio::time::timeout(LAST_WRITE, told).await;
        }
        let mut tasks = std::mem::take(&mut *self.tasks.borrow_mut());
        tasks.shutdown().await;
        if let Some(nat) = &self.nat {
            nat.stop().await;
        }
        drop(self.sysctls.borrow_mut().take());
        // Who waits for the disk is told that the node does not any more.
        self.waiting.borrow_mut().clear();
        shard.plane.borrow_mut().release_gateway(driver::now());
        drop(self.plug.borrow_mut().take());
    }

    /// Whether somebody has deleted the interface.
    fn is_without_interface(&self) -> bool {
        self.is_without_interface.get()
    }

    /// Completes when somebody has.
    async fn until_without_interface(&self) {
        self.interface_gone.notified().await;
        self.is_without_interface.set(true);
    }

    /// Sends frames from the gateway's port to the machines.
    fn send(&self, shard: &Shard, frames: impl Iterator<Item = Vec<u8>>) {
        send_from(shard, self.port, frames);
    }

    /// Tells machines of IPv6 what is due by now.
    fn send_advertisements(&self, shard: &Shard) {
        if let Some(advertiser) = &mut *self.advertiser.borrow_mut() {
            self.send(shard, std::iter::from_fn(|| advertiser.poll_transmit()));
        }
    }

    /// When something is to be done without a frame that asks for it.
    fn next_timeout(&self) -> Option<Instant> {
        let advertiser = self.advertiser.borrow().as_ref().and_then(Advertiser::poll_timeout);
        let chronicle = self.chronicle.borrow().poll_timeout();
        self.server.borrow().poll_timeout().into_iter().chain(advertiser).chain(chronicle).min()
    }

    fn handle_timeout(&self) {
        self.server.borrow_mut().handle_timeout(clocks::now());
        if let Some(advertiser) = &mut *self.advertiser.borrow_mut() {
            advertiser.handle_timeout(driver::now());
        }
        if let Some(count) = self.chronicle.borrow_mut().poll_left_out(driver::now()) {
            tracing::info!(
                count,
                "more happened to leases than is written; vdecable leases lists them"
            );
        }
    }

    /// Takes in what came, and sends, stores and tells what is to be. At most one batch, so that
    /// other ports have their turns.
    fn turn(&self, shard: &Shard, file: &LeaseFile, done: &mpsc::Sender<lease_file::Stored>) {
        let now = clocks::now();
        let mut server = self.server.borrow_mut();
        for (frame, source) in std::iter::from_fn(|| self.next_frame(shard)).take(BATCH) {
            server.handle_frame(&frame, source, now);
            if let Some(advertiser) = &mut *self.advertiser.borrow_mut() {
                advertiser.handle_frame(&frame, driver::now());
            }
        }
        if let Some(store) = server.poll_store() {
            self.storing.set(Some(store.ticket));
            file.store(store, done.clone());
        }
        self.send(shard, std::iter::from_fn(|| server.poll_transmit()));
        self.send_advertisements(shard);
        let events: Vec<Event> = std::iter::from_fn(|| server.poll_event()).collect();
        drop(server);
        for event in &events {
            self.tell(shard, event);
        }
        if events.iter().any(changes_names) {
            self.follow_names();
        }
    }

    fn tell(&self, shard: &Shard, event: &Event) {
        let is_of_one_lease = changes_names(event) || matches!(event, Event::Conflict { .. });
        if is_of_one_lease && !self.chronicle.borrow_mut().admits(driver::now()) {
            tracing::debug!(?event, "one lease of many");
        } else {
            tell(shard, event);
        }
    }

    /// A write has come to its end.
    fn handle_stored(&self, (ticket, result): lease_file::Stored) {
        self.storing.set(None);
        self.server.borrow_mut().handle_stored(ticket, result, clocks::now());
        let mut waiting = self.waiting.borrow_mut();
        for (_, tell) in waiting.extract_if(.., |(waits_for, _)| *waits_for <= ticket) {
            // Whoever asked may have left.
            let _ = tell.send(result.map(drop));
        }
    }
}

fn send_from(shard: &Shard, port: PortId, frames: impl Iterator<Item = Vec<u8>>) {
    let mut frames = frames.peekable();
    while frames.peek().is_some() {
        let batch: ArrayVec<Vec<u8>, BATCH> = frames.by_ref().take(BATCH).collect();
        let batch: Frames<'_> = batch.iter().map(|bytes| Frame::plain(bytes)).collect();
        shard.plane.borrow_mut().relay_all(port, &batch, driver::now());
    }
}

/// Tells machines where the gateway's address is now: at another one before, perhaps.
async fn announce(shard: Rc<Shard>, gateway: Rc<Gateway>) {
    tokio::time::sleep(OPENING).await;
    for _ in 0..ANNOUNCEMENTS {
        let frame = ::gateway::announcement(gateway.mac, gateway.config.address);
        gateway.send(&shard, std::iter::once(frame));
        tokio::time::sleep(BETWEEN_ANNOUNCEMENTS).await;
    }
}

/// Serves DHCP for as long as the shard lives.
async fn serve(shard: Rc<Shard>, gateway: Rc<Gateway>, file: LeaseFile) {
    let (done, mut stored) = mpsc::channel(1);
    loop {
        gateway.turn(&shard, &file, &done);
        if !gateway.inbox.is_empty() || gateway.places.borrow().has_ready() {
            // The frames that wait must not keep the disk's report waiting.
            if let Ok(stored) = stored.try_recv() {
                gateway.handle_stored(stored);
            }
            tokio::task::yield_now().await;
            continue;
        }
        let due = gateway.next_timeout();
        let timeout = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = gateway.inbox.filled() => {}
            () = gateway.wake.notified() => {}
            () = timeout => gateway.handle_timeout(),
            Some(stored) = stored.recv() => gateway.handle_stored(stored),
        }
    }
}

/// Whether a name may stand for another address now.
fn changes_names(event: &Event) -> bool {
    matches!(event, Event::Given(_) | Event::Released(_) | Event::Expired(_) | Event::Declined(_))
}

fn tell(shard: &Shard, event: &Event) {
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
        Event::PortFull { source, station, limit } => tracing::warn!(
            place = Gateway::place_name(shard, *source),
            mac = %station,
            limit,
            "a port has, or says that it uses, as many addresses as one may and wants more; --leases-per-port allows more"
        ),
        Event::AddressClaimed { station, source } => tracing::warn!(
            mac = %station,
            place = Gateway::place_name(shard, *source),
            "another machine says that the gateway's address is its; give it another one"
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
