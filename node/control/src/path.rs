//! Where a node's sockets and state are, unless told otherwise. Every program asks here.

use std::path::{Path, PathBuf};

/// What a node is called unless its operator gives it a name.
pub const DEFAULT_NAME: &str = "default";

/// Who the program runs as and what its environment says; read once by each program.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Effective user is root.
    pub root: bool,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// `$XDG_STATE_HOME`.
    pub state_home: Option<PathBuf>,
    /// `$HOME`.
    pub home: Option<PathBuf>,
}

impl Surroundings {
    /// Reads the environment.
    pub fn of_this_process(root: bool) -> Self {
        let dir = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        Self {
            root,
            runtime_dir: dir("XDG_RUNTIME_DIR"),
            state_home: dir("XDG_STATE_HOME"),
            home: dir("HOME"),
        }
    }

    /// The VDE directory: `/run/vde.ctl` for root, else `$XDG_RUNTIME_DIR/vde.ctl`. None when a
    /// plain user has no runtime directory: `/tmp` is no place to guess in.
    pub fn vde_socket(&self) -> Option<PathBuf> {
        Some(self.runtime()?.join("vde.ctl"))
    }

    /// The control socket of the node of that name.
    pub fn control(&self, name: &str) -> Option<PathBuf> {
        Some(self.runtime()?.join("vdenode").join(format!("{name}.ctl")))
    }

    /// The state directory of the node of that name: `/var/lib/vdenode/NAME` for root, else
    /// `$XDG_STATE_HOME/vdenode/NAME`, else `~/.local/state/vdenode/NAME`.
    pub fn state(&self, name: &str) -> Option<PathBuf> {
        let base = if self.root {
            PathBuf::from("/var/lib")
        } else {
            self.state_home.clone().or_else(|| Some(self.home.as_ref()?.join(".local/state")))?
        };
        Some(base.join("vdenode").join(name))
    }

    fn runtime(&self) -> Option<PathBuf> {
        if self.root { Some("/run".into()) } else { self.runtime_dir.clone() }
    }
}

/// The socket for those who may only look, beside a control socket: `NAME.view` beside `NAME.ctl`.
pub fn view_socket(control: &Path) -> PathBuf {
    control.with_extension("view")
}

/// Whether a node name can be part of a path: 1 to 64 letters, digits, `-`, `_` and `.`, not
/// starting with a dot.
pub fn is_node_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_user_have_their_own_places() {
        let root = Surroundings { root: true, ..Default::default() };
        assert_eq!(root.vde_socket(), Some("/run/vde.ctl".into()));
        assert_eq!(root.control("a"), Some("/run/vdenode/a.ctl".into()));
        assert_eq!(root.state("a"), Some("/var/lib/vdenode/a".into()));
        let user = Surroundings {
            runtime_dir: Some("/run/user/7".into()),
            home: Some("/home/u".into()),
            ..Default::default()
        };
        assert_eq!(user.vde_socket(), Some("/run/user/7/vde.ctl".into()));
        assert_eq!(user.control("a"), Some("/run/user/7/vdenode/a.ctl".into()));
        assert_eq!(user.state("a"), Some("/home/u/.local/state/vdenode/a".into()));
        assert_eq!(Surroundings::default().vde_socket(), None);
    }

    #[test]
    fn a_node_name_cannot_leave_its_directory() {
        for bad in ["", ".", "..", "a/b", ".x", "a b", "ä"] {
            assert!(!is_node_name(bad), "{bad:?}");
        }
        assert!(is_node_name("lab-1.host_B"));
    }
}
