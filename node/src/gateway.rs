//! The way out of the mesh: a tap on this host with an address, DHCP and names for every machine
//! on the Ethernet, and masquerade.
//!
//! The decisions are those of the package `gateway`. Here are its hands: frames of the tap's port,
//! the lease log's file, rtnetlink, `nft`, the sockets of the resolver. DHCP is served on the
//! virtual wire: nothing on this host listens on port 67.
//!
//! | I want to change… | Open |
//! |---|---|
//! | what is set up at the start, and taken down at the end | `interface.rs`, `nat.rs` |
//! | which frames go to the DHCP server | `port.rs` |
//! | when leases are on disk | `lease_file.rs` |
//! | what `vdecable leases` shows and does | `requests.rs` |
//! | who is asked for other names | `resolver.rs` |

mod interface;
mod lease_file;
mod nat;
mod port;
mod requests;
mod resolver;

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use arrayvec::ArrayVec;
use ether::VnetHeader;
use fabric::PortId;
use gateway::dhcp::{Config, Event, Server, Source};
use gateway::subnet::Subnet;
use gateway::time::{BootId, Now, UtcTime};
use tokio::sync::{Notify, mpsc};

use crate::config::TapAddress;
use crate::driver::{self, Shard};
use crate::plane::{Frame, Frames};
use lease_file::LeaseFile;
use nat::Nat;
pub(crate) use port::Inbox;
pub(crate) use requests::handle as handle_request;

/// What an operator asks for with `--gateway`.
#[derive(Debug, Clone)]
pub(crate) struct GatewayConfig {
    /// The gateway's own address.
    pub(crate) address: Ipv4Addr,
    pub(crate) subnet: Subnet,
    /// The tap's name.
    pub(crate) interface: String,
    /// The only way out; none for whatever the host's routes say.
    pub(crate) uplink: Option<String>,
    /// The domain of the machines' names.
    pub(crate) domain: Option<String>,
    pub(crate) lease_time: Duration,
    /// Whether machines get out at all.
    pub(crate) masquerade: bool,
    /// Where leases are kept.
    pub(crate) state: PathBuf,
}

/// The gateway's services. Lives on the data-plane thread.
#[derive(Debug)]
pub(crate) struct Gateway {
    config: GatewayConfig,
    port: PortId,
    inbox: Rc<Inbox>,
    server: RefCell<Server>,
    nat: RefCell<Option<Nat>>,
    /// Told when the server may have something to say or to store.
    wake: Notify,
}

/// One reading of all clocks that a lease depends on.
#[expect(clippy::disallowed_methods, reason = "the lease log needs the date, which only a shell reads")]
fn clocks() -> Now {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let since_boot = Duration::new(
        u64::try_from(boot.tv_sec).unwrap_or_default(),
        u32::try_from(boot.tv_nsec).unwrap_or_default(),
    );
    let utc = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
    Now { instant: driver::now(), since_boot, utc: UtcTime(utc.map_or(0, |utc| utc.as_secs())) }
}

fn boot_id() -> BootId {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let mut id = [0; 16];
    for (octet, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).unwrap_or("0");
        *octet = u8::from_str_radix(pair, 16).unwrap_or_default();
    }
    BootId(id)
}

/// Sets the gateway up, or says what is missing and how to get it.
pub(crate) async fn start(shard: &Rc<Shard>, config: GatewayConfig) -> anyhow::Result<Rc<Gateway>> {
    if !rustix::process::geteuid().is_root() {
        bail!("--gateway needs root: it makes an interface, sets its address and masquerades; run vdenode as root");
    }
    interface::check_free(&config).await?;
    let inbox = Rc::new(Inbox::default());
    let at = TapAddress::Name(config.interface.clone());
    let port = crate::port::tap::plug_in_gateway(shard, &at, inbox.clone())?;
    interface::configure(&config).await?;
    let mac = shard.identity.interface_mac(&config.interface);
    let mut dhcp = Config::new(config.subnet, config.address, mac);
    dhcp.lease_time = gateway::time::LeaseTime::new(config.lease_time);
    dhcp.domain = config.domain.as_deref().map(str::parse).transpose().context("--domain")?;
    let path = config.state.join("leases.log");
    let (file, loaded) = LeaseFile::open(&path)?;
    let server = Server::new(dhcp, loaded, boot_id(), clocks()).context("--gateway")?;
    let nat = if config.masquerade { Some(Nat::start(&config)?) } else { None };
    let gateway = Rc::new(Gateway {
        config,
        port,
        inbox,
        server: RefCell::new(server),
        nat: RefCell::new(nat),
        wake: Notify::new(),
    });
    shard.plane.borrow_mut().keep_station(mac);
    tokio::task::spawn_local(serve(shard.clone(), gateway.clone(), file));
    resolver::spawn(&gateway).await?;
    tokio::task::spawn_local(nat::watch(gateway.clone()));
    tracing::info!(
        address = %gateway.config.address,
        subnet = %gateway.config.subnet,
        interface = gateway.config.interface,
        "gateway ready"
    );
    Ok(gateway)
}

/// Serves DHCP for as long as the shard lives.
async fn serve(shard: Rc<Shard>, gateway: Rc<Gateway>, file: LeaseFile) {
    let (done, mut stored) = mpsc::channel(1);
    loop {
        turn(&shard, &gateway, &file, &done);
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
            () = timeout => gateway.server.borrow_mut().handle_timeout(clocks()),
            Some((ticket, result)) = stored.recv() => {
                gateway.server.borrow_mut().handle_stored(ticket, result, clocks());
            }
        }
    }
}

/// Takes in what came, and sends, stores and tells what is to be.
fn turn(
    shard: &Rc<Shard>,
    gateway: &Gateway,
    file: &LeaseFile,
    done: &mpsc::Sender<lease_file::Stored>,
) {
    let mut server = gateway.server.borrow_mut();
    let now = clocks();
    while let Some((frame, node)) = gateway.inbox.take() {
        server.handle_frame(&frame, Source { node, port: 0 }, now);
    }
    if let Some(store) = server.poll_store() {
        file.store(store, done.clone());
    }
    let replies: Vec<Vec<u8>> = std::iter::from_fn(|| server.poll_transmit()).collect();
    for batch in replies.chunks(crate::plane::BATCH) {
        let frames: Frames<'_> = batch
            .iter()
            .map(|bytes| Frame { bytes, vnet: VnetHeader::PLAIN, origin: None })
            .collect::<ArrayVec<_, _>>();
        shard.plane.borrow_mut().relay(gateway.port, &frames, driver::now());
    }
    while let Some(event) = server.poll_event() {
        tell(&event);
    }
}

fn tell(event: &Event) {
    match event {
        Event::Given(lease) => {
            tracing::info!(address = %lease.address, mac = %lease.station, name = ?lease.hostname, "lease given");
        }
        Event::Renewed(lease) => tracing::debug!(address = %lease.address, "lease renewed"),
        Event::Released(lease) => tracing::info!(address = %lease.address, "lease released"),
        Event::Expired(lease) => tracing::info!(address = %lease.address, "lease expired"),
        Event::Declined(lease) => {
            tracing::warn!(address = %lease.address, mac = %lease.station, "address declined: another machine uses it; it rests for a while");
        }
        Event::Conflict { address, station } => {
            tracing::warn!(%address, mac = %station, "address in use by a machine without a lease; it rests for a while");
        }
        Event::PoolExhausted { station } => {
            tracing::warn!(mac = %station, "no address is left; widen the subnet, or shorten --lease-time");
        }
        Event::NotDurable(err) => tracing::warn!(%err, "leases not durable: no new machine gets an address, renewals go on"),
        Event::Durable => tracing::info!("leases are durable again"),
        Event::RogueServer { station, server, .. } => {
            tracing::warn!(mac = %station, %server, "another DHCP server speaks on this Ethernet");
        }
        Event::ReservationIgnored { address, reason } => {
            tracing::warn!(%address, %reason, "a reservation is ignored");
        }
    }
}
