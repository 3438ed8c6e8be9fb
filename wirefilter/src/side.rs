//! One side of the link: a pair of pipes or a plug of a switch, with the same four verbs.

use std::io;
use std::os::fd::RawFd;

use anyhow::Context as _;
use vdeplug::stream::{Decoder, Framing, OpenError, RecvError, StreamConfig, StreamPort};
use vdeplug::{ClientOptions, Plug, RecvBatch, SendError};

use crate::cli::Place;
use crate::sys::inherited;

/// The longest frame that libvdeplug takes.
const MAX_FRAME: usize = Framing::Vde.max_received();

/// Destination, source and EtherType. What is shorter is no frame.
const MIN_FRAME: usize = 14;

/// Where frames come from and go to.
#[derive(Debug)]
pub(crate) enum Side {
    Stream { port: StreamPort, decoder: Box<Decoder> },
    Plug { plug: Box<Plug>, batch: RecvBatch },
}

/// What a side said when it was asked for frames.
#[derive(Debug)]
pub(crate) enum Received {
    /// Some came.
    Frames,
    /// None now.
    Nothing,
    /// None any more, and why if it is worth telling.
    Closed(Option<String>),
}

/// What became of frames that were to go out.
#[derive(Debug)]
pub(crate) enum Sent {
    /// This many are gone; the others find no room now.
    Some(usize),
    /// Nobody is there any more.
    Closed,
}

/// What a side dropped because it could not pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Unfit {
    /// Frames too short for Ethernet, or too long for the other side.
    pub(crate) frames: u64,
}

impl Side {
    pub(crate) async fn open(place: &Place) -> anyhow::Result<Self> {
        match place {
            Place::Stdio => Self::stdio(),
            Place::Switch { path, port } => {
                let mut options = ClientOptions::new("wirefilter");
                options.port = *port;
                let plug = vdeplug::connect(path.as_deref(), options).await?;
                // One octet more, so that a frame that is too long is seen to be.
                Ok(Self::Plug { plug: Box::new(plug), batch: RecvBatch::new(MAX_FRAME + 1) })
            }
        }
    }

    pub(crate) fn stdio() -> anyhow::Result<Self> {
        let opened = StreamPort::stdio(stream());
        Ok(Self::stream(opened.context("standard input and output cannot carry frames")?))
    }

    /// The pipes on the left and on the right of a program under dpipe: standard input and output,
    /// and those whose numbers are in the environment. `None`: there is no second pair.
    pub(crate) fn alternate() -> anyhow::Result<Option<Self>> {
        let number = |name: &str| -> anyhow::Result<Option<RawFd>> {
            let Some(value) = std::env::var_os(name) else { return Ok(None) };
            let number = value.to_str().and_then(|value| value.parse().ok());
            number.map(Some).with_context(|| format!("{name}={value:?} is no descriptor"))
        };
        let numbers = (number("ALTERNATE_STDIN")?, number("ALTERNATE_STDOUT")?);
        let (Some(input), Some(output)) = numbers else { return Ok(None) };
        let own = |number| inherited(number).context("the second pair of pipes is not open");
        let opened: Result<_, OpenError> = StreamPort::pair(own(input)?, own(output)?, stream());
        Ok(Some(Self::stream(opened.context("the second pair of pipes cannot carry frames")?)))
    }

    fn stream(port: StreamPort) -> Self {
        let decoder = Box::new(port.decoder());
        Self::Stream { port, decoder }
    }

    /// Waits until frames may have come. Cancel safe.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Stream { port, decoder } => port.readable(decoder).await,
            Self::Plug { plug, .. } => plug.readable().await,
        }
    }

    /// Waits until there may be room. Cancel safe.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Stream { port, .. } => port.writable().await,
            Self::Plug { plug, .. } => plug.writable().await,
        }
    }

    /// Waits until the other end goes. Pipes say so to who reads them. Cancel safe.
    pub(crate) async fn hung_up(&self) {
        match self {
            Self::Stream { .. } => std::future::pending().await,
            Self::Plug { plug, .. } => drop(plug.hung_up().await),
        }
    }

    /// Takes what has come, up to 64 frames, without waiting.
    pub(crate) fn receive(&mut self, unfit: &mut Unfit, mut take: impl FnMut(&[u8])) -> Received {
        let mut take = |frame: &[u8], whole: bool| {
            if whole && (MIN_FRAME..=MAX_FRAME).contains(&frame.len()) {
                take(frame);
            } else {
                unfit.frames += 1;
            }
        };
        match self {
            Self::Stream { port, decoder } => match port.try_recv_batch(decoder) {
                Ok(_) => {
                    decoder.frames().for_each(|frame| take(frame, true));
                    Received::Frames
                }
                Err(RecvError::WouldBlock) => Received::Nothing,
                Err(RecvError::Closed) => Received::Closed(None),
                Err(err) => Received::Closed(Some(err.to_string())),
            },
            Self::Plug { plug, batch } => match plug.try_recv_batch(batch) {
                Ok(_) => {
                    batch.iter().for_each(|datagram| take(datagram.bytes, !datagram.truncated));
                    Received::Frames
                }
                // Nothing there, or nobody: the control stream says when a switch is gone.
                Err(_) => Received::Nothing,
            },
        }
    }

    /// Sends frames in order, as many as there is room for. One that can never pass is dropped.
    pub(crate) fn send(&mut self, frames: &[&[u8]], unfit: &mut Unfit) -> Sent {
        let mut done = 0;
        while done < frames.len() {
            let outcome = match self {
                Self::Stream { port, .. } => port.try_send_batch(&frames[done..]),
                Self::Plug { plug, .. } => plug.try_send_batch(&frames[done..]),
            };
            done += outcome.sent;
            match outcome.stopped {
                None => {}
                Some(SendError::WouldBlock) => break,
                Some(SendError::PeerGone) => return Sent::Closed,
                Some(SendError::TooLong | SendError::Other(_)) => {
                    unfit.frames += 1;
                    done += 1;
                }
            }
        }
        Sent::Some(done)
    }

    /// Sends the rest of a frame that was begun.
    pub(crate) fn flush(&mut self) -> Sent {
        match self {
            Self::Stream { port, .. } => match port.flush_queued() {
                Ok(()) | Err(SendError::WouldBlock) => Sent::Some(0),
                Err(_) => Sent::Closed,
            },
            Self::Plug { .. } => Sent::Some(0),
        }
    }

    /// Octets that wait for room inside the side itself.
    pub(crate) fn queued(&self) -> usize {
        match self {
            Self::Stream { port, .. } => port.queued(),
            Self::Plug { .. } => 0,
        }
    }
}

/// Two equals are connected: what one of them sends the other takes. Nothing waits behind the
/// link but the rest of a frame that was begun.
const fn stream() -> StreamConfig {
    StreamConfig { framing: Framing::Vde, max_sent: MAX_FRAME, queue: 0 }
}
