//! What the host does beside the gateway, followed: its routes, its forwarding, other firewalls.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use gateway::nft::{self as rules, Hook, Lan, Rules};
use gateway::{Subnet, overlap};

use super::interface::Routes;
use super::ipv6::{self, Ipv6};
use super::passage::Passage;
use super::{Gateway, GatewayConfig, forwarding, nft, ownership};
use crate::cli::{Ipv6Flag, LanFlag};
use crate::driver::{self, Shard};
use crate::logging;

/// How soon after a change is looked: routes rarely change one at a time.
const SETTLE: Duration = Duration::from_millis(300);

/// How often is looked anyhow: nobody tells when another firewall changes. A node that serves writes
/// down that it does, too.
const LOOK: Duration = Duration::from_secs(30);

/// How many tables of others are looked at: each costs a process.
const TABLES: usize = 32;

/// What `--lan deny` is about besides the networks that the host has routes to: private addresses
/// (RFC 1918), shared ones (RFC 6598), those of one link (RFC 3927).
const PRIVATE: [&str; 5] =
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"];

/// How the gateway stands with its host.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// The ways out.
    pub(super) uplinks: BTreeSet<String>,
    /// Whose forwarding was switched on; the gateway's own interface takes its setting with it.
    pub(super) forwarding: Vec<String>,
    /// What an operator should know and can change.
    pub(super) warnings: Vec<String>,
}

/// The rules that the configuration and the host's routes ask for, without forwarded ports.
pub(super) fn rules_for(
    config: &GatewayConfig,
    ipv6: Option<Ipv6>,
    routes: &Routes,
) -> anyhow::Result<Rules> {
    let name = config.interface.to_string().to_ascii_lowercase();
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let table = format!("vdenode_{name}").parse()?;
    let mut wanted = rules::Config::new(table, config.interface.clone(), config.subnet);
    wanted.uplink = config.uplink.clone();
    if let (Some(ipv6), Ipv6Flag::Nat66) = (ipv6, config.ipv6) {
        wanted.ipv6 = rules::Ipv6::Nat66(ipv6.prefix);
    }
    if config.lan == LanFlag::Deny {
        let private = PRIVATE.iter().map(|text| text.parse().expect("it is a subnet"));
        // Shorter prefixes are ways out, not networks.
        let near = routes.networks.iter().map(|route| route.destination);
        let near = near.filter(|network: &Subnet| network.prefix_len() >= 8);
        let denied: BTreeSet<Subnet> = private.chain(near).collect();
        wanted.lan = Lan::Deny(denied.into_iter().collect());
        let near = routes.networks_ipv6.iter().copied();
        let near: BTreeSet<_> = near.filter(|network| network.prefix_len >= 8).collect();
        wanted.lan_ipv6 = near.into_iter().collect();
    }
    Ok(Rules::new(wanted))
}

/// The interfaces by which machines get out.
fn uplinks(config: &GatewayConfig, routes: &Routes) -> BTreeSet<String> {
    match &config.uplink {
        Some(uplink) => [uplink.to_string()].into(),
        None => routes.uplinks.clone(),
    }
}

/// Follows the host for as long as the node runs. The first look is the caller's.
pub(super) async fn follow(shard: Rc<Shard>, gateway: Rc<Gateway>) {
    loop {
        tokio::select! {
            () = gateway.host_changed.notified() => tokio::time::sleep(SETTLE).await,
            () = tokio::time::sleep(LOOK) => {}
        }
        gateway.look_at_host(&shard).await;
    }
}

impl Gateway {
    /// Looks at routes, forwarding and firewalls, and does and says what follows from them.
    pub(super) async fn look_at_host(&self, shard: &Shard) {
        ownership::note_service(&self.config.state);
        // Who has the gateway's address and is silent answers: to be named by its node's guard, or here.
        if !shard.plane.borrow().segment.bridge.is_blocked(self.port) {
            self.send(shard, std::iter::once(::gateway::probe(self.mac, self.config.address)));
        }
        let mut warnings = Vec::new();
        match self.netlink.routes(&self.config.interface.to_string()).await {
            Ok(routes) => {
                if let Err(clash) = overlap::check(self.config.subnet, &routes.networks) {
                    warnings.push(format!(
                        "{clash}; until then machines and this host reach only one of the two"
                    ));
                }
                self.follow_ipv6(shard, &routes);
                self.follow_routes(&routes, &mut warnings);
            }
            Err(err) => warnings.push(logging::in_one_line(&err)),
        }
        if let Some(nat) = &self.nat {
            nat.look().await;
            let found = obstacles(&nat.rules(), Hook::Forward).await;
            let explained = found.as_ref().is_ok_and(|found| !found.is_empty());
            match found {
                Ok(obstacles) => warnings.extend(obstacles),
                Err(err) => warnings.push(logging::in_one_line(&err)),
            }
            let has_way = !self.standing.borrow().uplinks.is_empty();
            if has_way && !explained {
                let tap = self.config.interface.to_string();
                match self.try_passage(shard).await {
                    Ok(passage) => warnings.extend(passage.warning(&tap)),
                    Err(err) => warnings.push(logging::in_one_line(&err)),
                }
            }
        }
        if let Err(err) = self.look_at_questions(shard, &mut warnings).await {
            warnings.push(logging::in_one_line(&err));
        }
        let mut standing = self.standing.borrow_mut();
        for warning in &warnings {
            if !standing.warnings.contains(warning) {
                tracing::warn!("{warning}");
            }
        }
        standing.warnings = warnings;
    }

    /// Whether machines reach the resolver, where that is the gateway's.
    async fn look_at_questions(
        &self,
        shard: &Shard,
        warnings: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        let Some(nat) = self.nat.as_ref().filter(|_| self.config.offers_own_dns()) else {
            return Ok(());
        };
        let passage = self.try_question(shard).await?;
        if passage != Passage::Through {
            let obstacles = obstacles(&nat.rules(), Hook::Input).await?;
            if obstacles.is_empty() {
                warnings.extend(passage.question_warning(&self.config.interface.to_string()));
            }
            warnings.extend(obstacles);
        }
        Ok(())
    }

    /// Lets machines know whether there is a way out by IPv6.
    fn follow_ipv6(&self, shard: &Shard, routes: &Routes) {
        if let Some(advertiser) = &mut *self.advertiser.borrow_mut() {
            let route = ipv6::default_route(&self.config, routes);
            advertiser.set_default_route(route, driver::now());
        }
        self.send_advertisements(shard);
    }

    fn follow_routes(&self, routes: &Routes, warnings: &mut Vec<String>) {
        let Some(nat) = &self.nat else { return };
        match rules_for(&self.config, self.ipv6, routes) {
            Ok(bare) => {
                let rules = self.forwards.borrow().apply(bare, &self.server.borrow());
                nat.set(rules);
            }
            Err(err) => warnings.push(logging::in_one_line(&err)),
        }
        let uplinks = uplinks(&self.config, routes);
        if uplinks.is_empty() {
            warnings.push(
                "this host has no default route: machines reach each other and this host alone"
                    .to_owned(),
            );
        }
        let mut wanted = uplinks.clone();
        wanted.insert(self.config.interface.to_string());
        if let Some(sysctls) = &mut *self.sysctls.borrow_mut() {
            let ipv6 = self.config.ipv6 == Ipv6Flag::Nat66;
            if let Err(err) = forwarding::follow(sysctls, &wanted, ipv6) {
                warnings.push(logging::in_one_line(&err));
            }
            let own = self.config.interface.to_string();
            let others = forwarding::switched_on(sysctls).filter(|interface| *interface != own);
            self.standing.borrow_mut().forwarding = others.map(str::to_owned).collect();
        }
        self.standing.borrow_mut().uplinks = uplinks;
    }

    /// Lets forwarded ports follow the names of machines.
    pub(super) fn follow_names(&self) {
        if let Some(nat) = &self.nat {
            let bare = Rules::new(nat.rules().config().clone());
            nat.set(self.forwards.borrow().apply(bare, &self.server.borrow()));
        }
    }
}

/// Who else on the host drops what machines send through it, and the remedy.
async fn obstacles(rules: &Rules, hook: Hook) -> anyhow::Result<Vec<String>> {
    let (own, tap) = (&rules.config().table, &rules.config().tap);
    let ipv6 = rules.config().ipv6 != rules::Ipv6::Local;
    let chains = nft::run(&["-j", "list", "chains"], "").await?;
    let mut found = Vec::new();
    let tables = rules::foreign_tables(&chains, own, hook, ipv6)?;
    for rules::ForeignTable { family, name } in tables.into_iter().take(TABLES) {
        let family = family.to_string();
        // It may have gone meanwhile.
        let Ok(table) = nft::run(&["-j", "-t", "list", "table", &family, &name], "").await else {
            continue;
        };
        let (own, tap) = (own.clone(), tap.clone());
        // Thousands of rules take their time; frames do not wait for them.
        let obstacles = move || rules::obstacles(&table, &own, &tap, hook, ipv6);
        let obstacles = tokio::task::spawn_blocking(obstacles).await?;
        found.extend(obstacles?.iter().map(ToString::to_string));
    }
    Ok(found)
}
