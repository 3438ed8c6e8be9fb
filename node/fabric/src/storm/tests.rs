//! Limits alone: how much passes, how soon again, and how much memory that takes.

use super::*;

const SECOND: u64 = 1_000_000_000;

/// How many of evenly spaced frames pass.
fn passed(mut take: impl FnMut(Nanos) -> bool, frames: u64, from: u64, to: u64) -> usize {
    (0..frames).filter(|frame| take(Nanos(from + (to - from) * frame / frames))).count()
}

#[test]
fn a_storm_passes_at_its_rate_after_its_burst() {
    let limits = PortLimits::new(&StormControl::STANDARD);
    for (kind, rate, burst) in [
        (Kind::Broadcast, 1000, 100),
        (Kind::Multicast, 2000, 200),
        (Kind::UnknownUnicast, 1000, 100),
        (Kind::NewStation, 100, 200),
    ] {
        let mut buckets = PortBuckets::default();
        let mut storm = |from, to| {
            let take = |now| limits.take(&mut buckets, kind, now);
            passed(take, 100_000, from * SECOND, to * SECOND)
        };
        let first = storm(10, 11);
        assert!((rate + burst - 1..=rate + burst).contains(&first), "{kind:?}: {first}");
        let next = storm(11, 12);
        assert!((rate - 1..=rate + 1).contains(&next), "{kind:?}: {next}");
        let after_a_pause = storm(20, 21);
        assert!((rate + burst - 1..=rate + burst).contains(&after_a_pause), "{kind:?}");
    }
}

#[test]
fn kinds_and_ports_do_not_pay_for_one_another() {
    let limits = PortLimits::new(&StormControl::STANDARD);
    let (mut noisy, mut quiet) = (PortBuckets::default(), PortBuckets::default());
    passed(|now| limits.take(&mut noisy, Kind::Broadcast, now), 1000, 1, 2);
    assert!(!limits.take(&mut noisy, Kind::Broadcast, Nanos(2)));
    assert!(limits.take(&mut noisy, Kind::Multicast, Nanos(2)));
    assert!(limits.take(&mut quiet, Kind::Broadcast, Nanos(2)));
}

#[test]
fn a_rate_of_one_lets_one_pass() {
    let mut bucket = Bucket::default();
    let limit = Limit::new(FrameRate(1), 0);
    assert!(bucket.take(&limit, Nanos(5)));
    assert!(!bucket.take(&limit, Nanos(4 + SECOND)));
    assert!(bucket.take(&limit, Nanos(5 + SECOND)));
}

#[test]
fn without_a_limit_everything_passes() {
    let limits = PortLimits::new(&StormControl::OFF);
    let mut buckets = PortBuckets::default();
    for kind in Kind::ALL {
        assert_eq!(passed(|_| limits.take(&mut buckets, kind, Nanos(0)), 5000, 0, 1), 5000);
    }
    let mut budgets = FloodBudgets::new(&StormControl::OFF, 1);
    assert_eq!(passed(|_| budgets.take(RemoteId(1), Nanos(0)), 50_000, 0, 1), 50_000);
    assert!(budgets.buckets.is_empty());
}

#[test]
fn each_node_has_a_budget_of_its_own() {
    let mut budgets = FloodBudgets::new(&StormControl::STANDARD, 1);
    let storm = passed(|now| budgets.take(RemoteId(1), now), 100_000, SECOND, 2 * SECOND);
    assert!((10_999..=11_000).contains(&storm), "{storm}");
    assert!(!budgets.take(RemoteId(1), Nanos(2 * SECOND - 1)));
    assert!(budgets.take(RemoteId(2), Nanos(2 * SECOND - 1)));
}

#[test]
fn invented_nodes_share_one_budget_and_fill_no_memory() {
    let mut budgets = FloodBudgets::new(&StormControl::STANDARD, 1);
    let now = Nanos(5 * SECOND);
    let mut invented = (0..).map(RemoteId);
    let mut storm = |budgets: &mut FloodBudgets, now, frames| {
        invented.by_ref().take(frames).filter(|node| budgets.take(*node, now)).count()
    };
    assert_eq!(storm(&mut budgets, now, MAX_NODES), MAX_NODES);
    assert_eq!(storm(&mut budgets, now, 50_000), 1000, "the burst of one node");
    assert_eq!(budgets.buckets.len(), MAX_NODES);
    assert!(budgets.take(RemoteId(0), now), "who was known before has its own");
    // All have been silent, so there is room again.
    let later = Nanos(now.0 + SECOND);
    assert_eq!(storm(&mut budgets, later, MAX_NODES), MAX_NODES);
}
