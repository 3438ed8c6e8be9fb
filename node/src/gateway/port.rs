//! Frames for the gateway's own services, picked out of those that leave by its tap.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::Ipv4Addr;

use ether::segment::{SegmentBuffer, split_into};
use ether::{MacAddr, VnetHeader};
use fabric::DropReason;
use gateway::Subnet;
use mesh::Nick;
use tokio::sync::Notify;

/// Frames that may wait. Full: the newest is dropped and counted; clients repeat themselves.
const CAPACITY: usize = 4096;

/// The longest frame for us: more than any client's message has. Longer ones are the host's.
const LONGEST: usize = 2048;

/// A frame for us.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) course: Course,
    /// Where it entered the mesh.
    pub(super) node: Nick,
    pub(super) frame: Vec<u8>,
}

/// Frames for the DHCP server and the advertiser.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// Where clients send: to all, to all of the subnet, to the gateway.
    addresses: [Ipv4Addr; 3],
    frames: RefCell<VecDeque<Arrival>>,
    /// Frames that found it full.
    overflows: Cell<u64>,
    filled: Notify,
}

/// What becomes of a frame at the gateway's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Course {
    /// For the host alone.
    Host,
    /// For us alone: the host's kernel would say that nobody listens.
    Services,
    /// For both: answers to ARP probes are news to the host, too.
    Both,
}

impl Inbox {
    /// For a gateway of that address in that subnet.
    pub(super) fn new(address: Ipv4Addr, subnet: Subnet) -> Self {
        Self {
            addresses: [Ipv4Addr::BROADCAST, subnet.broadcast(), address],
            frames: RefCell::default(),
            overflows: Cell::new(0),
            filled: Notify::new(),
        }
    }

    /// Looks at a frame, and keeps a complete copy if it is for us.
    ///
    /// # Errors
    /// Why a copy that should have been kept was not; the course stands.
    pub(crate) fn offer(
        &self,
        vnet: VnetHeader,
        frame: &[u8],
        ingress: Nick,
    ) -> (Course, Result<(), DropReason>) {
        let course =
            if frame.len() > LONGEST { Course::Host } else { course_of(frame, &self.addresses) };
        match course {
            Course::Host => (course, Ok(())),
            Course::Services | Course::Both => (course, self.keep(course, vnet, frame, ingress)),
        }
    }

    #[cold]
    fn keep(
        &self,
        course: Course,
        vnet: VnetHeader,
        frame: &[u8],
        node: Nick,
    ) -> Result<(), DropReason> {
        let arrival = |frame: &[u8]| Arrival { course, node, frame: frame.to_vec() };
        let mut frames = self.frames.borrow_mut();
        if frames.len() >= CAPACITY {
            self.overflows.set(self.overflows.get() + 1);
            return Err(DropReason::QueueFull);
        }
        if vnet.is_plain() {
            frames.push_back(arrival(frame));
        } else {
            // A guest's kernel leaves the checksum of its own DHCP client to the network card.
            let mut completed = SegmentBuffer::new();
            split_into(vnet, frame, &mut completed)?;
            frames.extend(completed.iter().map(arrival));
        }
        self.filled.notify_one();
        Ok(())
    }

    /// How many frames for us were lost because too many waited.
    pub(super) fn overflows(&self) -> u64 {
        self.overflows.get()
    }

    /// The oldest frame.
    pub(super) fn take(&self) -> Option<Arrival> {
        self.frames.borrow_mut().pop_front()
    }

    /// Who of those whose frames wait says that an address is its, and its node; not `own`.
    pub(super) fn find_claim(&self, address: Ipv4Addr, own: MacAddr) -> Option<(MacAddr, Nick)> {
        let frames = self.frames.borrow();
        frames.iter().find_map(|Arrival { node, frame, .. }| {
            let (station, claimed) = gateway::claim_of(frame)?;
            (claimed == address && station != own).then_some((station, *node))
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.borrow().is_empty()
    }

    /// Completes when there may be a frame.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }
}

/// Untagged frames with ARP (RFC 826), with a whole UDP header to a server's or a client's port (RFC
/// 2131 4.1), or with a router solicitation (RFC 4861 4.1). What machines send to servers elsewhere
/// only passes through, and no later fragment begins with a header.
fn course_of(frame: &[u8], ours: &[Ipv4Addr]) -> Course {
    const ARP: [u8; 2] = [0x08, 0x06];
    const IPV4: [u8; 2] = [0x08, 0x00];
    const IPV6: [u8; 2] = [0x86, 0xdd];
    const UDP: u8 = 17;
    const ICMPV6: u8 = 58;
    const ROUTER_SOLICITATION: u8 = 133;
    let Some((header, packet)) = frame.split_first_chunk::<14>() else {
        return Course::Host;
    };
    match [header[12], header[13]] {
        ARP => Course::Both,
        IPV4 if packet.get(9) == Some(&UDP) => {
            let header_len = usize::from(packet[0] & 0x0f) * 4;
            let is_first = packet[6] & 0x1f == 0 && packet[7] == 0;
            let address = packet.get(16..).and_then(|rest| rest.first_chunk::<4>());
            let is_ours = address.is_some_and(|address| ours.contains(&(*address).into()));
            match packet.get(header_len + 2..header_len + 4).filter(|_| is_first) {
                Some([0, 67]) if is_ours => Course::Services,
                // A foreign server's answer, which the operator should hear of.
                Some([0, 68]) => Course::Both,
                _ => Course::Host,
            }
        }
        IPV6 if packet.get(6) == Some(&ICMPV6) && packet.get(40) == Some(&ROUTER_SOLICITATION) => {
            Course::Both
        }
        _ => Course::Host,
    }
}

#[cfg(test)]
mod tests {
    use gateway::announcement;

    use super::*;

    fn udp(port: u16) -> Vec<u8> {
        let mut frame = vec![0; 14 + 20 + 8];
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
        frame[14] = 0x45;
        frame[14 + 9] = 17;
        frame[14 + 16..14 + 20].fill(255);
        frame[14 + 22..14 + 24].copy_from_slice(&port.to_be_bytes());
        frame
    }

    fn inbox() -> Inbox {
        let (address, subnet) = Subnet::parse_interface("10.0.0.1/24").unwrap();
        Inbox::new(address, subnet)
    }

    fn course_of(frame: &[u8]) -> Course {
        super::course_of(frame, &inbox().addresses)
    }

    #[test]
    fn what_machines_send_to_servers_elsewhere_passes_through() {
        let mut frame = udp(67);
        for (address, course) in [
            ([10, 0, 0, 1], Course::Services),
            ([10, 0, 0, 255], Course::Services),
            ([192, 0, 2, 7], Course::Host),
        ] {
            frame[14 + 16..14 + 20].copy_from_slice(&address);
            assert_eq!(course_of(&frame), course, "{address:?}");
        }
    }

    #[test]
    fn octets_of_a_later_fragment_are_no_port() {
        for offset in [[0x20, 1], [0, 185], [0x1f, 0]] {
            let mut frame = udp(67);
            frame[14 + 6..14 + 8].copy_from_slice(&offset);
            assert_eq!(course_of(&frame), Course::Host, "{offset:?}");
        }
    }

    #[test]
    fn requests_are_for_us_alone_and_the_rest_is_the_hosts() {
        assert_eq!(course_of(&udp(67)), Course::Services);
        assert_eq!(course_of(&udp(68)), Course::Both);
        assert_eq!(course_of(&udp(53)), Course::Host);
        let mut arp = udp(67);
        arp[13] = 0x06;
        assert_eq!(course_of(&arp), Course::Both);
        for len in 0..udp(67).len() - 5 {
            assert_eq!(course_of(&udp(67)[..len]), Course::Host, "{len} octets");
        }
    }

    #[test]
    fn a_copy_is_complete_and_not_long() {
        let (inbox, nick) = (inbox(), Nick::new(7).unwrap());
        // The checksum of UDP is still to be made: from octet 34 on, at 6 behind it.
        let octets = [1, 0, 0, 0, 0, 0, 34, 0, 6, 0];
        let vnet = VnetHeader::parse(&octets).unwrap();
        assert_eq!(inbox.offer(vnet, &udp(67), nick), (Course::Services, Ok(())));
        let Arrival { course, node, frame: copy } = inbox.take().unwrap();
        assert_eq!((course, node), (Course::Services, nick));
        assert_ne!(copy[14 + 20 + 6..], [0, 0]);
        let long = [&udp(67)[..], &[0; LONGEST]].concat();
        assert_eq!(inbox.offer(VnetHeader::PLAIN, &long, nick), (Course::Host, Ok(())));
        assert!(inbox.is_empty(), "memory is not a guest's to fill");
    }

    #[test]
    fn a_claim_to_an_address_is_found_among_those_that_wait() {
        let (inbox, nick) = (inbox(), Nick::new(7).unwrap());
        let (own, other) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
        let address = Ipv4Addr::new(10, 0, 0, 1);
        let frames = [
            udp(67),
            announcement(own, address),
            announcement(other, Ipv4Addr::new(10, 0, 0, 9)),
            gateway::probe(other, address),
        ];
        for frame in frames {
            inbox.offer(VnetHeader::PLAIN, &frame, nick).1.unwrap();
        }
        assert_eq!(inbox.find_claim(address, own), None);
        inbox.offer(VnetHeader::PLAIN, &announcement(other, address), nick).1.unwrap();
        assert_eq!(inbox.find_claim(address, own), Some((other, nick)));
    }

    #[test]
    fn what_finds_too_many_waiting_is_counted_and_lost() {
        let (inbox, nick) = (inbox(), Nick::new(7).unwrap());
        for _ in 0..CAPACITY {
            assert_eq!(inbox.offer(VnetHeader::PLAIN, &udp(67), nick), (Course::Services, Ok(())));
        }
        let lost = Err(DropReason::QueueFull);
        assert_eq!(inbox.offer(VnetHeader::PLAIN, &udp(67), nick), (Course::Services, lost));
        assert_eq!((inbox.frames.borrow().len(), inbox.overflows()), (CAPACITY, 1));
    }
}
