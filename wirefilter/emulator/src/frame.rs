//! What the emulator needs to know of a frame.

/// A frame as it travels: owned octets, whatever holds them.
///
/// The emulator asks for the length of every frame, clones those that it duplicates and changes
/// those that it damages.
pub trait Frame: Clone {
    /// Octets from the destination address to the end of the payload.
    fn octet_count(&self) -> usize;

    /// The octets, to flip bits in. A frame whose octets are shared makes its own copy first.
    fn octets_mut(&mut self) -> &mut [u8];
}

impl Frame for Box<[u8]> {
    fn octet_count(&self) -> usize {
        self.len()
    }

    fn octets_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl Frame for Vec<u8> {
    fn octet_count(&self) -> usize {
        self.len()
    }

    fn octets_mut(&mut self) -> &mut [u8] {
        self
    }
}
