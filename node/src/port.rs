//! Bridge ports: what is behind each, its counters, and how a batch leaves through it.

pub(crate) mod cable;
pub(crate) mod tap;
pub(crate) mod vde;

use std::rc::Rc;

use ::cable::{CableId, Link};
use arrayvec::ArrayVec;
use ether::VnetHeader;
use ether::segment::{SegmentBuffer, split_into};
use fabric::{DropCounters, DropReason};
use vdeplug::Plug;

use crate::plane::{BATCH, Frame, Frames, Routes};

/// What moves through a port. Every counter is of frames or octets since the port was plugged in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    /// Frames accepted from it.
    pub(crate) rx_frames: u64,
    /// Their octets.
    pub(crate) rx_bytes: u64,
    /// Frames that left through it, after segmentation.
    pub(crate) tx_frames: u64,
    /// Their octets.
    pub(crate) tx_bytes: u64,
    /// Frames lost on the way in or out.
    pub(crate) drops: DropCounters,
}

/// What is behind a port.
#[derive(Debug)]
pub(crate) enum PortIo {
    /// A client of the VDE socket.
    Vde(Rc<Plug>),
    /// An interface of this host.
    Tap(Rc<tap::Tap>),
    /// Another node.
    Cable(Rc<Link>),
}

/// A bridge port.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) io: PortIo,
    /// The client's own words, the interface's name, or the peer's name.
    pub(crate) description: String,
    /// The longest frame, without virtio-net header, that what is behind it takes.
    pub(crate) max_frame: usize,
    pub(crate) counters: Counters,
    /// Indices of the frames of the present batch that leave here.
    pub(crate) share: ArrayVec<usize, BATCH>,
    /// The cable's id, to find the port again.
    pub(crate) cable: Option<CableId>,
}

/// A frame in the form in which a port takes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    /// The frame of the batch that it is, or is a segment of.
    pub(crate) index: usize,
    /// What is left to be done to it.
    pub(crate) vnet: VnetHeader,
    pub(crate) bytes: &'a [u8],
}

impl Port {
    pub(crate) fn new(io: PortIo, description: String, max_frame: usize) -> Self {
        Self {
            io,
            description,
            max_frame,
            counters: Counters::default(),
            share: ArrayVec::new(),
            cable: None,
        }
    }

    /// The word for what is behind it.
    pub(crate) fn kind(&self) -> &'static str {
        match self.io {
            PortIo::Vde(_) => "vde",
            PortIo::Tap(_) => "tap",
            PortIo::Cable(_) => "cable",
        }
    }

    /// Whether super-frames cross it whole.
    pub(crate) fn has_offload(&self) -> bool {
        match &self.io {
            PortIo::Vde(_) => false,
            PortIo::Tap(tap) => tap.device.has_vnet(),
            PortIo::Cable(link) => link.takes_super_frames(),
        }
    }

    /// Sends this port's share of a batch.
    pub(crate) fn flush(
        &mut self,
        frames: &Frames<'_>,
        routes: &Routes,
        segments: &mut SegmentBuffer,
    ) {
        let share = std::mem::take(&mut self.share);
        let counters = &mut self.counters;
        match &self.io {
            PortIo::Vde(plug) => {
                let whole = |vnet: &VnetHeader| vnet.is_plain();
                emit(
                    &share,
                    frames,
                    whole,
                    segments,
                    counters,
                    |counters, parts| {
                        vde::send(plug, parts, self.max_frame, counters);
                    },
                );
            }
            PortIo::Tap(tap) => {
                let whole = |vnet: &VnetHeader| tap.device.has_vnet() || vnet.is_plain();
                emit(
                    &share,
                    frames,
                    whole,
                    segments,
                    counters,
                    |counters, parts| {
                        for part in parts {
                            tap.send(part, counters);
                        }
                    },
                );
            }
            PortIo::Cable(link) => {
                let whole = |vnet: &VnetHeader| cable::goes_whole(link, vnet);
                emit(
                    &share,
                    frames,
                    whole,
                    segments,
                    counters,
                    |counters, parts| {
                        cable::send(link, parts, routes, counters);
                    },
                );
            }
        }
    }
}

/// Gives `send` the frames of a share in batches, those that do not go `whole` cut and completed.
fn emit(
    share: &[usize],
    frames: &Frames<'_>,
    whole: impl Fn(&VnetHeader) -> bool,
    segments: &mut SegmentBuffer,
    counters: &mut Counters,
    mut send: impl FnMut(&mut Counters, &[Part<'_>]),
) {
    // All segments come first, because the buffer grows with them; then they can be lent out.
    segments.clear();
    let mut cut = ArrayVec::<usize, BATCH>::new();
    for &index in share {
        let Frame { bytes, vnet, .. } = frames[index];
        if !whole(&vnet) {
            let before = segments.len();
            if let Err(err) = split_into(vnet, bytes, segments) {
                counters.drops.record(DropReason::from(err));
            }
            cut.push(segments.len() - before);
        }
    }
    let mut segments = segments.iter();
    let mut cut = cut.into_iter();
    let mut parts = ArrayVec::<Part<'_>, BATCH>::new();
    let mut push = |part| {
        parts.push(part);
        if parts.is_full() {
            send(counters, &parts);
            parts.clear();
        }
    };
    for &index in share {
        let Frame { bytes, vnet, .. } = frames[index];
        if whole(&vnet) {
            push(Part { index, vnet, bytes });
        } else {
            for bytes in segments.by_ref().take(cut.next().unwrap_or(0)) {
                push(Part {
                    index,
                    vnet: VnetHeader::PLAIN,
                    bytes,
                });
            }
        }
    }
    if !parts.is_empty() {
        send(counters, &parts);
    }
}
