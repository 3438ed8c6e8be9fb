//! Tap devices: made by `tun-tap`, then attached to a second time with virtio-net headers, which
//! that crate does not know.

#![expect(unsafe_code, reason = "ioctls on /dev/net/tun have no safe wrapper")]

use std::fs::OpenOptions;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;

use ether::{MacAddr, VnetHeader};
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tun_tap::{Iface, Mode};

use crate::config::Offload;
use crate::sys::watch::watch;

const TUN_DEVICE: &str = "/dev/net/tun";

/// Linux's tap features and requests (`linux/if_tun.h`) that the C library's headers lack in part.
const IFF_TAP: i16 = 0x0002;
const IFF_NO_PI: i16 = 0x1000;
const IFF_VNET_HDR: i16 = 0x4000;
const IFF_PERSIST: i16 = 0x0800;
const TUNSETIFF: u64 = 0x4004_54ca;
const TUNSETPERSIST: u64 = 0x4004_54cb;
const TUNGETIFF: u64 = 0x8004_54d2;
const TUNSETOFFLOAD: u64 = 0x4004_54d0;
const TUNSETVNETHDRSZ: u64 = 0x4004_54d8;
const TUNSETVNETLE: u64 = 0x4004_54dc;
/// Set on the tap's own descriptor, where no capability is needed beyond having it.
const SIOCSIFHWADDR: u64 = 0x8924;
const ARPHRD_ETHER: i16 = 1;

/// Offloads that this program understands, best first: partial checksums, TCP segmentation over
/// IPv4 and IPv6 with ECN, UDP segmentation over both (Linux 6.2).
const OFFLOAD_TCP: u32 = 0x01 | 0x02 | 0x04 | 0x08;
const OFFLOAD_UDP: u32 = 0x20 | 0x40;

#[repr(C)]
struct InterfaceRequest {
    name: [u8; 16],
    flags: i16,
    padding: [u8; 22],
}

/// An attached tap.
#[derive(Debug)]
pub(crate) struct Device {
    fd: AsyncFd<OwnedFd>,
    name: String,
    vnet: bool,
}

/// Why there is no tap.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TapError {
    /// The kernel has no tap support, or this container does not offer it.
    #[error(
        "cannot make tap {name}: {TUN_DEVICE} is missing; load the module (modprobe tun) or give the container that device"
    )]
    NoDriver {
        /// The interface.
        name: String,
    },
    /// Not allowed.
    #[error(
        "cannot make tap {name}: that needs root (CAP_NET_ADMIN); run as root, or have root make it for you: ip tuntap add {name} mode tap user $USER"
    )]
    NotAllowed {
        /// The interface.
        name: String,
    },
    /// Another process holds it.
    #[error("tap {name} is in use by another process; choose another name or stop that process")]
    Busy {
        /// The interface.
        name: String,
    },
    /// It is an interface of another kind.
    #[error("{name} is an interface, but no tap; choose another name")]
    OtherKind {
        /// The interface.
        name: String,
    },
    /// The name cannot be an interface's.
    #[error(
        "{name:?} cannot name an interface: 1 to 15 characters without blanks, slashes, colons and percent signs"
    )]
    BadName {
        /// As given.
        name: String,
    },
    /// The descriptor that was given is not open, or on something else.
    #[error(
        "descriptor {number} is not open on a tap ({source}); the program that starts this one must pass it, as a shell does with {number}<>/dev/tapN"
    )]
    NotATap {
        /// As given.
        number: i32,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else.
    #[error("cannot make tap {name}: {source}")]
    Other {
        /// The interface.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Device {
    /// Makes or attaches to the tap of that name: with virtio-net headers where that is wanted and
    /// the kernel lets us, else plain. A device that was persistent stays so,
    /// with its own MAC address; a new one gets `mac`.
    ///
    /// # Errors
    /// [`TapError`].
    pub(crate) fn open(name: &str, mac: MacAddr, offload: Offload) -> Result<Self, TapError> {
        // A percent sign would ask the kernel for a number of its choice.
        let allowed = |b: u8| b.is_ascii_graphic() && !b"/:%".contains(&b);
        if !(1..=15).contains(&name.len())
            || !name.bytes().all(allowed)
            || name == "."
            || name == ".."
        {
            return Err(TapError::BadName { name: name.to_owned() });
        }
        let failed = |source: io::Error| {
            let name = name.to_owned();
            match source.raw_os_error() {
                Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => TapError::NoDriver { name },
                Some(libc::EPERM | libc::EACCES) => TapError::NotAllowed { name },
                Some(libc::EBUSY) => TapError::Busy { name },
                Some(libc::EINVAL) => TapError::OtherKind { name },
                _ => TapError::Other { name, source },
            }
        };
        let plain = Iface::without_packet_info(name, Mode::Tap).map_err(failed)?;
        let was_persistent = interface(plain.as_raw_fd()).map_err(failed)?.flags & IFF_PERSIST != 0;
        if !was_persistent {
            set_mac(plain.as_raw_fd(), mac).map_err(failed)?;
        }
        let plain = match offload {
            Offload::Never => plain,
            Offload::WherePossible => match reattach(plain, name, was_persistent) {
                Ok(fd) => {
                    let fd = register(fd).map_err(failed)?;
                    return Ok(Self { fd, name: name.to_owned(), vnet: true });
                }
                Err((err, None)) => return Err(failed(err)),
                Err((err, Some(plain))) => {
                    tracing::info!(tap = name, %err, "no virtio-net headers: plain frames");
                    plain
                }
            },
        };
        // A device that once had offloads keeps them and would hand us super-frames.
        ioctl(plain.as_raw_fd(), TUNSETOFFLOAD, 0).map_err(failed)?;
        let fd = rustix::io::fcntl_dupfd_cloexec(plain_fd(&plain), 0)
            .map_err(|err| failed(err.into()))?;
        rustix::io::ioctl_fionbio(&fd, true).map_err(|err| failed(err.into()))?;
        let fd = register(fd).map_err(failed)?;
        Ok(Self { fd, name: name.to_owned(), vnet: false })
    }

    /// Takes over a descriptor that this process inherited, open on a tap or macvtap device.
    ///
    /// # Errors
    /// [`TapError::NotATap`]; [`TapError::Other`].
    pub(crate) fn inherit(number: i32, offload: Offload) -> Result<Self, TapError> {
        let not_a_tap = |source| TapError::NotATap { number, source };
        let request = interface(number).map_err(not_a_tap)?;
        if request.flags & IFF_TAP == 0 {
            return Err(not_a_tap(io::ErrorKind::InvalidInput.into()));
        }
        let len = request.name.iter().position(|octet| *octet == 0).unwrap_or(request.name.len());
        let name = String::from_utf8_lossy(&request.name[..len]).into_owned();
        let failed = |source: io::Error| TapError::Other { name: name.clone(), source };
        // SAFETY: the number was open just now. It came by the command line from whoever started
        // this process and gave it the descriptor; nothing else here knows or uses it.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        let vnet = request.flags & IFF_VNET_HDR != 0;
        if vnet {
            set_up_headers(&fd, offload).map_err(failed)?;
        } else {
            ioctl(number, TUNSETOFFLOAD, 0).map_err(failed)?;
        }
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)
            .map_err(|err| failed(err.into()))?;
        rustix::io::ioctl_fionbio(&fd, true).map_err(|err| failed(err.into()))?;
        let fd = register(fd).map_err(failed)?;
        Ok(Self { fd, name, vnet })
    }

    /// The interface's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether frames come and go with a virtio-net header.
    pub(crate) fn has_vnet(&self) -> bool {
        self.vnet
    }

    /// Waits until there may be a frame to read, or the interface is deleted.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub(crate) async fn readable(&self) -> io::Result<AsyncFdReadyGuard<'_, OwnedFd>> {
        self.fd.ready(Interest::READABLE.add(Interest::ERROR)).await
    }

    /// Waits until the interface is up. The kernel calls a tap writable only then, and tells when
    /// that changes, in whatever namespace the interface is.
    ///
    /// # Errors
    /// When there is no descriptor left for that.
    pub(crate) async fn up(&self) -> io::Result<()> {
        let copy = rustix::io::fcntl_dupfd_cloexec(self.fd.get_ref(), 0)?;
        let watched = watch(copy, Interest::WRITABLE)?;
        watched.writable().await.map(drop)
    }

    /// Reads one frame, and its header where there are headers.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; whatever else the device says.
    pub(crate) fn receive(
        &self,
        header: &mut [u8; VnetHeader::LEN],
        frame: &mut [u8],
    ) -> io::Result<usize> {
        if !self.vnet {
            return Ok(rustix::io::read(self.fd.get_ref(), frame)?);
        }
        let mut parts = [IoSliceMut::new(header), IoSliceMut::new(frame)];
        let len = rustix::io::readv(self.fd.get_ref(), &mut parts)?;
        len.checked_sub(VnetHeader::LEN).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Writes one frame, with its header where there are headers.
    ///
    /// # Errors
    /// What the device says: it is down, it has no memory, the header is wrong.
    pub(crate) fn send(&self, header: &VnetHeader, frame: &[u8]) -> io::Result<()> {
        if self.vnet {
            let header = header.encode();
            rustix::io::writev(self.fd.get_ref(), &[IoSlice::new(&header), IoSlice::new(frame)])?;
        } else {
            rustix::io::write(self.fd.get_ref(), frame)?;
        }
        Ok(())
    }
}

fn register(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    watch(fd, Interest::READABLE.add(Interest::ERROR))
}

fn plain_fd(iface: &Iface) -> std::os::fd::BorrowedFd<'_> {
    // SAFETY: `Iface` keeps its descriptor open as long as it lives, and the borrow does not
    // outlive it.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(iface.as_raw_fd()) }
}

/// Attaches to the device of `plain` again, with virtio-net headers. The device is persistent for
/// the moment in which nobody is attached. When that fails `plain`, or its equal, is given back,
/// unless the device cannot be attached to at all any more.
fn reattach(
    plain: Iface,
    name: &str,
    was_persistent: bool,
) -> Result<OwnedFd, (io::Error, Option<Iface>)> {
    if let Err(err) = ioctl(plain.as_raw_fd(), TUNSETPERSIST, 1) {
        return Err((err, Some(plain)));
    }
    drop(plain);
    let attached = attach_with_headers(name);
    let restore = |fd: RawFd| {
        if was_persistent { Ok(()) } else { ioctl(fd, TUNSETPERSIST, 0) }
    };
    let result = attached.and_then(|fd| restore(fd.as_raw_fd()).map(|()| fd));
    result.map_err(|err| {
        let plain = Iface::without_packet_info(name, Mode::Tap).ok();
        if let Some(plain) = &plain {
            let _ = restore(plain.as_raw_fd());
        }
        (err, plain)
    })
}

fn attach_with_headers(name: &str) -> io::Result<OwnedFd> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(TUN_DEVICE)?;
    let fd = OwnedFd::from(file);
    let mut request = InterfaceRequest { name: [0; 16], flags: 0, padding: [0; 22] };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    request.flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, of 40 octets; `request` has that
    // layout and outlives the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), TUNSETIFF as _, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    set_up_headers(&fd, Offload::WherePossible)?;
    Ok(fd)
}

/// Settles the form of the virtio-net headers of a device that has them.
fn set_up_headers(fd: &OwnedFd, offload: Offload) -> io::Result<()> {
    let fd = fd.as_raw_fd();
    let header_len = i32::try_from(VnetHeader::LEN).expect("ten");
    ioctl_pointer(fd, TUNSETVNETHDRSZ, header_len)?;
    ioctl_pointer(fd, TUNSETVNETLE, 1)?;
    match offload {
        Offload::Never => ioctl(fd, TUNSETOFFLOAD, 0),
        Offload::WherePossible => ioctl(fd, TUNSETOFFLOAD, OFFLOAD_TCP | OFFLOAD_UDP)
            .or_else(|_old_kernel| ioctl(fd, TUNSETOFFLOAD, OFFLOAD_TCP)),
    }
}

fn set_mac(fd: RawFd, mac: MacAddr) -> io::Result<()> {
    let mut request = InterfaceRequest { name: [0; 16], flags: ARPHRD_ETHER, padding: [0; 22] };
    request.padding[..6].copy_from_slice(&mac.0);
    // SAFETY: SIOCSIFHWADDR reads one `struct ifreq`, of 40 octets, whose union here holds a
    // `sockaddr`: the family and then the address; `request` has that layout and outlives the call.
    let result = unsafe { libc::ioctl(fd, SIOCSIFHWADDR as _, &raw const request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The name and flags of the device on which a descriptor is open.
fn interface(fd: RawFd) -> io::Result<InterfaceRequest> {
    let mut request = InterfaceRequest { name: [0; 16], flags: 0, padding: [0; 22] };
    // SAFETY: TUNGETIFF writes one `struct ifreq`, of 40 octets; `request` has that layout and
    // outlives the call.
    let result = unsafe { libc::ioctl(fd, TUNGETIFF as _, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(request) }
}

fn ioctl(fd: RawFd, request: u64, value: u32) -> io::Result<()> {
    // SAFETY: the requests passed here take their argument by value and touch no memory of ours.
    let result = unsafe { libc::ioctl(fd, request as _, libc::c_ulong::from(value)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn ioctl_pointer(fd: RawFd, request: u64, value: i32) -> io::Result<()> {
    // SAFETY: the requests passed here read one `int`, which outlives the call.
    let result = unsafe { libc::ioctl(fd, request as _, &raw const value) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
