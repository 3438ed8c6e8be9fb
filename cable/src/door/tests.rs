//! The three sieves under floods, in fake time.

use super::*;

#[expect(clippy::disallowed_methods, reason = "an arbitrary instant to start from")]
fn epoch() -> Instant {
    Instant::now()
}

fn host(number: u32) -> IpAddr {
    // Each in a network of its own.
    std::net::Ipv4Addr::from_bits(number << 8 | 1).into()
}

/// A flood of first packets from forged addresses: `rate` a second, for `seconds`.
fn flood(door: &mut Door, rate: u32, seconds: u32, start: Instant, validated: bool) -> [u64; 4] {
    let [mut passed, mut accepted, mut retried, mut ignored] = [0; 4];
    for number in 0..rate * seconds {
        let now = start + Duration::from_secs(1) * number / rate;
        if door.handle_first_packet(host(number), FirstPacket::New, now) == Passage::Ignore {
            continue;
        }
        passed += 1;
        match door.handle_knock(host(number), validated, 0, now) {
            Verdict::Accept => accepted += 1,
            Verdict::Retry => retried += 1,
            Verdict::Ignore => ignored += 1,
        }
    }
    [passed, accepted, retried, ignored]
}

#[test]
fn who_knocks_alone_is_let_in_at_once() {
    let (mut door, now) = (Door::default(), epoch());
    assert_eq!(door.handle_first_packet(host(1), FirstPacket::New, now), Passage::Pass);
    assert_eq!(door.handle_knock(host(1), false, 0, now), Verdict::Accept);
    assert_eq!(door.flood(now), None);
    assert_eq!(door.counts().accepted, 1);
}

#[test]
fn a_flood_from_forged_addresses_gets_few_handshakes_and_bounded_attention() {
    let (mut door, start) = (Door::default(), epoch());
    let [passed, accepted, retried, ignored] = flood(&mut door, 50_000, 10, start, false);
    assert!((9_900..=10_300).contains(&passed), "looked at {passed}");
    assert!(accepted <= 64, "{accepted} forged addresses took a place");
    assert!(ignored <= 64, "{ignored}");
    assert_eq!(retried, passed - accepted - ignored);
    let end = start + Duration::from_secs(10);
    let flood = door.flood(end).expect("the flood is told");
    assert!(flood.ignored > 480_000 && flood.retried > 9_000, "{flood:?}");
    assert_eq!(door.flood(end + FLOOD_MEMORY), None, "it is over");
}

#[test]
fn strangers_with_real_addresses_share_a_bounded_number_of_handshakes() {
    let (mut door, start) = (Door::default(), epoch());
    let [passed, accepted, retried, ignored] = flood(&mut door, 500, 10, start, true);
    assert_eq!(passed, 5_000);
    assert!((990..=1_040).contains(&accepted), "{accepted} handshakes");
    assert_eq!((retried, ignored), (0, passed - accepted));
}

#[test]
fn a_network_has_its_share_and_takes_nothing_from_others() {
    let (mut door, now) = (Door::default(), epoch());
    let verdicts: Vec<_> = (0..8)
        .map(|last| door.handle_knock(IpAddr::from([192, 0, 2, last]), true, 0, now))
        .collect();
    assert_eq!(verdicts.iter().filter(|v| **v == Verdict::Accept).count(), 5);
    assert_eq!(verdicts[5..], [Verdict::Ignore; 3]);
    assert_eq!(door.counts().ignored[&Ignored::Network], 3);
    assert_eq!(door.handle_knock(IpAddr::from([192, 0, 3, 1]), true, 0, now), Verdict::Accept);
    let later = now + Duration::from_millis(60);
    assert_eq!(door.handle_knock(IpAddr::from([192, 0, 2, 9]), true, 0, later), Verdict::Accept);

    let v6 =
        |subnet: u16, host: u16| IpAddr::from([0x2001, 0xdb8, 0, 0x100 | subnet, 0, 0, 0, host]);
    for host in 0..5 {
        assert_eq!(door.handle_knock(v6(host, host), true, 0, later), Verdict::Accept);
    }
    assert_eq!(door.handle_knock(v6(9, 9), true, 0, later), Verdict::Ignore, "one /56");
}

#[test]
fn a_friend_comes_back_in_the_midst_of_a_flood() {
    let (mut door, start) = (Door::default(), epoch());
    let friend: IpAddr = "::ffff:198.51.100.7".parse().unwrap();
    door.welcome("198.51.100.7".parse().unwrap());
    flood(&mut door, 50_000, 2, start, false);
    flood(&mut door, 500, 2, start + Duration::from_secs(2), true);
    let now = start + Duration::from_secs(4);
    for _ in 0..16 {
        assert_eq!(door.handle_first_packet(friend, FirstPacket::New, now), Passage::Pass);
        assert_eq!(door.handle_knock(friend, true, 0, now), Verdict::Accept);
    }
}

#[test]
fn who_forges_a_friends_address_takes_no_place_in_a_crowd() {
    let (mut door, start) = (Door::default(), epoch());
    door.welcome(host(7));
    flood(&mut door, 1_000, 1, start, false);
    let now = start + Duration::from_secs(1);
    assert_eq!(door.handle_knock(host(7), false, 0, now), Verdict::Retry);
}

#[test]
fn many_handshakes_under_way_want_proof_and_too_many_stop() {
    let (mut door, now) = (Door::default(), epoch());
    assert_eq!(door.handle_knock(host(1), false, CROWDED, now), Verdict::Retry);
    assert_eq!(door.handle_knock(host(1), true, CROWDED, now), Verdict::Accept);
    assert_eq!(door.handle_knock(host(2), true, PLACES, now), Verdict::Ignore);
    assert_eq!(door.counts().ignored[&Ignored::Full], 1);
}

#[test]
fn what_is_remembered_is_bounded() {
    let (mut door, start) = (Door::default(), epoch());
    for number in 0..3 * u32::try_from(NETWORKS).unwrap() {
        let now = start + Duration::from_millis(20) * number;
        door.welcome(host(number));
        door.handle_knock(host(1_000_000 + number), true, 0, now);
        assert!(door.networks.len() <= NETWORKS);
    }
    assert_eq!((door.friends.len(), door.by_proof.len()), (FRIENDS, FRIENDS));
}

#[test]
fn packets_are_told_apart_by_what_no_version_changes() {
    let is_ours = |id: &[u8]| id == b"ours1234";
    let long = |first: u8, version: u32, id: &[u8]| {
        let len = u8::try_from(id.len()).unwrap();
        let packet = [&[first][..], &version.to_be_bytes(), &[len], id, &[0; 30]].concat();
        classify(&packet, is_ours)
    };
    assert_eq!(long(0xc3, 1, b"fromthem"), Some(FirstPacket::New));
    assert_eq!(long(0xc3, 1, b""), Some(FirstPacket::New));
    assert_eq!(long(0xc3, 0xff00_001d, b"fromthem"), Some(FirstPacket::New));
    for first in [0xc3, 0xd3, 0xe3, 0xf0] {
        assert_eq!(long(first, 1, b"ours1234"), Some(FirstPacket::Following));
    }
    for first in [0xd3, 0xe3, 0xf0] {
        assert_eq!(long(first, 1, b"fromthem"), Some(FirstPacket::Stray));
    }
    assert_eq!(long(0xc3, 0, b"fromthem"), Some(FirstPacket::Stray));
    for cut in [&[0xc3][..], &[0xc3, 0, 0, 0, 1], &[0xc3, 0, 0, 0, 1, 9, 1, 2]] {
        assert_eq!(classify(cut, is_ours), Some(FirstPacket::Stray));
    }
    assert_eq!(classify(&[0x43; 40], is_ours), None);
    assert_eq!(classify(&[], is_ours), None);
}
