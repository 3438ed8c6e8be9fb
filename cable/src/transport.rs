//! The QUIC transport parameters of a cable, each with its reason.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{AckFrequencyConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

use crate::congestion::{AutoConfig, is_private};
use crate::socket::route_payload;

/// A peer that says nothing for this long is gone. Five keep-alives may be lost before that.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// An idle cable speaks this often (about 60 octets), so that both ends know that it lives and
/// address translators keep its mapping.
pub const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// A handshake takes a few round trips; one that takes longer will not succeed.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The UDP payload with which every path starts: the least that QUIC requires (RFC 9000 section 14),
/// which any IPv6 path carries. Discovery raises it within a few round trips.
pub const INITIAL_PAYLOAD: u16 = 1200;

/// UDP payload assumed to be possible when the system does not say: Ethernet's, over IPv6.
const FALLBACK_PAYLOAD: u16 = 1452;

/// Octets of datagrams that quinn may hold for sending: 1 ms at 1 Gbit/s, and two super-frames, on a
/// LAN; 2 ms at 100 Mbit/s elsewhere. They are sent in their order, whoever waits; the real queue,
/// where each flow has its turn, is the cable's own.
const DATAGRAM_SEND_BUFFER_LAN: usize = 128 << 10;
const DATAGRAM_SEND_BUFFER: usize = 24 << 10;

/// Datagrams that quinn may hold for us. Only a stalled node comes near; 4 MiB are 30 ms at 1 Gbit/s.
const DATAGRAM_RECEIVE_BUFFER: usize = 4 << 20;

/// The control stream's window: two of the largest messages.
const STREAM_WINDOW: u32 = 128 << 10;

/// The largest UDP payload to try towards a peer.
pub fn payload_limit(peer: SocketAddr) -> u16 {
    route_payload(peer).unwrap_or(FALLBACK_PAYLOAD).max(INITIAL_PAYLOAD)
}

/// The parameters of a connection with a peer whose path may carry `payload_limit` octets.
pub fn config(peer: SocketAddr, payload_limit: u16) -> TransportConfig {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(payload_limit);

    let mut acks = AckFrequencyConfig::default();
    // Frames inside have their own acknowledgements; ours only feed round trip and loss.
    acks.ack_eliciting_threshold(VarInt::from_u32(20));
    acks.max_ack_delay(Some(Duration::from_millis(5)));

    let may_open = is_private(peer.ip());
    let send_buffer = if may_open { DATAGRAM_SEND_BUFFER_LAN } else { DATAGRAM_SEND_BUFFER };
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(
            IdleTimeout::try_from(IDLE_TIMEOUT).expect("five seconds fit QUIC's 62 bits"),
        ))
        .keep_alive_interval(Some(KEEP_ALIVE))
        // A lost handshake packet is repeated after about twice this, not after a whole second.
        .initial_rtt(Duration::from_millis(50))
        .initial_mtu(INITIAL_PAYLOAD)
        .mtu_discovery_config(Some(discovery))
        .ack_frequency_config(Some(acks))
        // Network cards with several queues reorder within such a distance.
        .packet_threshold(16)
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(2 * STREAM_WINDOW))
        .send_window(u64::from(2 * STREAM_WINDOW))
        .datagram_send_buffer_size(send_buffer)
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BUFFER))
        .allow_spin(false)
        .congestion_controller_factory(Arc::new(AutoConfig { may_open }));
    transport
}
