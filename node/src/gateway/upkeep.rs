//! What the host does beside the gateway, followed: its routes, its forwarding, other firewalls.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use gateway::Subnet;
use gateway::nft::{self as rules, Lan, Rules};

use super::forwarding::Forwarding;
use super::interface::Routes;
use super::{Gateway, GatewayConfig, nft};
use crate::cli::LanFlag;
use crate::logging;

/// How soon after a change is looked: routes rarely change one at a time.
const SETTLE: Duration = Duration::from_millis(300);

/// How often is looked anyhow: nobody tells when another firewall changes.
const LOOK: Duration = Duration::from_secs(30);

/// What `--lan deny` is about besides the networks that the host has routes to: private addresses
/// (RFC 1918), shared ones (RFC 6598), those of one link (RFC 3927).
const PRIVATE: [&str; 5] =
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"];

/// How the gateway stands with its host.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// The ways out.
    pub(super) uplinks: BTreeSet<String>,
    /// Whose forwarding was switched on.
    pub(super) forwarding: Vec<String>,
    /// What an operator should know and can change.
    pub(super) warnings: Vec<String>,
}

/// The rules that the configuration and the host's routes ask for, without forwarded ports.
pub(super) fn rules_for(config: &GatewayConfig, routes: &Routes) -> anyhow::Result<Rules> {
    let name = config.interface.to_string().to_ascii_lowercase();
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let table = format!("vdenode_{name}").parse()?;
    let mut wanted = rules::Config::new(table, config.interface.clone(), config.subnet);
    wanted.uplink = config.uplink.clone();
    if config.lan == LanFlag::Deny {
        let private = PRIVATE.iter().map(|text| text.parse().expect("it is a subnet"));
        // Shorter prefixes are ways out, not networks.
        let near = routes.networks.iter().map(|route| route.destination);
        let near = near.filter(|network: &Subnet| network.prefix_len() >= 8);
        let denied: BTreeSet<Subnet> = private.chain(near).collect();
        wanted.lan = Lan::Deny(denied.into_iter().collect());
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
pub(super) async fn follow(gateway: Rc<Gateway>) {
    loop {
        tokio::select! {
            () = gateway.host_changed.notified() => tokio::time::sleep(SETTLE).await,
            () = tokio::time::sleep(LOOK) => {}
        }
        gateway.look_at_host().await;
    }
}

impl Gateway {
    /// Looks at routes, forwarding and firewalls, and does and says what follows from them.
    pub(super) async fn look_at_host(&self) {
        let mut warnings = Vec::new();
        match self.netlink.routes(&self.config.interface.to_string()).await {
            Ok(routes) => self.follow_routes(&routes, &mut warnings),
            Err(err) => warnings.push(logging::in_one_line(&err)),
        }
        if let Some(nat) = &self.nat {
            match obstacles(&nat.rules()).await {
                Ok(obstacles) => warnings.extend(obstacles),
                Err(err) => warnings.push(logging::in_one_line(&err)),
            }
        }
        let mut standing = self.standing.borrow_mut();
        for warning in &warnings {
            if !standing.warnings.contains(warning) {
                tracing::warn!("{warning}");
            }
        }
        standing.warnings = warnings;
    }

    fn follow_routes(&self, routes: &Routes, warnings: &mut Vec<String>) {
        let Some(nat) = &self.nat else { return };
        match rules_for(&self.config, routes) {
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
        let mut forwarding = self.forwarding.borrow_mut();
        if let Some(forwarding) = &mut *forwarding {
            if let Err(err) = forwarding.set(&wanted) {
                warnings.push(logging::in_one_line(&err));
            }
            self.standing.borrow_mut().forwarding = shown(forwarding, &self.config);
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

/// Those that stay when the gateway's own interface is gone.
fn shown(forwarding: &Forwarding, config: &GatewayConfig) -> Vec<String> {
    let own = config.interface.to_string();
    forwarding.ours().filter(|interface| **interface != own).map(str::to_owned).collect()
}

/// Who else on the host drops what machines send through it, and the remedy.
async fn obstacles(rules: &Rules) -> anyhow::Result<Vec<String>> {
    let ruleset = nft::run(&["-j", "-t", "list", "ruleset"], "").await?;
    let (own, tap) = (rules.config().table.clone(), rules.config().tap.clone());
    let ipv6 = rules.config().ipv6 != rules::Ipv6::Local;
    // Thousands of rules take their time; frames do not wait for them.
    let found = tokio::task::spawn_blocking(move || rules::obstacles(&ruleset, &own, &tap, ipv6));
    Ok(found.await??.iter().map(ToString::to_string).collect())
}
