//! A raw plug in a VDE switch: Debian's `vde_plug`, fed and read in stream form. It is a client
//! that the project did not write, which is its point.

use std::io::{self, Read, Write as _};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::frames::{BROADCAST, LOOP_PROBE, encode, frame};
use crate::process::{Process, Signal, command};
use crate::suite::Scene;
use crate::wait::wait_until;

/// How long a frame may take through programs on one busy machine.
const DELIVERY: Duration = Duration::from_secs(10);

/// A plug in a switch; unplugged when dropped.
#[derive(Debug)]
pub struct Plug {
    process: Process,
    input: ChildStdin,
    frames: Receiver<Vec<u8>>,
}

impl Plug {
    /// Plugs into the switch whose socket directory is `switch`. Returns before the switch has
    /// answered: see [`meet`].
    ///
    /// # Errors
    ///
    /// When `vde_plug` cannot be started.
    pub fn insert(scene: &Scene, name: &str, switch: &Path) -> Result<Self> {
        Self::insert_by(scene, name, command("vde_plug", None), &[], switch)
    }

    /// The same by a command that ends in `vde_plug`, such as one that changes the user first, and
    /// with options.
    ///
    /// # Errors
    ///
    /// When the program cannot be started.
    pub fn insert_by(
        scene: &Scene,
        name: &str,
        mut vde_plug: Command,
        options: &[&str],
        switch: &Path,
    ) -> Result<Self> {
        vde_plug.args(["-D", name]).args(options).arg(switch);
        let (process, input, output) = Process::spawn_piped(scene, name, &mut vde_plug)?;
        let (sender, frames) = channel();
        thread::spawn(move || {
            let mut output = output;
            while let Ok(frame) = read_frame(&mut output) {
                // What nodes send to find loops is not for guests.
                if frame.starts_with(&LOOP_PROBE) {
                    continue;
                }
                if sender.send(frame).is_err() {
                    return;
                }
            }
        });
        Ok(Self { process, input, frames })
    }

    /// Sends one frame.
    ///
    /// # Errors
    ///
    /// When `vde_plug` has ended, as it does when the switch refuses it.
    pub fn send(&mut self, frame: &[u8]) -> Result<()> {
        self.input.write_all(&encode(frame)).context("vde_plug takes no more frames")
    }

    /// The next frame, whatever it is.
    ///
    /// # Errors
    ///
    /// When none comes within ten seconds or `vde_plug` has ended.
    pub fn receive(&mut self) -> Result<Vec<u8>> {
        match self.frames.recv_timeout(DELIVERY) {
            Ok(frame) => Ok(frame),
            Err(RecvTimeoutError::Timeout) => bail!("no frame came within {DELIVERY:?}"),
            Err(RecvTimeoutError::Disconnected) => bail!("vde_plug has ended"),
        }
    }

    /// The next frame must be this one. One that is shorter than 60 octets may have been padded
    /// with zeros (IEEE 802.3: the shortest frame).
    ///
    /// # Errors
    ///
    /// When another frame comes, or none.
    pub fn expect(&mut self, frame: &[u8]) -> Result<()> {
        let received = self.receive()?;
        let (head, padding) = received.split_at(frame.len().min(received.len()));
        let padded = received.len() <= 60 && padding.iter().all(|&octet| octet == 0);
        let same = head.iter().zip(frame).take_while(|(came, sent)| came == sent).count();
        ensure!(
            same == frame.len() && (padding.is_empty() || padded),
            "{} octets were sent and {} came; octet {same} differs: expected {}, got {}",
            frame.len(),
            received.len(),
            excerpt(frame, same),
            excerpt(&received, same),
        );
        Ok(())
    }

    /// Frames that have arrived and were not yet taken.
    #[must_use]
    pub fn drain(&mut self) -> Vec<Vec<u8>> {
        self.frames.try_iter().collect()
    }

    /// Sends a signal to `vde_plug`.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Waits until `vde_plug` ends because the switch refuses it.
    ///
    /// # Errors
    ///
    /// When it still runs after ten seconds, or ends for another reason.
    pub fn wait_refusal(&mut self) -> Result<()> {
        self.wait_end()?;
        let said = self.process.log();
        ensure!(said.contains("vde_open "), "vde_plug did not get to ask for a plug: {said}");
        Ok(())
    }

    /// Waits until `vde_plug` ends by itself, as it must when its switch goes away.
    ///
    /// # Errors
    ///
    /// When it still runs after ten seconds.
    pub fn wait_end(&mut self) -> Result<()> {
        self.process.wait_end(DELIVERY).map(drop)
    }
}

/// The header of a frame and a few octets around a place in it.
fn excerpt(frame: &[u8], place: usize) -> String {
    let header = &frame[..frame.len().min(14)];
    let around = &frame[place.saturating_sub(4).min(frame.len())..frame.len().min(place + 8)];
    format!("{header:02x?} … {around:02x?} …")
}

/// Waits until frames pass between two plugs in both directions, and forgets those that were
/// needed to find out. After it, both stations' addresses are known to the switches between.
///
/// # Errors
///
/// When nothing passes within `within`.
pub fn meet(
    (a, station_a): (&mut Plug, [u8; 6]),
    (b, station_b): (&mut Plug, [u8; 6]),
    within: Duration,
) -> Result<()> {
    greet(a, station_a, b, within)?;
    greet(b, station_b, a, within)?;
    // What was sent once too often may still be under way: the last greeting ends it.
    finish(a, station_a, b)?;
    finish(b, station_b, a)
}

/// The payload's first octet of a frame that looks for somebody.
const GREETING: u8 = 1;
/// The payload's first octet of the frame that ends the greetings of one station.
const LAST_GREETING: u8 = 2;

fn greet(from: &mut Plug, station: [u8; 6], to: &mut Plug, within: Duration) -> Result<()> {
    wait_until("frames to pass between two plugs", within, || {
        from.send(&frame(BROADCAST, station, 60, GREETING))?;
        Ok(to.drain().iter().any(|received| received[6..12] == station))
    })
}

fn finish(from: &mut Plug, station: [u8; 6], to: &mut Plug) -> Result<()> {
    let last = frame(BROADCAST, station, 60, LAST_GREETING);
    from.send(&last)?;
    while to.receive()? != last {}
    Ok(())
}

fn read_frame(input: &mut ChildStdout) -> io::Result<Vec<u8>> {
    let mut len = [0; 2];
    input.read_exact(&mut len)?;
    let mut frame = vec![0; usize::from(u16::from_be_bytes(len))];
    input.read_exact(&mut frame)?;
    Ok(frame)
}
