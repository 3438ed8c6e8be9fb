//! One conversation on the management socket, on the console, or with a start script.
//!
//! Octets go in, [`Step`]s and output come out; who drives it owns the socket, the clock, the
//! files and the link:
//!
//! 1. octets read → [`Session::handle_bytes`]; end of input → [`Session::handle_eof`]; the instant
//!    of [`Session::poll_timeout`] reached → [`Session::handle_timeout`];
//! 2. [`Session::poll_step`] until it has nothing more; each [`Step::Execute`] is answered with
//!    [`Session::handle_reply`], each [`Step::Read`] with [`Session::handle_script`];
//! 3. [`Session::take_output`] and write it.
//!
//! VDE takes whatever one read returned for one command. Here a line feed ends a command, several
//! may come at once, and what comes without one is taken after [`QUIET`].

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use console::Errno;

use crate::command::{Command, LinkCommand, help};
use crate::reply::{Failure, Reply};

/// The longest line, 4096 octets; VDE's is 128.
pub const MAX_LINE: usize = 4096;

/// How long a command without a line feed waits for one.
pub const QUIET: Duration = Duration::from_millis(200);

/// The longest script, 1 MiB.
pub const MAX_SCRIPT: usize = 1 << 20;

/// How deep scripts may load one another. VDE has no limit, and dies of one that loads itself.
pub const MAX_DEPTH: usize = 8;

/// The most output that waits for its reader. While there is more, no command is taken and no
/// change of state is told.
const MAX_OUTPUT: usize = 1 << 18;

const PROMPT: &str = "\nVDEwf$ ";
const END_OF_SESSION: &[u8] = b"9999 END OF SESSION";

/// What the driver of a session has to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Carry this out and answer with [`Session::handle_reply`].
    Execute(LinkCommand),
    /// Read this file and answer with [`Session::handle_script`].
    Read {
        /// As it was written.
        path: String,
    },
    /// Tell the user that a line of a start script failed. Nothing to answer.
    Complain(Complaint),
    /// Write what is left of the output, then end this session alone.
    Close,
    /// Write what is left of the output, then end the program.
    Shutdown,
}

/// A line of a start script that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}, line {number}: '{line}' was refused: {status}")]
pub struct Complaint {
    /// The script.
    pub path: String,
    /// From 1.
    pub number: usize,
    /// What it said.
    pub line: String,
    /// The last line of the reply.
    pub status: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Management,
    Console,
    Rc,
}

#[derive(Debug)]
struct Script {
    path: String,
    lines: std::vec::IntoIter<String>,
    /// Of the line last taken, from 1.
    number: usize,
    line: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Waiting {
    Nothing,
    Reply,
    Script(String),
}

/// One conversation.
#[derive(Debug)]
pub struct Session {
    kind: Kind,
    input: Vec<u8>,
    /// When the unfinished line at the end of the input was last added to.
    touched: Option<Instant>,
    /// The rest of a line that is too long is being skipped.
    skipping: bool,
    eof: bool,
    waiting: Waiting,
    scripts: Vec<Script>,
    complaint: Option<Complaint>,
    end: Option<Step>,
    ended: bool,
    markov_debug: bool,
    output: Vec<u8>,
}

impl Session {
    /// A client of the management socket: banner and prompt first.
    pub fn management(version: &str) -> Self {
        let mut session = Self::new(Kind::Management);
        session.output.extend_from_slice(banner(version).as_bytes());
        session.output.extend_from_slice(PROMPT.as_bytes());
        session
    }

    /// The console on standard input and output, whose end, and whose `logout`, end the program.
    /// As in VDE there is no prompt before the first command.
    pub const fn console() -> Self {
        Self::new(Kind::Console)
    }

    /// A start script, already read. It has no output; each line that fails is a
    /// [`Step::Complain`], its end is [`Step::Close`].
    pub fn rc(path: &str, text: &[u8]) -> Self {
        let mut session = Self::new(Kind::Rc);
        session.begin_script(path.to_owned(), text);
        session.eof = true;
        session
    }

    const fn new(kind: Kind) -> Self {
        Self {
            kind,
            input: Vec::new(),
            touched: None,
            skipping: false,
            eof: false,
            waiting: Waiting::Nothing,
            scripts: Vec::new(),
            complaint: None,
            end: None,
            ended: false,
            markov_debug: false,
            output: Vec::new(),
        }
    }

    /// Whether more octets should be read now. False while much input or output waits.
    pub const fn wants_input(&self) -> bool {
        !self.eof && !self.over() && self.input.len() <= MAX_LINE && !self.clogged()
    }

    /// Takes octets that were read.
    pub fn handle_bytes(&mut self, octets: &[u8], now: Instant) {
        if !self.over() && !self.eof && !octets.is_empty() {
            self.touched = Some(now);
            self.input.extend_from_slice(octets);
        }
    }

    /// Takes the end of the input: an unfinished line is carried out, then the session ends.
    pub fn handle_eof(&mut self) {
        if self.unfinished() {
            self.input.push(b'\n');
        }
        self.eof = true;
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        let idle = self.waiting == Waiting::Nothing && self.scripts.is_empty() && !self.over();
        let alone = self.unfinished() && !self.input.contains(&b'\n');
        self.touched.filter(|_| idle && alone && !self.clogged()).map(|touched| touched + QUIET)
    }

    /// Takes an unfinished line that has been left alone for [`QUIET`].
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|due| due <= now) {
            self.input.push(b'\n');
        }
    }

    /// Shows a change of state, if the session asked for it and its reader keeps up.
    pub fn handle_step(&mut self, text: &str) {
        if self.markov_debug && !self.over() && !self.clogged() {
            self.output.extend_from_slice(text.as_bytes());
            self.output.push(b'\n');
        }
    }

    /// Answers the [`Step::Execute`] before. Without one, nothing happens.
    pub fn handle_reply(&mut self, reply: &Reply) {
        if self.waiting == Waiting::Reply {
            self.waiting = Waiting::Nothing;
            self.answer(reply);
        }
    }

    /// Answers the [`Step::Read`] before with what the file holds, or why it cannot be read.
    /// Without one, nothing happens.
    pub fn handle_script(&mut self, text: Result<&[u8], Errno>) {
        let path = match std::mem::replace(&mut self.waiting, Waiting::Nothing) {
            Waiting::Script(path) => path,
            other => {
                self.waiting = other;
                return;
            }
        };
        match text {
            Ok(text) if text.len() > MAX_SCRIPT => self.refuse_load(Errno::EFBIG),
            Ok(text) => {
                if self.kind != Kind::Rc {
                    self.output.extend_from_slice(b"0000 DATA END WITH '.'\n");
                }
                self.begin_script(path, text);
            }
            Err(errno) => self.refuse_load(errno),
        }
    }

    /// What to do next; `None` when the session waits for an answer, for input, or for its output
    /// to be taken.
    pub fn poll_step(&mut self) -> Option<Step> {
        loop {
            if let Some(complaint) = self.complaint.take() {
                return Some(Step::Complain(complaint));
            }
            if let Some(end) = self.end.take() {
                self.ended = true;
                return Some(end);
            }
            if self.ended || self.waiting != Waiting::Nothing || self.clogged() {
                return None;
            }
            let line = if self.scripts.is_empty() {
                match self.next_input_line() {
                    Some(line) => line,
                    None if self.eof => {
                        self.end = Some(Step::Close);
                        continue;
                    }
                    None => return None,
                }
            } else {
                match self.next_script_line() {
                    Some(line) => Ok(line),
                    None => {
                        self.end_script();
                        continue;
                    }
                }
            };
            let step = match line {
                Ok(line) => self.take_line(&line),
                Err(errno) => {
                    self.answer(&Reply::failure(errno));
                    None
                }
            };
            if step.is_some() {
                return step;
            }
        }
    }

    /// The octets to write, oldest first. They are gone from the session.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    const fn over(&self) -> bool {
        self.ended || self.end.is_some()
    }

    const fn clogged(&self) -> bool {
        self.output.len() > MAX_OUTPUT
    }

    /// Whether the input ends within a line.
    fn unfinished(&self) -> bool {
        self.input.last().map_or(self.skipping, |last| *last != b'\n')
    }

    fn next_input_line(&mut self) -> Option<Result<String, Errno>> {
        let Some(end) = self.input.iter().position(|octet| *octet == b'\n') else {
            if self.input.len() > MAX_LINE {
                self.skipping = true;
                self.input.clear();
            }
            return None;
        };
        let line: Vec<u8> = self.input.drain(..=end).take(end).collect();
        if std::mem::take(&mut self.skipping) || line.len() > MAX_LINE {
            return Some(Err(Errno::EMSGSIZE));
        }
        Some(Ok(String::from_utf8_lossy(&line).into_owned()))
    }

    fn begin_script(&mut self, path: String, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let lines = lines.into_iter();
        self.scripts.push(Script { path, lines, number: 0, line: String::new() });
    }

    fn next_script_line(&mut self) -> Option<String> {
        let script = self.scripts.last_mut()?;
        let line = script.lines.next()?;
        script.number += 1;
        script.line.clone_from(&line);
        if self.kind != Kind::Rc {
            let echo = format!("{PROMPT} ({}) {line}\n", script.path);
            self.output.extend_from_slice(echo.as_bytes());
        }
        Some(line)
    }

    /// The end of a script is the answer to the `load` that began it.
    fn end_script(&mut self) {
        self.scripts.pop();
        if self.kind != Kind::Rc {
            self.output.extend_from_slice(b".\n");
            self.answer(&Reply::success());
        }
    }

    fn take_line(&mut self, line: &str) -> Option<Step> {
        match Command::parse(line) {
            Ok(None) => self.prompt(),
            Ok(Some(Command::Link(command))) => {
                self.waiting = Waiting::Reply;
                return Some(Step::Execute(command));
            }
            Ok(Some(Command::Help)) => self.answer(&help()),
            Ok(Some(Command::MarkovDebug(level))) => {
                self.markov_debug = level > 0;
                self.answer(&Reply::success());
            }
            // Who leaves or ends something is a person, not a script.
            Ok(Some(Command::Logout | Command::Shutdown)) if !self.scripts.is_empty() => {
                self.answer(&Reply::failure(Errno::EBADF));
            }
            Ok(Some(Command::Logout)) => self.finish(Step::Close),
            Ok(Some(Command::Shutdown)) => self.finish(Step::Shutdown),
            Ok(Some(Command::Load { path })) => {
                let circle = self.scripts.iter().any(|script| script.path == path);
                if circle || self.scripts.len() >= MAX_DEPTH {
                    self.refuse_load(Errno::ELOOP);
                } else {
                    self.waiting = Waiting::Script(path.clone());
                    return Some(Step::Read { path });
                }
            }
            Err(refusal) => self.answer(&refusal),
        }
        None
    }

    /// VDE sends an empty block before the code.
    fn refuse_load(&mut self, errno: Errno) {
        self.answer(&Reply::success().but(Failure::from(errno)));
    }

    fn finish(&mut self, step: Step) {
        if self.kind == Kind::Management {
            self.output.extend_from_slice(END_OF_SESSION);
        }
        self.input.clear();
        self.end = Some(step);
    }

    fn answer(&mut self, reply: &Reply) {
        if self.kind != Kind::Rc {
            reply.encode(&mut self.output);
        } else if let (false, Some(script)) = (reply.is_success(), self.scripts.last()) {
            self.complaint = Some(Complaint {
                path: script.path.clone(),
                number: script.number,
                line: script.line.trim().to_owned(),
                status: reply.status(),
            });
        }
        self.prompt();
    }

    /// Scripts echo one before each line instead.
    fn prompt(&mut self) {
        if self.kind != Kind::Rc && self.scripts.is_empty() {
            self.output.extend_from_slice(PROMPT.as_bytes());
        }
    }
}

/// The lines that open a management session. The first two begin as VDE's.
pub fn banner(version: &str) -> String {
    format!("\nVDE wirefilter V.{version}\nof vdenode, licensed under MIT OR Apache-2.0\n")
}
