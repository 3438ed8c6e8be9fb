//! How fast a cable may send.
//!
//! The frames inside are congestion controlled by their own stations, so on a short private path a
//! second controller only adds delay: there the window is open (RFC 9484 section 10 allows it for
//! tunnels of this kind) up to what the other host's receive buffer holds with ease. Everywhere else
//! as much may be under way as the path is measured to deliver (`model.rs`). Which of the two it is
//! shows after the first round trips.

mod model;
mod tolerance;

use std::any::Any;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory};
use quinn_proto::RttEstimator;

use self::model::{Batch, Model};

/// A path is short when its round trip never takes longer than this: a LAN, not a city.
const SHORT_PATH: Duration = Duration::from_millis(1);

/// An open window. quinn does not pace above 2^32, and its 1 ms timer would cost more than
/// a whole round trip here.
const OPEN_WINDOW: u64 = 1 << 40;

/// Octets that may be under way on a short path, where the window is this as long as so many are: what
/// 10 Gbit/s deliver in 1.6 ms. A receiver that is short of processor time has them in its socket's
/// buffer, where a full packet takes nearly twice its length; more would wait there for tens of
/// milliseconds, and be lost in the end, while their senders hear of nothing.
const OPEN_LIMIT: u64 = 2 << 20;

/// Packets that may be sent before the first acknowledgement: 64, since frames come in bursts
/// and the handshake has proved the path.
const INITIAL_PACKETS: u64 = 64;

/// Whether an address is one that a LAN uses: loopback, private (RFC 1918), link-local or unique
/// local (RFC 4193).
pub fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Makes a controller for one cable.
#[derive(Debug)]
pub struct AutoConfig {
    /// Whether the window may open at all: the peer's address [`is_private`].
    pub may_open: bool,
}

impl ControllerFactory for AutoConfig {
    fn build(self: Arc<Self>, _now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let initial_window = INITIAL_PACKETS * u64::from(current_mtu);
        let model = Model::new(initial_window, current_mtu);
        Box::new(Auto { model, may_open: self.may_open, open: false, in_flight: 0 })
    }
}

/// What the path shows until it proves short and private; then an open window.
#[derive(Debug, Clone)]
struct Auto {
    model: Model,
    may_open: bool,
    open: bool,
    /// Octets under way: those of the last word of quinn, and what was sent since.
    in_flight: u64,
}

impl Controller for Auto {
    fn on_sent(&mut self, _now: Instant, bytes: u64, _last_packet_number: u64) {
        self.in_flight = self.in_flight.saturating_add(bytes);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        _app_limited: bool,
        rtt: &RttEstimator,
    ) {
        // Never closed again: under load our own queues lengthen the round trip, and the minimum
        // is what the path itself takes.
        self.open |= self.may_open && rtt.min() < SHORT_PATH;
        if !self.open {
            self.model.handle_ack(now, sent, bytes);
        }
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        _largest_packet_num_acked: Option<u64>,
    ) {
        self.in_flight = in_flight;
        if !self.open {
            self.model.handle_batch(Batch { now, is_idle: app_limited });
        }
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.in_flight = self.in_flight.saturating_sub(lost_bytes);
        if !self.open {
            self.model.handle_loss(now, sent, lost_bytes, is_persistent_congestion);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.model.set_mtu(new_mtu);
    }

    fn window(&self) -> u64 {
        if !self.open {
            self.model.window()
        } else if self.in_flight < OPEN_LIMIT {
            OPEN_WINDOW
        } else {
            OPEN_LIMIT
        }
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.model.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// Whether a window is that of a short path.
pub fn is_open(window: u64) -> bool {
    window == OPEN_WINDOW || window == OPEN_LIMIT
}

/// The profile that a window shows: `open` or `measured`.
pub fn profile_of(window: u64) -> &'static str {
    if is_open(window) { "open" } else { "measured" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lan_addresses_are_private_also_when_mapped_into_ipv6() {
        for ip in
            ["10.1.2.3", "192.168.0.1", "127.0.0.1", "::1", "fd00::1", "fe80::1", "::ffff:10.0.0.1"]
        {
            assert!(is_private(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "100.64.0.1"] {
            assert!(!is_private(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an arbitrary instant to start from")]
    fn on_a_short_path_no_more_is_under_way_than_a_receiver_can_hold() {
        let (now, mut sent) = (Instant::now(), 0);
        let model = Model::new(INITIAL_PACKETS * 1472, 1472);
        let mut controller = Auto { model, may_open: true, open: true, in_flight: 0 };
        // As quinn asks before each packet.
        while sent + 1472 < controller.window() {
            assert!(is_open(controller.window()), "unpaced");
            controller.on_sent(now, 1472, sent / 1472);
            sent += 1472;
        }
        assert!((OPEN_LIMIT - 1472..OPEN_LIMIT + 1472).contains(&sent), "{sent}");
        assert!(is_open(controller.window()));

        controller.on_end_acks(now, sent - 1472, false, None);
        assert_eq!(controller.window(), OPEN_WINDOW);
        controller.on_sent(now, 1472, 0);
        assert_eq!(controller.window(), OPEN_LIMIT);
        controller.on_congestion_event(now, now, false, 1472);
        assert_eq!(controller.window(), OPEN_WINDOW, "what is lost is not under way");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an arbitrary instant to start from")]
    fn the_first_packet_always_fits_the_window() {
        for mtu in [1200, 1472, 9000, 65507] {
            for may_open in [false, true] {
                let controller = Arc::new(AutoConfig { may_open }).build(Instant::now(), mtu);
                assert!(controller.window() >= 10 * u64::from(mtu));
            }
        }
    }
}
