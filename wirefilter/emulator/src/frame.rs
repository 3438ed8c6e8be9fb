//! What the emulator needs to know of a frame.

/// A frame as it travels: owned octets, whatever holds them.
///
/// The emulator asks for the length of every frame, clones those that it duplicates, changes those
/// that it damages, and looks at addresses where pairs of stations have settings of their own.
pub trait Frame: Clone {
    /// From the destination address to the end of the payload.
    fn octets(&self) -> &[u8];

    /// How many these are.
    fn octet_count(&self) -> usize {
        self.octets().len()
    }

    /// The octets, to flip bits in. A frame whose octets are shared makes its own copy first.
    fn octets_mut(&mut self) -> &mut [u8];
}

impl Frame for Box<[u8]> {
    fn octets(&self) -> &[u8] {
        self
    }

    fn octets_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl Frame for Vec<u8> {
    fn octets(&self) -> &[u8] {
        self
    }

    fn octets_mut(&mut self) -> &mut [u8] {
        self
    }
}
