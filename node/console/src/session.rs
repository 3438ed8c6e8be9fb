//! One conversation on the management socket, on the console, or with a start script.
//!
//! Octets go in, [`Step`]s and output come out; who drives it owns the socket, the clock and the
//! switch:
//!
//! 1. octets read → [`Session::handle_bytes`]; end of input → [`Session::handle_eof`]; the instant
//!    of [`Session::poll_timeout`] reached → [`Session::handle_timeout`];
//! 2. [`Session::poll_step`] until it has nothing more; a [`Step::Execute`] is answered with
//!    [`Session::handle_reply`], a [`Step::Load`] with [`Session::handle_script`];
//! 3. [`Session::take_output`] and write it.
//!
//! VDE takes whatever one read returned for one command, so scripts had to pause between lines.
//! Here a line feed ends a command, several may come at once, and what comes without one is taken
//! after [`QUIET`]. Lines end a script's commands too, where VDE cuts them at 127 octets.

mod script;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use crate::command::{self, Command, ConsoleCommand, SwitchCommand};
use crate::errno::Errno;
use crate::event::{Event, Subscriptions};
use crate::reply::Reply;
use crate::view::banner;
use script::Script;

/// The longest line, 4096 octets; VDE's is 128. A longer one is refused with
/// [`Errno::EMSGSIZE`].
pub const MAX_LINE: usize = 4096;

/// How long a command without a line feed waits for one: 200 ms, longer than the gap between two
/// parts of one write, shorter than a person's patience.
pub const QUIET: Duration = Duration::from_millis(200);

/// The longest script, 1 MiB. A longer one is refused with [`Errno::EFBIG`].
pub const MAX_SCRIPT: usize = 1 << 20;

/// How deep scripts may load one another: 8. VDE has no limit, and dies of a script that loads
/// itself.
pub const MAX_DEPTH: usize = 8;

/// The most input that waits for its turn: 64 KiB. Who sends more while
/// [`Session::wants_input`] is false is disconnected.
const MAX_INPUT: usize = 1 << 16;

/// The most output that waits for its reader: 256 KiB, more than a large table of ports. While
/// there is more, no command is taken and events are dropped.
const MAX_OUTPUT: usize = 1 << 18;

const PROMPT: &[u8] = b"\nvde$ ";
const END_OF_SESSION: &[u8] = b"9999 END OF SESSION";

/// Why `plugin/add` is refused.
const NO_PLUGINS: &str = "this switch loads no code while it runs";

/// What the driver of a session has to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Carry this out and answer with [`Session::handle_reply`].
    Execute(SwitchCommand),
    /// Read this file and answer with [`Session::handle_script`].
    Load {
        /// As it was written; empty when there was no argument.
        path: String,
    },
    /// Tell the log that a line of a start script failed. Nothing to answer.
    Complain(Complaint),
    /// Write what is left of the output, then end this session alone.
    Close,
    /// Write what is left of the output, then end the switch.
    Shutdown,
}

/// A line of a start script that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}, line {number}: {line:?} was refused: {status}")]
pub struct Complaint {
    /// The script.
    pub path: String,
    /// From 1.
    pub number: usize,
    /// What it said.
    pub line: String,
    /// The last line of the reply: `1017 File exists`.
    pub status: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Management,
    Console,
    Rc,
}

/// Whether the console has a person in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt {
    /// A terminal: prompts are shown.
    Shown,
    /// A pipe: the output is replies alone, as VDE's is.
    Hidden,
}

/// What the session waits for.
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
    prompt: Prompt,
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
    subscriptions: Subscriptions,
    output: Vec<u8>,
    dropped_events: u64,
}

impl Session {
    /// A client of the management socket: banner, prompt, and `9999 END OF SESSION` at the end.
    pub fn management(version: &str) -> Self {
        let mut session = Self::new(Kind::Management, Prompt::Shown);
        session.output.extend_from_slice(banner(version).as_bytes());
        session.write_prompt();
        session
    }

    /// The console on standard input and output. No banner; `logout` does nothing; the end of the
    /// input is [`Step::Close`], on which VDE ends the switch unless told `--nostdin`.
    pub fn console(prompt: Prompt) -> Self {
        let mut session = Self::new(Kind::Console, prompt);
        session.write_prompt();
        session
    }

    /// A start script, already read. It has no output; each line that fails is a
    /// [`Step::Complain`], its end is [`Step::Close`]. `load` and `debug` have nobody to answer to
    /// and fail with [`Errno::EBADF`]; `logout` and `shutdown` do nothing, as in every script.
    pub fn rc(path: &str, text: Vec<u8>) -> Self {
        let mut session = Self::new(Kind::Rc, Prompt::Hidden);
        session.scripts.push(Script::new(path.to_owned(), text));
        session.eof = true;
        session
    }

    const fn new(kind: Kind, prompt: Prompt) -> Self {
        Self {
            kind,
            prompt,
            input: Vec::new(),
            touched: None,
            skipping: false,
            eof: false,
            waiting: Waiting::Nothing,
            scripts: Vec::new(),
            complaint: None,
            end: None,
            ended: false,
            subscriptions: Subscriptions(0),
            output: Vec::new(),
            dropped_events: 0,
        }
    }
}

/// Input.
impl Session {
    /// Whether more octets should be read now. False while much input or output waits.
    pub fn wants_input(&self) -> bool {
        !self.eof && !self.over() && self.input.len() < MAX_INPUT / 2 && !self.clogged()
    }

    /// Takes octets that were read. At most 32 KiB at once can be sure of a place.
    pub fn handle_bytes(&mut self, octets: &[u8], now: Instant) {
        if self.over() || self.eof || octets.is_empty() {
            return;
        }
        self.touched = Some(now);
        self.input.extend_from_slice(octets);
        self.skip_overlong();
        if self.input.len() > MAX_INPUT {
            self.finish(Step::Close);
        }
    }

    /// Takes the end of the input: an unfinished line is carried out, then the session ends.
    pub fn handle_eof(&mut self) {
        if self.unfinished() && !self.over() {
            self.input.push(b'\n');
        }
        self.eof = true;
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        let idle = self.waiting == Waiting::Nothing && self.scripts.is_empty() && !self.over();
        let complete = self.input.contains(&b'\n');
        if !idle || !self.unfinished() || complete || self.clogged() {
            return None;
        }
        self.touched.map(|touched| touched + QUIET)
    }

    /// Takes an unfinished line that has been left alone for [`QUIET`].
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|due| due <= now) {
            self.input.push(b'\n');
        }
    }

    /// Shows an event, if the session subscribed to it and its reader keeps up.
    pub fn handle_event(&mut self, event: &Event) {
        if self.over() || !self.subscriptions.wants(event) {
            return;
        }
        if self.clogged() {
            self.dropped_events += 1;
            return;
        }
        self.output.extend_from_slice(format!("{event}\n").as_bytes());
    }

    /// Answers the [`Step::Execute`] before. Without one, nothing happens.
    pub fn handle_reply(&mut self, reply: &Reply) {
        if self.waiting == Waiting::Reply {
            self.waiting = Waiting::Nothing;
            self.answer(reply);
        }
    }

    /// Answers the [`Step::Load`] before with what the file holds, or why it cannot be read.
    /// Without one, nothing happens.
    pub fn handle_script(&mut self, text: Result<Vec<u8>, Errno>) {
        let path = match std::mem::replace(&mut self.waiting, Waiting::Nothing) {
            Waiting::Script(path) => path,
            other => {
                self.waiting = other;
                return;
            }
        };
        match text {
            Ok(text) if text.len() > MAX_SCRIPT => self.answer(&Reply::failure(Errno::EFBIG)),
            Ok(text) => self.scripts.push(Script::new(path, text)),
            Err(errno) => self.answer(&Reply::failure(errno)),
        }
    }
}

/// Output.
impl Session {
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
            if !self.scripts.is_empty() {
                match self.next_script_line() {
                    Some(line) => {
                        if let Some(step) = self.take_line(&line) {
                            return Some(step);
                        }
                    }
                    None => self.end_script(),
                }
                continue;
            }
            match self.next_input_line() {
                Some(Line::TooLong) => self.answer(&Reply::failure(Errno::EMSGSIZE)),
                Some(Line::Whole(line)) => {
                    if let Some(step) = self.take_line(&line) {
                        return Some(step);
                    }
                }
                None if self.eof => self.end = Some(Step::Close),
                None => return None,
            }
        }
    }

    /// The octets to write, oldest first. They are gone from the session.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// How many events were dropped because the output was not taken.
    pub const fn dropped_events(&self) -> u64 {
        self.dropped_events
    }

    fn over(&self) -> bool {
        self.ended || self.end.is_some()
    }

    const fn clogged(&self) -> bool {
        self.output.len() > MAX_OUTPUT
    }

    fn finish(&mut self, step: Step) {
        if self.kind == Kind::Management {
            self.output.extend_from_slice(END_OF_SESSION);
        }
        self.input.clear();
        self.end = Some(step);
    }

    fn write_prompt(&mut self) {
        if self.prompt == Prompt::Shown {
            self.output.extend_from_slice(PROMPT);
        }
    }
}

/// Lines.
impl Session {
    fn next_input_line(&mut self) -> Option<Line> {
        let end = self.input.iter().position(|octet| *octet == b'\n')?;
        let mut line: Vec<u8> = self.input.drain(..=end).collect();
        line.pop();
        let skipped = std::mem::take(&mut self.skipping);
        self.skip_overlong();
        if skipped || line.len() > MAX_LINE {
            return Some(Line::TooLong);
        }
        Some(Line::Whole(line))
    }

    /// Whether the input ends within a line.
    fn unfinished(&self) -> bool {
        match self.input.last() {
            Some(last) => *last != b'\n',
            None => self.skipping,
        }
    }

    /// Forgets an unfinished line once it is too long; its end is still waited for.
    fn skip_overlong(&mut self) {
        let unfinished = !self.input.contains(&b'\n');
        if unfinished && (self.skipping || self.input.len() > MAX_LINE) {
            self.skipping = true;
            self.input.clear();
        }
    }

    fn next_script_line(&mut self) -> Option<Vec<u8>> {
        let script = self.scripts.last_mut()?;
        let line = script.next_line()?;
        let echo = format!("vde[{}]: ", script.path);
        if self.kind != Kind::Rc {
            self.output.extend_from_slice(echo.as_bytes());
            self.output.extend_from_slice(&line);
            self.output.push(b'\n');
        }
        Some(line)
    }

    /// The end of a script is the answer to the `load` that began it.
    fn end_script(&mut self) {
        self.scripts.pop();
        if self.kind != Kind::Rc {
            self.answer(&Reply::success());
        }
    }

    fn take_line(&mut self, line: &[u8]) -> Option<Step> {
        if line.len() > MAX_LINE {
            self.answer(&Reply::failure(Errno::EMSGSIZE));
            return None;
        }
        match Command::parse(line) {
            Ok(None) => self.prompt_outside_scripts(),
            Ok(Some(Command::Switch(command))) => {
                self.waiting = Waiting::Reply;
                return Some(Step::Execute(command));
            }
            Ok(Some(Command::Console(command))) => return self.execute(command),
            Err(refusal) => self.answer(&refusal.reply()),
        }
        None
    }

    fn execute(&mut self, command: ConsoleCommand) -> Option<Step> {
        let reply = match command {
            ConsoleCommand::Logout | ConsoleCommand::Shutdown if !self.scripts.is_empty() => {
                return None;
            }
            ConsoleCommand::Logout if self.kind == Kind::Console => {
                self.write_prompt();
                return None;
            }
            ConsoleCommand::Logout => {
                self.finish(Step::Close);
                return None;
            }
            ConsoleCommand::Shutdown => {
                self.finish(Step::Shutdown);
                return None;
            }
            ConsoleCommand::Load { .. }
            | ConsoleCommand::DebugList { .. }
            | ConsoleCommand::DebugAdd { .. }
            | ConsoleCommand::DebugDel { .. }
                if self.kind == Kind::Rc =>
            {
                Reply::failure(Errno::EBADF)
            }
            ConsoleCommand::Load { path } => {
                let circle = self.scripts.iter().any(|script| script.path == path);
                if circle || self.scripts.len() >= MAX_DEPTH {
                    Reply::failure(Errno::ELOOP)
                } else {
                    self.waiting = Waiting::Script(path.clone());
                    return Some(Step::Load { path });
                }
            }
            ConsoleCommand::Help { prefix } => command::help(&prefix),
            ConsoleCommand::DebugList { prefix } => self.subscriptions.list(&prefix),
            ConsoleCommand::DebugAdd { prefix } => done(self.subscriptions.add(&prefix)),
            ConsoleCommand::DebugDel { prefix } => done(self.subscriptions.remove(&prefix)),
            ConsoleCommand::PluginList => {
                let head = ["NAME                   HELP", "------------           ----"];
                Reply::data(head).but(Errno::ENOENT)
            }
            ConsoleCommand::PluginAdd => Reply::failure(Errno::EPERM).because(NO_PLUGINS),
            ConsoleCommand::PluginDel => Reply::failure(Errno::ENOENT),
        };
        self.answer(&reply);
        None
    }

    fn answer(&mut self, reply: &Reply) {
        if self.kind != Kind::Rc {
            reply.encode(&mut self.output);
        } else if reply.errno().is_some()
            && let Some(script) = self.scripts.last()
        {
            self.complaint = Some(Complaint {
                path: script.path.clone(),
                number: script.number,
                line: script.current(),
                status: reply.status(),
            });
        }
        self.prompt_outside_scripts();
    }

    fn prompt_outside_scripts(&mut self) {
        if self.scripts.is_empty() {
            self.write_prompt();
        }
    }
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
}

fn done(result: Result<(), Errno>) -> Reply {
    result.map_or_else(Reply::failure, |()| Reply::success())
}
