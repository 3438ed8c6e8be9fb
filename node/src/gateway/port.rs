//! Frames for the DHCP server, picked out of those that leave by the gateway's tap.

use std::cell::RefCell;
use std::collections::VecDeque;

use tokio::sync::Notify;

/// Frames that may wait. Full: the newest is dropped; clients repeat themselves.
const CAPACITY: usize = 4096;

/// Frames that the DHCP server is to see, each with the node where it entered the mesh.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    frames: RefCell<VecDeque<(Vec<u8>, u32)>>,
    filled: Notify,
}

/// What becomes of a frame at the gateway's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Course {
    /// For the host alone.
    Host,
    /// For the DHCP server alone: the host's kernel would say that nobody listens.
    Server,
    /// For both: answers to ARP probes are news to the host, too.
    Both,
}

impl Inbox {
    /// Looks at a frame, and keeps a copy if it is for the DHCP server.
    pub(crate) fn offer(&self, frame: &[u8], node: u32) -> Course {
        let course = course_of(frame);
        if course != Course::Host {
            let mut frames = self.frames.borrow_mut();
            if frames.len() < CAPACITY {
                frames.push_back((frame.to_vec(), node));
                self.filled.notify_one();
            }
        }
        course
    }

    /// The oldest frame.
    pub(super) fn take(&self) -> Option<(Vec<u8>, u32)> {
        self.frames.borrow_mut().pop_front()
    }

    /// Completes when there may be a frame.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }
}

/// IEEE 802.3, RFC 826, RFC 791, RFC 768: untagged frames with ARP, or with a whole UDP header for
/// a server's or a client's port.
fn course_of(frame: &[u8]) -> Course {
    const ARP: [u8; 2] = [0x08, 0x06];
    const IPV4: [u8; 2] = [0x08, 0x00];
    const UDP: u8 = 17;
    let Some((header, packet)) = frame.split_first_chunk::<14>() else {
        return Course::Host;
    };
    match [header[12], header[13]] {
        ARP => Course::Both,
        IPV4 if packet.get(9) == Some(&UDP) => {
            let header_len = usize::from(packet[0] & 0x0f) * 4;
            match packet.get(header_len + 2..header_len + 4) {
                Some([0, 67]) => Course::Server,
                // A foreign server's answer, which the operator should hear of.
                Some([0, 68]) => Course::Both,
                _ => Course::Host,
            }
        }
        _ => Course::Host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn udp(port: u16) -> Vec<u8> {
        let mut frame = vec![0; 14 + 20 + 8];
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
        frame[14] = 0x45;
        frame[14 + 9] = 17;
        frame[14 + 22..14 + 24].copy_from_slice(&port.to_be_bytes());
        frame
    }

    #[test]
    fn requests_are_the_servers_alone_and_the_rest_is_the_hosts() {
        assert_eq!(course_of(&udp(67)), Course::Server);
        assert_eq!(course_of(&udp(68)), Course::Both);
        assert_eq!(course_of(&udp(53)), Course::Host);
        let mut arp = udp(67);
        arp[13] = 0x06;
        assert_eq!(course_of(&arp), Course::Both);
        for len in 0..udp(67).len() - 5 {
            assert_eq!(course_of(&udp(67)[..len]), Course::Host, "{len} octets");
        }
    }
}
