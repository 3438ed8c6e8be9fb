//! Users that no machine has, for what one user may do to another: Alice, who is in the group
//! `lab`, and Bob, who is not. Their names are known in a machine that shows [`databases`].

use std::fs;
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::machine::Mount;
use crate::suite::Scene;

/// The group that Alice is in.
pub const LAB: &str = "lab";

const LAB_ID: u32 = 60010;

/// A user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// In the group [`LAB`].
    Alice,
    /// In no group but his own.
    Bob,
}

impl User {
    /// The login name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Alice => "alice",
            Self::Bob => "bob",
        }
    }

    /// The number, which is also that of the user's own group.
    #[must_use]
    pub fn id(self) -> u32 {
        match self {
            Self::Alice => 60001,
            Self::Bob => 60002,
        }
    }

    fn groups(self) -> &'static [u32] {
        match self {
            Self::Alice => &[LAB_ID],
            Self::Bob => &[],
        }
    }

    /// What makes a program of setpriv(1) this user's.
    pub(crate) fn setpriv_arguments(self) -> Vec<String> {
        let mut arguments =
            vec![format!("--reuid={}", self.id()), format!("--regid={}", self.id())];
        arguments.push(match self {
            Self::Alice => format!("--groups={LAB_ID}"),
            Self::Bob => "--clear-groups".to_owned(),
        });
        arguments
    }

    /// Runs `action` on a thread of this user.
    ///
    /// # Errors
    ///
    /// Those of `action`, and when the tests do not run as root.
    pub fn run<T: Send>(self, action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let become_user = || -> rustix::io::Result<()> {
            let (user, group) = (Uid::from_raw(self.id()), Gid::from_raw(self.id()));
            let groups: Vec<Gid> = self.groups().iter().map(|&id| Gid::from_raw(id)).collect();
            set_thread_groups(&groups)?;
            set_thread_res_gid(group, group, group)?;
            set_thread_res_uid(user, user, user)
        };
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                become_user().with_context(|| format!("cannot become {}", self.name()))?;
                action()
            });
            thread.join().unwrap_or_else(|_| Err(anyhow!("{} panicked", self.name())))
        })
    }
}

/// The databases of users and groups with Alice, Bob and the group [`LAB`] in them.
///
/// # Errors
///
/// When this machine's own cannot be read.
pub fn databases(scene: &Scene) -> Result<[Mount; 2]> {
    let with = |place: &str, lines: &str| -> Result<Mount> {
        let copy = scene.path(&place.replace('/', "-"));
        let known = fs::read_to_string(place).with_context(|| format!("cannot read {place}"))?;
        fs::write(&copy, known + lines)?;
        Ok(Mount::new(&copy, place))
    };
    let users = [User::Alice, User::Bob];
    let accounts = users.map(|user| {
        let (name, id) = (user.name(), user.id());
        format!("{name}:x:{id}:{id}:{name}:/nonexistent:/bin/sh\n")
    });
    let groups = users.map(|user| format!("{}:x:{}:\n", user.name(), user.id()));
    let lab = format!("{LAB}:x:{LAB_ID}:{}\n", User::Alice.name());
    Ok([with("/etc/passwd", &accounts.concat())?, with("/etc/group", &(groups.concat() + &lab))?])
}
