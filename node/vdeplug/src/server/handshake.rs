//! One client's way from its connection to its plug.
//!
//! A request is only peeked at until it is granted. Closing a local stream with unread octets
//! makes the other end read "connection reset" instead of an end of file. That matters because
//! libvdeplug of VDE 2 takes an end of file for success and hands its program a dead plug, while
//! it reports a failed read properly; libvdeplug 4 reports both.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::geteuid;
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::{DESCRIPTION_GRACE, REQUEST_DEADLINE, Site};
use crate::address::UnixAddress;
use crate::path::{Ownership, SocketFile};
use crate::plug::{PeerCredentials, Plug};
use crate::refusal::Refusal;
use crate::request::{MAX_LEN, Request};

/// How many names to try for a data socket before giving up; each occupied one is a left-over
/// that the sweep at the start could not remove.
const NAME_ATTEMPTS: u32 = 1000;

/// Names are numbered up to this, then from 0 again; `plug.999999999` has
/// [`crate::path::LONGEST_NAME`] octets.
const MAX_NUMBER: u32 = 999_999_999;

/// A client that has connected and not yet said what it wants. Dropping it closes the connection.
#[derive(Debug)]
pub struct Handshake {
    pub(super) stream: UnixStream,
    pub(super) peer: PeerCredentials,
    pub(super) site: Arc<Site>,
}

impl Handshake {
    /// Waits for the whole request, in as many pieces as the client likes.
    ///
    /// # Errors
    /// [`Refusal::Request`] as soon as the octets cannot become a request, [`Refusal::Silent`]
    /// after [`REQUEST_DEADLINE`], [`Refusal::HungUp`]. The connection is closed by then.
    pub async fn read_request(self) -> Result<Pending, Refusal> {
        let mut peek = Peek { octets: [0; MAX_LEN + 1], len: 0, pieces: 0 };
        let request = tokio::time::timeout(REQUEST_DEADLINE, peek.request(&self.stream)).await;
        match request.unwrap_or(Err(Refusal::Silent { received: peek.len })) {
            Ok(request) => Ok(Pending { handshake: self, request, octets: peek.len }),
            Err(refusal) => {
                tracing::debug!(peer = ?self.peer, reason = %refusal, "plug refused");
                Err(refusal)
            }
        }
    }

    /// Who has connected.
    pub fn peer(&self) -> PeerCredentials {
        self.peer
    }
}

/// The beginning of the control stream, looked at without taking it out.
struct Peek {
    /// One more than the longest request, so that a longer one is seen to be longer.
    octets: [u8; MAX_LEN + 1],
    len: usize,
    pieces: usize,
}

impl Peek {
    async fn request(&mut self, stream: &UnixStream) -> Result<Request, Refusal> {
        loop {
            self.more(stream).await?;
            let required = Request::required_len(&self.octets[..self.len])?;
            if self.len < required {
                continue;
            }
            // A request in one piece and with a description is whole.
            if self.pieces > 1 || self.len == required {
                while let Ok(more) =
                    tokio::time::timeout(DESCRIPTION_GRACE, self.more(stream)).await
                {
                    more?;
                }
            }
            return Ok(Request::parse(&self.octets[..self.len])?);
        }
    }

    /// Waits until more has come than was there before.
    async fn more(&mut self, stream: &UnixStream) -> Result<(), Refusal> {
        let failed = |source| Refusal::Local { what: "read the request", source };
        loop {
            let ready = stream.ready(Interest::READABLE).await.map_err(failed)?;
            let peeked = stream.try_io(Interest::READABLE, || {
                let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
                let (_, len) = rustix::net::recv(stream, &mut self.octets[..], flags)?;
                if len > self.len { Ok(len) } else { Err(io::ErrorKind::WouldBlock.into()) }
            });
            match peeked {
                Ok(len) => {
                    self.len = len;
                    self.pieces += 1;
                    return Ok(());
                }
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Err(failed(error));
                }
                Err(_) if ready.is_read_closed() => {
                    return Err(Refusal::HungUp { received: self.len });
                }
                Err(_) => {}
            }
        }
    }
}

/// A client whose request is complete and waits for the switch's decision. Dropping it refuses.
#[derive(Debug)]
pub struct Pending {
    handshake: Handshake,
    request: Request,
    /// The length of the request in the control stream.
    octets: usize,
}

impl Pending {
    /// What the client wants.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Who wants it, by the kernel's word.
    pub fn peer(&self) -> PeerCredentials {
        self.handshake.peer
    }

    /// Grants the plug: connects a data socket to the client's, names it in the directory and
    /// tells the client its name. Waits for nothing but the file system in which the client's socket
    /// is, and for no more than [`LOOKUP_DEADLINE`](super::LOOKUP_DEADLINE).
    ///
    /// # Errors
    /// [`Refusal`]; the connection is closed by then.
    pub async fn accept(self) -> Result<Plug, Refusal> {
        match self.grant().await {
            Ok((data, file)) => {
                let Handshake { stream, peer, site } = self.handshake;
                let description = self.request.description;
                Plug::new(data, stream, peer, description, Some((file, site)))
                    .map_err(|source| Refusal::Local { what: "watch the data socket", source })
            }
            Err(refusal) => {
                tracing::debug!(peer = ?self.handshake.peer, reason = %refusal, "plug refused");
                Err(refusal)
            }
        }
    }

    /// Closes the connection at once; the protocol has no other way to say no.
    pub fn refuse(self, refusal: &Refusal) {
        tracing::debug!(peer = ?self.handshake.peer, reason = %refusal, "plug refused");
    }

    async fn grant(&self) -> Result<(OwnedFd, SocketFile), Refusal> {
        let local = |what| move |source| Refusal::Local { what, source };
        let Handshake { stream, peer, site } = &self.handshake;
        let data = data_socket(site.send_buffer).map_err(local("make a data socket"))?;
        // Before the socket has a name: once it is connected, nobody else can send to it.
        let data = site.lookups.reach(data, self.request.address, *peer).await?;
        let file = name_socket(data.as_fd(), site).map_err(local("name the data socket"))?;
        // A switch of root serves clients of any user, each with a socket of its own.
        let is_root = geteuid().is_root();
        let modes = site.access.modes;
        file.admit(Ownership {
            owner: is_root.then_some(peer.uid),
            group: site.access.group,
            mode: if is_root { modes.socket & 0o700 } else { modes.socket },
        })
        .map_err(local("set the mode of the data socket"))?;
        let reply = UnixAddress::from_path(file.path()).expect("the directory was measured");
        let hung_up = Refusal::HungUp { received: self.octets };
        // Straight to the socket: the runtime may hold the stream for drained, having seen that
        // nothing new came to what was peeked at.
        let mut request = [0; MAX_LEN + 1];
        let request = &mut request[..self.octets];
        match rustix::net::recv(stream, &mut *request, RecvFlags::DONTWAIT) {
            Ok((_, len)) if len == request.len() => {}
            _ => return Err(hung_up),
        }
        // One write: clients read once and take what they get for the whole.
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match rustix::net::send(stream, reply.as_bytes(), flags) {
            Ok(len) if len == reply.as_bytes().len() => Ok((data, file)),
            _ => Err(hung_up),
        }
    }
}

/// A datagram socket with room for a queue of `send_buffer` octets.
pub(crate) fn data_socket(send_buffer: usize) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    // Root may exceed the system's limit (net.core.wmem_max), others get up to it.
    if rustix::net::sockopt::set_socket_send_buffer_size_force(&socket, send_buffer).is_err() {
        rustix::net::sockopt::set_socket_send_buffer_size(&socket, send_buffer)?;
    }
    Ok(socket)
}

/// Binds the data socket to the next free name.
fn name_socket(data: BorrowedFd<'_>, site: &Site) -> io::Result<SocketFile> {
    for _ in 0..NAME_ATTEMPTS {
        let number = site.next_number.fetch_add(1, Ordering::Relaxed) % (MAX_NUMBER + 1);
        match SocketFile::bind(data, site.directory.path().join(format!("plug.{number}"))) {
            Err(error) if error.raw_os_error() == Some(Errno::ADDRINUSE.raw_os_error()) => {}
            bound => return bound,
        }
    }
    Err(Errno::ADDRINUSE.into())
}
