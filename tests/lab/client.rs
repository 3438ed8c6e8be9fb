//! A VDE client by hand: the octets of its request and its data socket. It does what libvdeplug
//! never does: sends every frame to the address in the answer, as User-Mode Linux and dynamips do,
//! and asks for what cannot be.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::frames::LOOP_PROBE;

/// How long a switch may take to answer, to close or to bring a frame.
pub const ANSWER: Duration = Duration::from_secs(10);

/// `sockaddr_un` on Linux: a family of 2 octets and a path of 108 (unix(7)).
pub const ADDRESS_LEN: usize = 110;

/// The first word of every request since version 1.
pub const MAGIC: u32 = 0xfeed_face;

/// An address whose path field begins with these octets; zeros follow.
///
/// # Panics
///
/// When they are more than 108.
#[must_use]
pub fn address_of(path: &[u8]) -> [u8; ADDRESS_LEN] {
    let mut address = [0; ADDRESS_LEN];
    address[..2].copy_from_slice(&1_u16.to_ne_bytes());
    address[2..2 + path.len()].copy_from_slice(path);
    address
}

/// A path as the octets of an address.
#[must_use]
pub fn path_octets(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

/// A request in the host's byte order: these words, an address, a description.
///
/// Version 3 has the words magic, 3, type.
#[must_use]
pub fn request(words: &[u32], address: &[u8; ADDRESS_LEN], description: &[u8]) -> Vec<u8> {
    let mut request: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    request.extend(address);
    request.extend(description);
    request
}

/// A request of version 1: magic, type, the six octets of a MAC address, an address, a
/// description.
#[must_use]
pub fn request_v1(kind: u32, address: &[u8; ADDRESS_LEN], description: &[u8]) -> Vec<u8> {
    let mut request: Vec<u8> = [MAGIC, kind].iter().flat_map(|word| word.to_ne_bytes()).collect();
    request.extend([0x02, 0, 0, 0, 0, 0x01]);
    request.extend(address);
    request.extend(description);
    request
}

/// Connects to a switch's control socket.
///
/// # Errors
///
/// When it does not listen, or not to this user.
pub fn dial(switch: &Path) -> Result<UnixStream> {
    let stream = UnixStream::connect(switch.join("ctl")).context("the switch does not listen")?;
    stream.set_read_timeout(Some(ANSWER))?;
    Ok(stream)
}

/// Sends octets and returns what comes back until the switch closes.
///
/// # Errors
///
/// When it does not close.
pub fn dialogue(switch: &Path, octets: &[u8]) -> Result<Vec<u8>> {
    let mut stream = dial(switch)?;
    // A switch that has closed already takes no more, which is an answer too.
    let _ = stream.write_all(octets);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => Ok(answer),
        // Closed while octets that it did not read were under way.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(answer),
        Err(error) => Err(error).context("the switch did not close the connection"),
    }
}

/// A client that is plugged in; unplugged when dropped.
#[derive(Debug)]
pub struct Client {
    // Its end is the unplugging.
    control: UnixStream,
    data: UnixDatagram,
    switch: PathBuf,
}

impl Client {
    /// Asks for a plug in a switch with these octets, and checks the answer's form: one address
    /// of 110 octets, zeros behind its path, and nothing more.
    ///
    /// # Errors
    ///
    /// When the switch refuses or answers with something else.
    pub fn plug_in(switch: &Path, data: UnixDatagram, request: &[u8]) -> Result<Self> {
        let mut control = dial(switch)?;
        control.write_all(request)?;
        let mut answer = [0; ADDRESS_LEN];
        control.read_exact(&mut answer).context("the switch did not answer with an address")?;
        ensure!(answer[..2] == 1_u16.to_ne_bytes(), "no unix address: {answer:02x?}");
        let end = answer[2..].iter().position(|&octet| octet == 0).context("an endless path")?;
        let path = std::str::from_utf8(&answer[2..2 + end]).context("the path is no text")?;
        ensure!(answer[2 + end..].iter().all(|&octet| octet == 0), "octets behind the path");
        control.set_nonblocking(true)?;
        match control.read(&mut [0; 1]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => bail!("after the answer came {other:?}"),
        }
        data.set_read_timeout(Some(ANSWER))?;
        data.set_write_timeout(Some(ANSWER))?;
        Ok(Self { control, data, switch: PathBuf::from(path) })
    }

    /// Binds a data socket at `path` and asks for a plug as version 3, of type `kind`.
    ///
    /// # Errors
    ///
    /// When the path is in use or the switch refuses.
    pub fn plug_in_at(switch: &Path, path: &Path, kind: u32) -> Result<Self> {
        let data = UnixDatagram::bind(path).context("cannot bind a data socket")?;
        let address = address_of(path_octets(path));
        Self::plug_in(switch, data, &request(&[MAGIC, 3, kind], &address, b"by hand"))
    }

    /// The switch's data socket for this client.
    #[must_use]
    pub fn switch_socket(&self) -> &Path {
        &self.switch
    }

    /// Connects the data socket, as libvdeplug does. Otherwise the kernel keeps ten frames for it.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn connect(&self) -> io::Result<()> {
        self.data.connect(&self.switch)
    }

    /// Sends one frame to the address in the answer.
    ///
    /// # Errors
    ///
    /// When the switch does not take it.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.data.send_to(frame, &self.switch).map(drop)
    }

    /// The next frame.
    ///
    /// # Errors
    ///
    /// When none comes within [`ANSWER`].
    pub fn receive(&self) -> Result<Vec<u8>> {
        loop {
            let mut frame = vec![0; 1 << 16];
            let len = self.data.recv(&mut frame).context("no frame came")?;
            frame.truncate(len);
            // What nodes send to find loops is not for guests.
            if !frame.starts_with(&LOOP_PROBE) {
                return Ok(frame);
            }
        }
    }

    /// Frames that have arrived and were not yet taken.
    ///
    /// # Errors
    ///
    /// When the data socket fails.
    pub fn drain(&self) -> Result<Vec<Vec<u8>>> {
        self.data.set_nonblocking(true)?;
        let frames = std::iter::from_fn(|| self.receive().ok()).collect();
        self.data.set_nonblocking(false)?;
        Ok(frames)
    }

    /// Whether the switch still holds the plug.
    #[must_use]
    pub fn is_plugged(&mut self) -> bool {
        let end = self.control.read(&mut [0; 1]);
        matches!(end, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_lengths_of_the_protocols_table() {
        let address = address_of(b"/tmp/x");
        assert_eq!(request(&[MAGIC, 3, 0], &address, b"").len(), 122);
        assert_eq!(request_v1(0, &address, b"").len(), 124);
        assert_eq!(address[2..9], *b"/tmp/x\0");
    }
}
