//! What the trials share: a running wirefilter in pipes, frames in and out of it, its console.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How long anything may take; reached only when something is broken.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The one under test.
pub(crate) const OURS: &str = env!("CARGO_BIN_EXE_wirefilter");

/// VDE's own, if it is installed.
pub(crate) const THEIRS: &str = "/usr/bin/wirefilter";

#[expect(clippy::disallowed_methods, reason = "real programs take real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Asks again and again until there is an answer.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(now() < end, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

/// A process that does not outlive its trial.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    pub(crate) fn ended(&mut self) -> ExitStatus {
        wait_for("the program's end", || self.0.try_wait().unwrap())
    }

    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(self.0.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    pub(crate) fn said(&mut self) -> String {
        let mut text = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

/// A wirefilter between two pipes, one way.
pub(crate) struct Piped {
    pub(crate) running: Running,
    input: Option<ChildStdin>,
    frames: Receiver<Vec<u8>>,
}

impl Piped {
    pub(crate) fn start(program: &str, options: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = child.stdout.take().unwrap();
        let (sender, frames) = channel();
        std::thread::spawn(move || read_frames(output, &sender));
        Self { running: Running(child), input, frames }
    }

    pub(crate) fn send(&mut self, frame: &[u8]) {
        write_frame(self.input.as_mut().unwrap(), frame).unwrap();
    }

    pub(crate) fn send_octets(&mut self, octets: &[u8]) {
        self.input.as_mut().unwrap().write_all(octets).unwrap();
    }

    /// As [`Self::send`], to a program that may be gone.
    pub(crate) fn try_send(&mut self, frame: &[u8]) {
        let _ = write_frame(self.input.as_mut().unwrap(), frame);
    }

    pub(crate) fn receive_within(&self, time: Duration) -> Option<Vec<u8>> {
        self.frames.recv_timeout(time).ok()
    }

    pub(crate) fn receive(&self) -> Vec<u8> {
        self.frames.recv_timeout(DEADLINE).expect("a frame comes out")
    }

    /// What comes out until the end of the output, once the input has ended.
    pub(crate) fn rest(&mut self) -> Vec<Vec<u8>> {
        self.input = None;
        let mut frames = Vec::new();
        loop {
            match self.frames.recv_timeout(DEADLINE) {
                Ok(frame) => frames.push(frame),
                Err(RecvTimeoutError::Disconnected) => return frames,
                Err(RecvTimeoutError::Timeout) => panic!("the output does not end"),
            }
        }
    }

    pub(crate) fn stop_reading(&mut self) {
        let (_, nothing) = channel();
        self.frames = nothing;
    }
}

pub(crate) fn write_frame(mut to: impl io::Write, frame: &[u8]) -> io::Result<()> {
    let len = u16::try_from(frame.len()).unwrap();
    to.write_all(&[&len.to_be_bytes(), frame].concat())
}

pub(crate) fn read_frames(mut from: impl io::Read, to: &Sender<Vec<u8>>) {
    let mut len = [0; 2];
    while from.read_exact(&mut len).is_ok() {
        let mut frame = vec![0; usize::from(u16::from_be_bytes(len))];
        if from.read_exact(&mut frame).is_err() || to.send(frame).is_err() {
            return;
        }
    }
}

/// A frame with a number in it.
pub(crate) fn frame(number: u32, octets: usize) -> Vec<u8> {
    let mut frame = vec![0x55; octets];
    frame[..4].copy_from_slice(&number.to_be_bytes());
    frame
}

pub(crate) fn number(frame: &[u8]) -> u32 {
    u32::from_be_bytes(*frame.first_chunk().unwrap())
}

/// Runs a wirefilter that ends by itself.
pub(crate) fn output(options: &[&str]) -> Output {
    Command::new(OURS).args(options).stdin(Stdio::null()).output().unwrap()
}

/// A session on a management socket.
pub(crate) struct Console(UnixStream);

const PROMPT: &str = "\nVDEwf$ ";

impl Console {
    pub(crate) fn connect(path: &Path) -> Self {
        let stream = wait_for("the management socket", || UnixStream::connect(path).ok());
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut console = Self(stream);
        console.until(PROMPT);
        console
    }

    /// The answer to one line.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.0.write_all(line.as_bytes()).unwrap();
        self.until(PROMPT)
    }

    pub(crate) fn say(&mut self, line: &str) {
        self.0.write_all(line.as_bytes()).unwrap();
    }

    /// Everything up to a text, which is cut off.
    pub(crate) fn until(&mut self, text: &str) -> String {
        let mut got = Vec::new();
        let mut octet = [0];
        while !got.ends_with(text.as_bytes()) {
            match self.0.read(&mut octet) {
                Ok(1) => got.push(octet[0]),
                other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&got)),
            }
        }
        got.truncate(got.len() - text.len());
        String::from_utf8(got).unwrap()
    }
}

/// A short-lived directory; its paths fit in a socket's address.
pub(crate) fn scene() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("wf-").tempdir().unwrap()
}

pub(crate) fn path(scene: &tempfile::TempDir, name: &str) -> PathBuf {
    scene.path().join(name)
}
