//! Settings of the host's kernel that this node changes, and puts back.
//!
//! What is about to be changed is written down first: a node that is killed leaves the settings as
//! they are, and the next one puts them back. A setting that somebody else has changed meanwhile is
//! left alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::clocks;

/// Where they are.
const ROOT: &str = "/proc/sys/net";

/// A setting that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Changed {
    /// Below [`ROOT`].
    name: String,
    before: String,
    ours: String,
}

/// The file: whose boot of the host it is of. Settings do not outlive one.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    boot: String,
    changed: Vec<Changed>,
}

/// All that this node has changed.
#[derive(Debug)]
pub(super) struct Sysctls {
    /// Where it is written down.
    note: PathBuf,
    /// In the order in which it was done.
    changed: Vec<Changed>,
}

impl Sysctls {
    /// Takes over what a node that was killed has left.
    pub(super) fn take_over(state: &Path) -> Self {
        let note = state.join("sysctls.json");
        let kept = cable::store::load::<Kept>(&note).unwrap_or_else(|err| {
            tracing::warn!(%err, "settings of the host's kernel may stay as a killed node left them");
            None
        });
        let kept = kept.filter(|kept| kept.boot == clocks::boot_text()).unwrap_or_default();
        Self { note, changed: kept.changed }
    }

    /// Gives a setting a value until the end. Whether it had another one; `None` when there is no
    /// such setting.
    pub(super) fn set(&mut self, name: &str, value: &str) -> anyhow::Result<Option<bool>> {
        let Some(before) = read(name) else { return Ok(None) };
        if before == value {
            return Ok(Some(false));
        }
        if !self.is_ours(name) {
            let (name, ours) = (name.to_owned(), value.to_owned());
            self.changed.push(Changed { name, before, ours });
            self.write_down()?;
        }
        write(name, value).with_context(|| {
            format!("cannot set net.{}; run: sysctl -w net.{}={value}", dotted(name), dotted(name))
        })?;
        Ok(Some(true))
    }

    /// Has a setting put back at the end to what it is now, because another one drags it along.
    pub(super) fn keep(&mut self, name: &str) -> anyhow::Result<()> {
        match read(name) {
            Some(before) if !self.is_ours(name) => {
                let (name, ours) = (name.to_owned(), before.clone());
                self.changed.push(Changed { name, before, ours });
                self.write_down()
            }
            _ => Ok(()),
        }
    }

    pub(super) fn is_ours(&self, name: &str) -> bool {
        self.changed.iter().any(|changed| changed.name == name)
    }

    /// The names of what was changed.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let really = self.changed.iter().filter(|changed| changed.before != changed.ours);
        really.map(|changed| changed.name.as_str())
    }

    /// Puts back what is not wanted any more.
    pub(super) fn retain(&mut self, wanted: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        let (stay, go) =
            std::mem::take(&mut self.changed).into_iter().partition(|c| wanted(&c.name));
        self.changed = stay;
        let mut go: Vec<Changed> = go;
        if go.is_empty() {
            return Ok(());
        }
        // A setting for all goes first, for it drags those of interfaces along; what a host accepts
        // while it forwards stays until it does no more.
        go.sort_by_key(|changed| {
            (!changed.name.contains("/all/"), changed.name.ends_with("/accept_ra"))
        });
        for changed in go {
            put_back(&changed);
        }
        self.write_down()
    }

    fn write_down(&self) -> anyhow::Result<()> {
        if self.changed.is_empty() {
            return match fs::remove_file(&self.note) {
                Err(err) if err.kind() != io::ErrorKind::NotFound => {
                    Err(err).with_context(|| format!("cannot remove {}", self.note.display()))
                }
                Ok(()) | Err(_) => Ok(()),
            };
        }
        let kept = Kept { boot: clocks::boot_text(), changed: self.changed.clone() };
        Ok(cable::store::save(&self.note, &kept)?)
    }
}

impl Drop for Sysctls {
    fn drop(&mut self) {
        if let Err(err) = self.retain(|_| false) {
            tracing::warn!("{}", crate::logging::in_one_line(&err));
        }
    }
}

/// `None` when there is no such setting: the interface is gone, or the kernel has no IPv6.
pub(super) fn read(name: &str) -> Option<String> {
    Some(fs::read_to_string(Path::new(ROOT).join(name)).ok()?.trim().to_owned())
}

/// Sets what goes away with this node anyway.
pub(super) fn write(name: &str, value: &str) -> io::Result<()> {
    fs::write(Path::new(ROOT).join(name), value)
}

/// As `sysctl` writes it, which has `/` for a dot in an interface's name.
fn dotted(name: &str) -> String {
    name.chars()
        .map(|letter| match letter {
            '/' => '.',
            '.' => '/',
            other => other,
        })
        .collect()
}

fn put_back(changed: &Changed) {
    let Changed { name, before, ours } = changed;
    // Somebody wants every interface to forward: it is not ours any more.
    let is_forwarding = name.starts_with("ipv4/") && name.ends_with("/forwarding");
    if is_forwarding && read("ipv4/conf/all/forwarding").as_deref() == Some("1") {
        return;
    }
    // An interface that is gone has taken its setting with it. One that is as it was when another
    // setting is put back may have been dragged along.
    let is_kept = before == ours;
    if is_kept || read(name).as_deref() == Some(ours) {
        let _ = write(name, before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_named_as_sysctl_takes_it() {
        assert_eq!(dotted("ipv4/conf/eth0.5/forwarding"), "ipv4.conf.eth0/5.forwarding");
    }

    #[test]
    fn what_a_killed_node_changed_is_taken_over_in_the_same_boot_alone() {
        let state = tempfile::tempdir().unwrap();
        let changed = |name: &str| Changed {
            name: name.to_owned(),
            before: "0".to_owned(),
            ours: "1".to_owned(),
        };
        let note = state.path().join("sysctls.json");
        for (boot, count) in [(clocks::boot_text(), 1), ("another".to_owned(), 0)] {
            let kept = Kept { boot, changed: vec![changed("ipv4/conf/nowhere/forwarding")] };
            cable::store::save(&note, &kept).unwrap();
            assert_eq!(Sysctls::take_over(state.path()).changed.len(), count);
        }
    }
}
