//! A message for every frame that leaves the link, for a program that shows them.

use std::io::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use emulator::Direction;

/// Where messages go. Nobody needs to be there, and nobody is waited for.
#[derive(Debug)]
pub(crate) struct BlinkSocket {
    socket: UnixDatagram,
    path: PathBuf,
    id: String,
    message: Vec<u8>,
}

impl BlinkSocket {
    pub(crate) fn new(blink: &crate::filter::Blink) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let path = Path::new(&blink.socket).to_owned();
        Ok(Self { socket, path, id: blink.id.clone(), message: Vec::new() })
    }

    /// Says that a frame of this many octets was delivered.
    pub(crate) fn tell(&mut self, one_way: bool, direction: Direction, octets: usize) {
        self.message.clear();
        let _ = if one_way {
            writeln!(self.message, "{} -- {octets}", self.id)
        } else {
            writeln!(self.message, "{} {direction} {octets}", self.id)
        };
        let _ = self.socket.send_to(&self.message, &self.path);
    }
}
