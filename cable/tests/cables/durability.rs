//! What a node knows of its mesh's members, and a disk that fails.

use std::fs;
use std::path::PathBuf;

use cable::Trust;
use cable::trust::{RosterError, Verdict};
use mesh::roster::Roles;

use crate::enrolment::{invite, join, member, offer};
use crate::lab::{self, Home, Node, until, until_within};

/// A disk that takes nothing while this is there.
struct Broken(PathBuf);

impl Broken {
    fn disk(home: &Home) -> Self {
        // In the way of the file that is written first. This stops root, too.
        let path = home.path().join("roster.new");
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn mend(self) {
        fs::remove_dir(&self.0).unwrap();
    }
}

fn is_troubled(node: &Node) -> bool {
    node.cables.warnings().iter().any(|warning| warning.starts_with("members not durable"))
}

/// What a node would know after a restart.
fn on_disk(home: &Home) -> Trust {
    let identity = cable::Identity::load_or_generate(home.path()).unwrap();
    let trust = Trust::load(home.path()).unwrap();
    trust.belong(Some(home.path()), &identity, "again").unwrap();
    trust
}

#[test]
fn who_is_put_out_is_out_although_the_disk_fails_and_for_good_when_it_does_not() {
    lab::run(async {
        let (home_a, home_b) = (Home::new(), Home::new());
        let a = home_a.start_member("a");
        let b = home_b.start_member("b");
        join(&b, &invite(&a, Roles::SWITCH), "b").await;
        let c = member(&a, Roles::SWITCH, "c").await;
        until("b knows c", || b.trust.contains(c.key)).await;
        until("b has written it", || on_disk(&home_b).contains(c.key)).await;

        // Neither where it is said nor where it is heard.
        let broken = [Broken::disk(&home_a), Broken::disk(&home_b)];
        a.trust.revoke("c", false).unwrap();
        a.cables.handle_trust_change();
        until("c is cut", || c.link_count() == 0).await;
        until("b knows", || b.trust.verdict(c.key) == Verdict::Revoked).await;
        until("a says so", || is_troubled(&a)).await;
        until("b says so", || is_troubled(&b)).await;
        assert!(on_disk_lets_in(&home_a, &c) && on_disk_lets_in(&home_b, &c));

        broken.into_iter().for_each(Broken::mend);
        until_within(2 * lab::SOON, "all is well", || !is_troubled(&a) && !is_troubled(&b)).await;
        for home in [&home_a, &home_b] {
            assert_eq!(on_disk(home).verdict(c.key), Verdict::Revoked);
        }
    });
}

fn on_disk_lets_in(home: &Home, of: &Node) -> bool {
    on_disk(home).contains(of.key)
}

#[test]
fn nobody_is_promised_what_is_not_on_disk() {
    lab::run(async {
        let home = Home::new();
        let a = home.start_member("a");
        let b = Home::new().start_member("b");
        let token = invite(&a, Roles::SWITCH);
        let broken = Broken::disk(&home);
        let invited = a.trust.invite(&offer(Roles::SWITCH), vec![a.address().into()]);
        assert!(matches!(invited, Err(RosterError::Store(_))), "{invited:?}");
        assert!(b.cables.join(&token, "b").await.is_err());
        assert_eq!((a.trust.members().len(), a.trust.invites().len()), (1, 1));
        assert!(!is_troubled(&a), "what counts is on disk");
        broken.mend();
        join(&b, &token, "b").await;
    });
}

#[test]
fn what_a_node_heard_is_on_disk_when_it_ends() {
    lab::run(async {
        let home = Home::new();
        let a = Home::new().start_member("a");
        let b = home.start_member("b");
        join(&b, &invite(&a, Roles::SWITCH), "b").await;
        for number in 0..5 {
            let name = format!("c{number}");
            let c = member(&a, Roles::SWITCH, &name).await;
            until("b knows", || b.trust.contains(c.key)).await;
        }
        let known = b.trust.members().len();
        b.cables.shut_down().await;
        assert_eq!(on_disk(&home).members().len(), known);
    });
}
