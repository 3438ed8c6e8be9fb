//! What a trial needs beside Rust: its ring selected, foreign programs, root. Says what is
//! missing; what follows from it (ignored, or failed when strict) is `suite`'s.

use std::env;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Names the rings to run, as in `VDE_RINGS=3,4,5`. Default: 2 and 3.
pub const RINGS_VARIABLE: &str = "VDE_RINGS";

/// When set to `1`, a missing program or right fails the trial instead of ignoring it.
pub const STRICT_VARIABLE: &str = "VDE_STRICT";

/// The rings that can be chosen. Ring 1 is the ordinary tests of the packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring {
    /// Simulated worlds.
    Sim,
    /// Real VDE clients, byte dialogues; no privileges.
    Compat,
    /// Programs in network namespaces; root.
    Netns,
    /// Guests under software emulation.
    Qemu,
}

impl Ring {
    /// The ring's number, as in [`RINGS_VARIABLE`].
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Sim => 2,
            Self::Compat => 3,
            Self::Netns => 4,
            Self::Qemu => 5,
        }
    }

    /// `None` when the ring is selected, otherwise the reason why it does not run.
    #[must_use]
    pub fn unselected(self) -> Option<String> {
        let selected = env::var(RINGS_VARIABLE).unwrap_or_else(|_| "2,3".to_owned());
        (!names_ring(&selected, self.number())).then(|| {
            let number = self.number();
            format!("ring {number} is not selected; {RINGS_VARIABLE}={number} runs it")
        })
    }
}

/// Whether a list such as `3,4` or a range such as `1-5` names the ring.
fn names_ring(list: &str, number: u8) -> bool {
    list.split([',', ' ']).any(|item| {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        match (first.trim().parse::<u8>(), last.trim().parse::<u8>()) {
            (Ok(first), Ok(last)) => (first..=last).contains(&number),
            _ => false,
        }
    })
}

/// Whether a requirement that is not met fails the trial.
#[must_use]
pub fn is_strict() -> bool {
    env::var(STRICT_VARIABLE).is_ok_and(|value| value == "1")
}

/// Whether this process may make namespaces and devices.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Those of `programs` that are not installed, in the same order.
#[must_use]
pub fn missing<'a>(programs: &[&'a str]) -> Vec<&'a str> {
    programs.iter().copied().filter(|program| find_in_path(program).is_none()).collect()
}

/// The first executable of that name in `PATH`, or in the directories for administrators, which
/// the `PATH` of an ordinary user lacks.
#[must_use]
pub fn find_in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_are_named_one_by_one_or_as_a_range() {
        assert!(names_ring("3,4", 4));
        assert!(names_ring("1-5", 5));
        assert!(names_ring("1 3", 3));
        assert!(!names_ring("3", 4));
        assert!(!names_ring("1-2,5", 3));
        assert!(!names_ring("", 3));
        assert!(!names_ring("all", 3));
    }

    #[test]
    fn only_absent_programs_are_missing() {
        assert_eq!(missing(&["sh", "no-such-program-here", "ls"]), ["no-such-program-here"]);
    }
}
