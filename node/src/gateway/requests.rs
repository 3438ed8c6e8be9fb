//! What the gateway does for `vdecable`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::rc::Rc;

use control::gateway::{DhcpCounters, GatewayStatus, LeaseState as State, LeaseView};
use control::{Answer, Failure, Request};
use ether::{MacAddr, VlanId};
use gateway::ReservedFor;
use gateway::dhcp::{Counters, Ignored, Lease, LeaseState, Reservation, Ticket};
use gateway::nft::{Protocol, Rules};
use mesh::Nick;
use mesh::engine::NodeView;
use tokio::sync::oneshot;

use super::Gateway;
use super::forwards::{Forward, Outside};
use crate::cli::Ipv6Flag;
use crate::driver::{Shard, now};
use crate::plane::Plane;
use crate::readings::{self, Nodes};

/// Carries out a request about leases or forwarded ports.
pub(crate) async fn handle(shard: &Rc<Shard>, request: Request) -> Result<Answer, Failure> {
    shard.role.settled().await;
    let Some(gateway) = shard.role.gateway() else {
        return Err(no_gateway(shard));
    };
    match request {
        Request::Leases => Ok(Answer::Leases { leases: gateway.lease_views(shard).await }),
        Request::LeaseAdd { address, mac, name } => {
            gateway.add_reservation(&address, &mac, name.as_deref()).await
        }
        Request::LeaseRemove { address } => gateway.remove_lease(&address).await,
        Request::Forwards => {
            let forwards = gateway.forwards.borrow().views(&gateway.server.borrow());
            Ok(Answer::Forwards { forwards })
        }
        Request::ForwardAdd { protocol, port, to } => gateway.add_forward(&protocol, &port, &to),
        Request::ForwardRemove { protocol, port } => gateway.remove_forward(&protocol, &port),
        _ => unreachable!("the node has dealt with every other request"),
    }
}

/// Says which node to ask instead.
fn no_gateway(shard: &Shard) -> Failure {
    let gateways = shard.plane.borrow().mesh().gateways();
    let serving = gateways.iter().find(|view| view.claim.is_active);
    let name = serving.map(|view| shard.reporter.named(shard, &view.who).name);
    let (why, fix) = match name {
        Some(name) => (
            format!("node {} is not the gateway, node {name} is", shard.name),
            format!("on that host: vdecable --node {name}"),
        ),
        None => (
            format!("node {} is not the gateway, and it knows none", shard.name),
            "start a node with --gateway ADDRESS/LENGTH".to_owned(),
        ),
    };
    Failure::new("nothing was done", why, fix)
}

impl Gateway {
    /// Every lease, and where its machine is: behind another node, as that says itself.
    async fn lease_views(&self, shard: &Rc<Shard>) -> Vec<LeaseView> {
        let nodes = Nodes::read(shard, now());
        let mut leases = self.server.borrow().snapshot();
        // An offer is news of the next minute.
        leases.retain(|lease| lease.state != LeaseState::Offered || lease.reserved);
        let places: Vec<Option<Place>> = {
            let plane = shard.plane.borrow();
            leases.iter().map(|lease| place_of(lease, &plane)).collect()
        };
        let owners: BTreeSet<Nick> = places.iter().flatten().map(|place| place.node).collect();
        let owners = nodes.known.iter().filter(|node| owners.contains(&node.nick));
        let seen = readings::seen_elsewhere(shard, owners).await;
        let by_nick: BTreeMap<Nick, &NodeView> =
            nodes.known.iter().map(|node| (node.nick, node)).collect();
        let mut views: Vec<(_, LeaseView)> = leases
            .iter()
            .zip(places)
            .map(|(lease, place)| {
                let node = place.and_then(|place| by_nick.get(&place.node).copied());
                let told = node.and_then(|node| seen.get(&(node.key, VlanId::ZERO, lease.station)));
                let view = LeaseView {
                    node: node.map(|node| nodes.name(node)),
                    port: told.map(|(port, _)| *port).or_else(|| place?.port),
                    ..view_of(lease)
                };
                (lease.address, view)
            })
            .collect();
        let leased: BTreeSet<Ipv4Addr> = views.iter().map(|(address, _)| *address).collect();
        for reservation in self.server.borrow().reservations() {
            if !leased.contains(&reservation.address) {
                views.push((reservation.address, reserved(reservation)));
            }
        }
        views.sort_by_key(|(address, _)| *address);
        views.into_iter().map(|(_, view)| view).collect()
    }

    async fn add_reservation(
        &self,
        address: &str,
        mac: &str,
        name: Option<&str>,
    ) -> Result<Answer, Failure> {
        let what = "the address is not kept";
        let fix = "write for example: vdecable lease add 10.77.0.9 52:54:00:00:00:09";
        let failed = |why: &dyn std::fmt::Display| Failure::new(what, why, fix);
        let reservation = Reservation {
            address: address.parse().map_err(|_| failed(&format!("{address:?} is no address")))?,
            client: ReservedFor::Mac(mac.parse::<MacAddr>().map_err(|err| failed(&err))?),
            hostname: name.map(str::parse).transpose().map_err(|err| failed(&err))?,
        };
        let holder = self.server.borrow().holder_of(reservation.address);
        if let Some(holder) =
            holder.filter(|holder| reservation.client != ReservedFor::Mac(holder.station))
        {
            return Err(in_use(what, &holder));
        }
        let ticket = self.server.borrow_mut().add_reservation(reservation);
        let ticket = ticket.map_err(|err| failed(&err))?;
        self.until_stored(ticket, what).await?;
        Ok(Answer::Done { message: format!("{address} is kept for {mac}") })
    }

    async fn remove_lease(&self, address: &str) -> Result<Answer, Failure> {
        let what = "nothing was removed";
        let fix = "vdecable leases lists the addresses";
        let failed = |why: &dyn std::fmt::Display| Failure::new(what, why, fix);
        let parsed = address.parse().map_err(|_| failed(&format!("{address:?} is no address")))?;
        let (ticket, message) = {
            let mut server = self.server.borrow_mut();
            if server.reservations().any(|kept| kept.address == parsed) {
                let ticket = server.remove_reservation(parsed).map_err(|err| failed(&err))?;
                (
                    ticket,
                    format!("{address} is kept no more; who has it now keeps it until its end"),
                )
            } else {
                let ticket = server.remove_lease(parsed).map_err(|err| failed(&err))?;
                (ticket, format!("the lease of {address} is forgotten; the machine was not told"))
            }
        };
        self.until_stored(ticket, what).await?;
        self.follow_names();
        Ok(Answer::Done { message })
    }

    /// Waits until what was just changed is on disk.
    async fn until_stored(&self, ticket: Ticket, what: &str) -> Result<(), Failure> {
        let (tell, told) = oneshot::channel();
        self.waiting.borrow_mut().push((ticket, tell));
        self.wake.notify_one();
        match told.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(err)) => {
                let why = format!("it is not on disk, and a restart takes it back: {err}");
                Err(Failure::new(what, why, "mend the state directory"))
            }
            Err(_) => Err(Failure::new(what, "the gateway is ending", "try again when it is back")),
        }
    }

    fn add_forward(&self, protocol: &str, port: &str, to: &str) -> Result<Answer, Failure> {
        let what = "the port is not forwarded";
        let fix = "write for example: vdecable forward tcp 8080 vm1:80";
        let failed =
            |err: anyhow::Error| Failure::new(what, crate::logging::in_one_line(&err), fix);
        let nat = self.nat(what)?;
        let forward = Forward::parse(protocol, port, to, &self.config.domain).map_err(failed)?;
        let bare = Rules::new(nat.rules().config().clone());
        let view = {
            let server = self.server.borrow();
            self.forwards.borrow_mut().add(forward, bare, &server).map_err(failed)?
        };
        self.follow_names();
        let message = match view.address {
            Some(address) => format!("{protocol} port {port} leads to {to} ({address})"),
            None => {
                format!("{protocol} port {port} will lead to {to} when a machine has that name")
            }
        };
        Ok(Answer::Done { message })
    }

    fn remove_forward(&self, protocol: &str, port: &str) -> Result<Answer, Failure> {
        let what = "nothing was changed";
        let failed = |why: String| Failure::new(what, why, "vdecable forward lists the ports");
        let outside: Outside = port.parse().map_err(|err| failed(format!("{err:#}")))?;
        let parsed: Protocol =
            protocol.parse().map_err(|err: gateway::nft::ForwardError| failed(err.to_string()))?;
        let removed = self.forwards.borrow_mut().remove(parsed, outside);
        if !removed.map_err(|err| failed(crate::logging::in_one_line(&err)))? {
            return Err(failed(format!("{protocol} port {port} leads nowhere anyway")));
        }
        self.follow_names();
        Ok(Answer::Done { message: format!("{protocol} port {port} leads nowhere any more") })
    }

    fn nat(&self, what: &str) -> Result<&Rc<super::nat::Nat>, Failure> {
        self.nat.as_ref().ok_or_else(|| {
            let why = "this gateway runs with --no-masquerade";
            Failure::new(what, why, "forward the port by the host's own rules")
        })
    }

    /// How the gateway stands, for `vdecable status`.
    pub(crate) fn status(&self) -> GatewayStatus {
        let server = self.server.borrow();
        let standing = self.standing.borrow();
        GatewayStatus {
            address: format!("{}/{}", self.config.address, self.config.subnet.prefix_len()),
            interface: self.config.interface.to_string(),
            uplinks: standing.uplinks.iter().cloned().collect(),
            masquerade: self.config.masquerade,
            forwarding: standing.forwarding.clone(),
            domain: self.config.domain.to_string(),
            resolvers: self.resolver.upstreams().iter().map(ToString::to_string).collect(),
            ipv6: match self.config.ipv6 {
                Ipv6Flag::Off => "off",
                Ipv6Flag::Local => "local",
                Ipv6Flag::Nat66 => "nat66",
            }
            .to_owned(),
            ipv6_prefix: self.ipv6.map(|ipv6| ipv6.prefix.to_string()),
            leases: server.leases_in_force(),
            pool: pool_size(server.config().subnet),
            durable: server.not_durable().is_none(),
            dhcp: self.dhcp_counters(server.counters()),
        }
    }

    fn dhcp_counters(&self, counters: &Counters) -> DhcpCounters {
        let ignored = Ignored::ALL.map(|reason| (reason.as_str(), counters.ignored(reason)));
        let lost = [("inbox-full", self.inbox.overflows())];
        let moved = ignored.into_iter().chain(lost).filter(|(_, count)| *count > 0);
        DhcpCounters {
            discovers: counters.discovers,
            requests: counters.requests,
            offers: counters.offers,
            acks: counters.acks,
            naks: counters.naks,
            ignored: moved.map(|(reason, count)| (reason.to_owned(), count)).collect(),
        }
    }

    /// What an operator should know and can change.
    pub(crate) fn warnings(&self, shard: &Shard) -> Vec<String> {
        let not_durable = self.server.borrow().not_durable();
        let not_durable = not_durable.map(|err| {
            format!("leases not durable: {err}; no new machine gets an address, renewals go on")
        });
        let masquerade = self.nat.as_ref().and_then(|nat| nat.trouble());
        let masquerade = masquerade.map(|why| format!("masquerade is not as it should be: {why}"));
        let (limit, full) = self.server.borrow().full_sources();
        let full = full.into_iter().map(|source| {
            let place = Self::place_name(shard, source);
            format!(
                "{place} has {limit} addresses or says that it uses as many, which is what one port may \
                 have, and wants more; vdenode --leases-per-port allows more"
            )
        });
        let claim = self.server.borrow().claimant().map(|(station, source)| {
            let place = Self::place_name(shard, source);
            format!(
                "{station} says that the gateway's address is its ({place}); give that machine \
                 another one"
            )
        });
        let standing = self.standing.borrow().warnings.clone();
        not_durable.into_iter().chain(masquerade).chain(full).chain(claim).chain(standing).collect()
    }
}

/// Who keeps an address from being kept for another machine.
fn in_use(what: &str, holder: &Lease) -> Failure {
    let Lease { address, station, .. } = holder;
    let name = holder.hostname.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    if holder.state == LeaseState::Quarantined {
        return Failure::new(
            what,
            format!("{station} was seen to use {address} without a lease"),
            "give that machine another address, or keep another one",
        );
    }
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let left = holder.remaining.map_or_else(
        || "for ever".to_owned(),
        |left| format!("for {} more", control::render::duration(left.as_secs() as f64)),
    );
    Failure::new(
        what,
        format!("{station}{name} has {address} {left}"),
        format!(
            "keep another address; or take it away, which that machine notices when it renews: \
             vdecable lease remove {address}"
        ),
    )
}

/// Where a machine is.
#[derive(Debug, Clone, Copy)]
struct Place {
    node: Nick,
    /// None when only that node can tell.
    port: Option<u32>,
}

/// Where a machine is as far as this node knows, or was when it last asked for its lease.
fn place_of(lease: &Lease, plane: &Plane) -> Option<Place> {
    if let Some((node, port)) = plane.whereabouts(lease.station, now()) {
        return Some(Place { node, port: port.map(|port| port.0) });
    }
    let source = lease.source?;
    let port = source.port.and_then(|port| u32::try_from(port).ok());
    Some(Place { node: Nick::new(u32::try_from(source.node).ok()?)?, port })
}

/// How many machines a subnet has room for beside the gateway.
fn pool_size(subnet: gateway::Subnet) -> usize {
    let hosts = 1_usize << (32 - subnet.prefix_len());
    (hosts - 3).min(gateway::dhcp::MAX_POOL)
}

fn view_of(lease: &Lease) -> LeaseView {
    LeaseView {
        address: lease.address.to_string(),
        mac: lease.station.to_string(),
        name: lease.hostname.as_ref().map(ToString::to_string),
        state: match lease.state {
            LeaseState::Offered => State::Offered,
            LeaseState::Bound => State::Bound,
            LeaseState::Lapsed => State::Lapsed,
            LeaseState::Quarantined => State::Quarantined,
        },
        remaining_seconds: lease.remaining.map(|remaining| remaining.as_secs()),
        expires: lease.expires.map(|expires| expires.0),
        node: None,
        port: None,
        reserved: lease.reserved,
        durable: lease.durable,
    }
}

/// An address that is kept for a machine of which nothing is known yet.
fn reserved(reservation: &Reservation) -> LeaseView {
    LeaseView {
        address: reservation.address.to_string(),
        mac: reservation.client.to_string(),
        name: reservation.hostname.as_ref().map(ToString::to_string),
        state: State::Reserved,
        remaining_seconds: None,
        expires: None,
        node: None,
        port: None,
        reserved: true,
        durable: true,
    }
}
