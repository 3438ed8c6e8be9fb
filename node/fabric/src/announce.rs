//! Frames by which a station says that it is here now: after a migration, or a failover.

use ether::FrameHeader;

use crate::payload::{self, Arp, payload};

/// An ARP request and reply (RFC 826), and a reverse request (RFC 903).
const REQUEST: u16 = 1;
const REPLY: u16 = 2;
const REVERSE_REQUEST: u16 = 3;

/// Whether a frame announces its source: a gratuitous ARP (RFC 5227 3), or the RARP request for
/// itself that QEMU sends for a guest that has arrived. Both are broadcast.
///
/// The bridge needs no announcement to learn; the mesh may want to tell of one without delay.
pub fn announces(header: &FrameHeader, frame: &[u8]) -> bool {
    if !header.destination.is_broadcast() {
        return false;
    }
    let Some((ethertype @ (payload::ARP | payload::RARP), packet)) = payload(frame) else {
        return false;
    };
    Arp::parse(packet).is_some_and(|arp| {
        let announced = match (ethertype, arp.operation) {
            (payload::ARP, REQUEST | REPLY) => {
                arp.sender_ip == arp.target_ip && arp.sender_ip != [0; 4]
            }
            (payload::RARP, REVERSE_REQUEST) => arp.target_mac == header.source,
            _ => false,
        };
        announced && arp.sender_mac == header.source
    })
}

#[cfg(test)]
mod tests {
    use ether::MacAddr;

    use super::*;

    const A: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
    const B: [u8; 6] = [0x52, 0x54, 0, 0, 0, 2];
    const IP: [u8; 4] = [10, 0, 0, 7];
    const OTHER_IP: [u8; 4] = [10, 0, 0, 8];

    fn frame(
        ethertype: [u8; 2],
        operation: u8,
        sender: ([u8; 6], [u8; 4]),
        target: ([u8; 6], [u8; 4]),
    ) -> Vec<u8> {
        let fixed = [0, 1, 8, 0, 6, 4, 0, operation];
        let (sender, target) =
            ([&sender.0[..], &sender.1].concat(), [&target.0[..], &target.1].concat());
        [&[0xff; 6][..], &A, &ethertype, &fixed, &sender, &target].concat()
    }

    fn is_announcement(frame: &[u8]) -> bool {
        announces(&FrameHeader::parse(frame).unwrap(), frame)
    }

    #[test]
    fn gratuitous_arp_and_what_qemu_sends_after_a_migration_are_announcements() {
        let (arp, rarp) = ([0x08, 0x06], [0x80, 0x35]);
        let nobody = ([0; 6], [0; 4]);
        let request = frame(arp, 1, (A, IP), ([0; 6], IP));
        assert!(is_announcement(&request));
        assert!(is_announcement(&frame(arp, 2, (A, IP), (A, IP))));
        assert!(is_announcement(&frame(rarp, 3, (A, [0; 4]), (A, [0; 4]))));
        let tagged = [&request[..12], &[0x81, 0, 0, 5], &request[12..]].concat();
        assert!(is_announcement(&tagged));

        assert!(!is_announcement(&frame(arp, 1, (A, IP), ([0; 6], OTHER_IP))), "a question");
        assert!(!is_announcement(&frame(arp, 1, (A, [0; 4]), nobody)), "a probe");
        assert!(!is_announcement(&frame(arp, 1, (B, IP), ([0; 6], IP))), "of somebody else");
        assert!(!is_announcement(&frame(rarp, 3, (A, [0; 4]), (B, [0; 4]))), "for somebody else");
        assert!(!is_announcement(&frame(rarp, 4, (A, [0; 4]), (A, [0; 4]))), "an answer");
        assert!(!is_announcement(&request[..41]), "cut off");
        let to_one = [&MacAddr(B).0[..], &request[6..]].concat();
        assert!(!is_announcement(&to_one));
    }
}
