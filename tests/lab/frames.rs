//! Ethernet frames for raw plugs, and the stream form in which `vde_plug` reads and writes
//! them: a length of two octets, most significant first, then the frame.

/// Two stations with locally administered addresses, for raw plugs.
pub const STATION_A: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0a];
/// See [`STATION_A`].
pub const STATION_B: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0b];
/// Everybody.
pub const BROADCAST: [u8; 6] = [0xff; 6];

/// The group address to which nodes send what they find loops with.
pub const LOOP_PROBE: [u8; 6] = [0x03, 0x56, 0x44, 0x45, 0x4c, 0x50];

/// The EtherType that IEEE 802 sets aside for experiments, which no host answers
/// (IEEE 802-2014, Local Experimental EtherType 1).
pub const EXPERIMENTAL: u16 = 0x88b5;

/// The longest frame that Debian's `vde_plug` reads or writes in stream form.
pub const MAX_STREAM_FRAME: usize = 9236;

/// A frame of exactly `len` octets, at least 14, whose payload counts up from `seed`, so that
/// two frames differ and a displaced octet is seen.
#[must_use]
pub fn frame(destination: [u8; 6], source: [u8; 6], len: usize, seed: u8) -> Vec<u8> {
    let mut frame = Vec::with_capacity(len);
    frame.extend(destination);
    frame.extend(source);
    frame.extend(EXPERIMENTAL.to_be_bytes());
    let mut octet = seed;
    while frame.len() < len {
        frame.push(octet);
        octet = octet.wrapping_add(1);
    }
    frame
}

/// The frame in stream form.
///
/// # Panics
///
/// When the frame is longer than 65535 octets.
#[must_use]
pub fn encode(frame: &[u8]) -> Vec<u8> {
    let len = u16::try_from(frame.len()).expect("a frame fits the stream's length field");
    let mut bytes = len.to_be_bytes().to_vec();
    bytes.extend(frame);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_the_length_asked_for_and_its_addresses_in_front() {
        let frame = frame(BROADCAST, STATION_A, 60, 7);
        assert_eq!(frame.len(), 60);
        assert_eq!(frame[..6], BROADCAST);
        assert_eq!(frame[6..12], STATION_A);
        assert_eq!(frame[12..16], [0x88, 0xb5, 7, 8]);
    }

    #[test]
    fn the_stream_form_puts_the_length_first() {
        assert_eq!(encode(&[1, 2, 3]), [0, 3, 1, 2, 3]);
    }
}
