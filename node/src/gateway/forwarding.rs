//! Whether the host's kernel passes packets on: switched on where it must be, told, and switched off
//! again.
//!
//! Linux decides by the interface that a packet comes in by (`ip-sysctl.rst`,
//! `conf/interface/forwarding`), so only the gateway's interface and the ways out are switched on,
//! and the host is no router between its other networks. What was switched on is written down first:
//! a node that is killed leaves it on, and the next one switches it off. It is left on where
//! somebody has switched all interfaces on meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::clocks;

const CONFIGURATION: &str = "/proc/sys/net/ipv4/conf";

/// What this node has switched on.
#[derive(Debug)]
pub(super) struct Forwarding {
    /// Where it is written down.
    note: PathBuf,
    ours: BTreeSet<String>,
}

impl Forwarding {
    /// Takes over what a node that was killed in this boot of the host has left.
    pub(super) fn take_over(state: &Path) -> Self {
        let note = state.join("forwarding");
        let text = fs::read_to_string(&note).unwrap_or_default();
        let mut lines = text.lines();
        let ours = match lines.next() {
            Some(boot) if boot == clocks::boot_text() => lines.map(str::to_owned).collect(),
            _ => BTreeSet::new(),
        };
        Self { note, ours }
    }

    /// The interfaces that pass packets on because this node wants it.
    pub(super) fn ours(&self) -> impl Iterator<Item = &str> {
        self.ours.iter().map(String::as_str)
    }

    /// Switches on what must be, and off what need not be any more.
    pub(super) fn set(&mut self, wanted: &BTreeSet<String>) -> anyhow::Result<()> {
        for interface in self.ours.difference(wanted) {
            restore(interface);
        }
        let before = self.ours.clone();
        self.ours.retain(|interface| wanted.contains(interface));
        for interface in wanted {
            if read(interface).as_deref() == Some("0") {
                self.ours.insert(interface.clone());
            }
        }
        if self.ours != before {
            self.write_down()?;
        }
        for interface in &self.ours {
            if read(interface).as_deref() != Some("0") {
                continue;
            }
            fs::write(file_of(interface), "1").with_context(|| {
                format!(
                    "cannot switch forwarding on for {interface}; run: sysctl -w net.ipv4.conf.{interface}.forwarding=1"
                )
            })?;
            tracing::info!(interface, "IPv4 forwarding switched on until this node ends");
        }
        Ok(())
    }

    fn write_down(&self) -> anyhow::Result<()> {
        let failed = || format!("cannot write {}", self.note.display());
        if self.ours.is_empty() {
            return match fs::remove_file(&self.note) {
                Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err).with_context(failed),
                Ok(()) | Err(_) => Ok(()),
            };
        }
        let mut text = clocks::boot_text();
        for interface in &self.ours {
            text.push('\n');
            text.push_str(interface);
        }
        let mut file = fs::File::create(&self.note).with_context(failed)?;
        file.write_all(text.as_bytes()).with_context(failed)
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        for interface in std::mem::take(&mut self.ours) {
            restore(&interface);
        }
        if let Err(err) = self.write_down() {
            tracing::warn!("{}", crate::logging::in_one_line(&err));
        }
    }
}

fn file_of(interface: &str) -> PathBuf {
    Path::new(CONFIGURATION).join(interface).join("forwarding")
}

/// `None` when there is no such interface.
fn read(interface: &str) -> Option<String> {
    Some(fs::read_to_string(file_of(interface)).ok()?.trim().to_owned())
}

fn restore(interface: &str) {
    // Somebody wants every interface to forward: it is not ours any more.
    if read("all").as_deref() == Some("1") {
        return;
    }
    // An interface that is gone has taken its setting with it.
    let _ = fs::write(file_of(interface), "0");
}
