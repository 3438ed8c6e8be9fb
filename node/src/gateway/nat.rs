//! Masquerade: the rules of the gateway in the kernel, for as long as this node runs and no longer.
//!
//! The table belongs to a process that this node holds by a pipe (`nft.rs`), so that it is gone a
//! moment after this node, however that ends, and nobody else's `flush ruleset` removes it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use gateway::nft::{Life, Rules};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::nft::{self, Holder, Trouble};
use crate::logging;

/// How soon the table is made again when its holder has ended.
const PAUSE: Duration = Duration::from_millis(100);

/// How soon a change that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The rules that shall be in force.
#[derive(Debug)]
pub(super) struct Nat {
    rules: RefCell<Rules>,
    changed: Notify,
    stop: Notify,
    keeper: RefCell<Option<JoinHandle<()>>>,
    /// Why they are not in force, if so.
    trouble: RefCell<Option<String>>,
}

impl Nat {
    /// Puts the rules into force.
    pub(super) async fn start(rules: Rules) -> anyhow::Result<Rc<Self>> {
        let holder = if nft::kernel_has_owners() {
            let mut holder = Holder::start()?;
            holder.set(&rules).await?;
            Some(holder)
        } else {
            nft::run(&["-f", "-"], &rules.script(Life::Plain)).await?;
            None
        };
        let nat = Rc::new(Self {
            rules: RefCell::new(rules),
            changed: Notify::new(),
            stop: Notify::new(),
            keeper: RefCell::new(None),
            trouble: RefCell::new(None),
        });
        let kept = nat.clone();
        let keeper = match holder {
            Some(holder) => tokio::task::spawn_local(async move { kept.keep(holder).await }),
            None => tokio::task::spawn_local(async move { kept.keep_plain().await }),
        };
        *nat.keeper.borrow_mut() = Some(keeper);
        Ok(nat)
    }

    /// The rules that shall be in force.
    pub(super) fn rules(&self) -> Rules {
        self.rules.borrow().clone()
    }

    /// Puts other rules in their place, soon.
    pub(super) fn set(&self, rules: Rules) {
        if *self.rules.borrow() != rules {
            *self.rules.borrow_mut() = rules;
            self.changed.notify_one();
        }
    }

    /// Looks whether the table is there. On an old kernel anybody may remove it.
    pub(super) async fn look(&self) {
        let table = self.rules.borrow().config().table.to_string();
        if !nft::kernel_has_owners()
            && nft::run(&["list", "table", "inet", &table], "").await.is_err()
        {
            tracing::warn!(table, "somebody has removed the nftables table; it is made again");
            self.changed.notify_one();
        }
    }

    /// Why the rules are not in force, if so.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    /// Takes the rules out of force, and returns when they are.
    pub(super) async fn stop(&self) {
        self.stop.notify_one();
        let keeper = self.keeper.borrow_mut().take();
        if let Some(keeper) = keeper {
            let _ = keeper.await;
        }
    }

    async fn keep(&self, mut holder: Holder) {
        loop {
            tokio::select! {
                () = self.stop.notified() => return holder.end().await,
                () = self.changed.notified() => {
                    let rules = self.rules();
                    let result = holder.set(&rules).await;
                    let has_failed = result.is_err();
                    self.note(result);
                    if has_failed {
                        // What was in force stays until this succeeds.
                        tokio::time::sleep(RETRY).await;
                        self.changed.notify_one();
                    }
                }
                trouble = holder.trouble() => match trouble {
                    Trouble::Complaint(complaint) => tracing::warn!(complaint, "nft complains"),
                    Trouble::Ended => {
                        tracing::warn!("the process that holds masquerade has ended; starting another");
                        tokio::select! {
                            () = self.stop.notified() => return,
                            again = self.hold_again() => holder = again,
                        }
                    }
                },
            }
        }
    }

    /// Tries until there is a holder again.
    async fn hold_again(&self) -> Holder {
        loop {
            tokio::time::sleep(PAUSE).await;
            let rules = self.rules();
            let result = async {
                let mut holder = Holder::start()?;
                holder.set(&rules).await?;
                anyhow::Ok(holder)
            };
            match result.await {
                Ok(holder) => {
                    self.note(Ok(()));
                    return holder;
                }
                Err(err) => self.note(Err(err)),
            }
        }
    }

    /// On an old kernel: the table stays until somebody removes it.
    async fn keep_plain(&self) {
        loop {
            tokio::select! {
                () = self.stop.notified() => break,
                () = self.changed.notified() => {
                    let script = self.rules().script(Life::Plain);
                    self.note(nft::run(&["-f", "-"], &script).await.map(drop));
                }
            }
        }
        let removal = self.rules().removal();
        if let Err(err) = nft::run(&["-f", "-"], &removal).await {
            tracing::warn!("the nftables table is left: {}", logging::in_one_line(&err));
        }
    }

    /// Takes note of how it went, and tells what is new.
    fn note(&self, result: anyhow::Result<()>) {
        let trouble = result.err().map(|err| logging::in_one_line(&err));
        if *self.trouble.borrow() != trouble {
            match &trouble {
                Some(why) => tracing::error!("masquerade is not as it should be: {why}"),
                None => tracing::info!("masquerade is in force again"),
            }
            *self.trouble.borrow_mut() = trouble;
        }
    }
}
