//! One line of the console as a command.
//!
//! A line means the command whose name it begins with, the longest if there are several; the rest
//! are its arguments. There are no abbreviations. Whether a state exists only the link knows.

use std::time::Duration;

use console::Errno;
use emulator::{Direction, Field, Percent, Profile, Target};

use crate::reply::{Failure, Reply};

/// What a line asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// `help`
    Help,
    /// `load path`: a script.
    Load {
        /// As it was written.
        path: String,
    },
    /// `logout`
    Logout,
    /// `shutdown`
    Shutdown,
    /// `markov-debug [n]`: whether this session is told of changes of state. 0 or nothing: no.
    MarkovDebug(u32),
    /// What concerns the link.
    Link(LinkCommand),
}

/// What a line asks of the link.
#[derive(Debug, Clone, PartialEq)]
pub enum LinkCommand {
    /// `loss LR10+2N[1]` and the like.
    Set {
        /// Which setting.
        field: Field,
        /// Where to and what, as it was written.
        value: String,
    },
    /// `showinfo [n]`: a state's settings; without a number those of the current state.
    ShowInfo(Option<usize>),
    /// `markov-numnodes n`
    NumNodes(usize),
    /// `markov-setnode n`
    SetNode(usize),
    /// `markov-name n,name`
    Name {
        /// The state.
        state: usize,
        /// Its name.
        name: String,
    },
    /// `markov-time ms`
    Time(Duration),
    /// `setedge n1,n2,w`
    SetEdge {
        /// From this state.
        from: usize,
        /// To this one.
        to: usize,
        /// How probable it is.
        weight: Percent,
    },
    /// `showedges [n]`
    ShowEdges(Option<usize>),
    /// `showcurrent`
    ShowCurrent,
    /// `stats [json]`: what was done.
    Stats {
        /// As one line of JSON.
        json: bool,
    },
    /// `profile name`: the settings of a link with a name, in state 0.
    Profile(Profile),
    /// `clear`: no settings, in state 0.
    Clear,
    /// `timeline path` and the like: what a file holds, or nothing any more.
    File {
        /// What it is.
        kind: FileKind,
        /// As it was written; `None`, written `off`: without.
        path: Option<String>,
    },
}

/// What a file can tell the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// `distribution`: what shape `T` means.
    Distribution,
    /// `timeline`: settings over time.
    Timeline,
    /// `pairs`: settings for pairs of stations.
    Pairs,
    /// `trace [LR|RL]`: a recorded bottleneck, in state 0.
    Trace(Option<Direction>),
}

/// The name of a command and what its row of `help` says: the column with name and syntax, and
/// the text. Layout and texts of VDE's commands are VDE's.
struct Row {
    name: &'static str,
    shown: &'static str,
    help: &'static str,
}

const fn row(name: &'static str, shown: &'static str, help: &'static str) -> Row {
    Row { name, shown, help }
}

const TABLE: [Row; 45] = [
    row("help", "help        ", "print a summary of mgmt commands"),
    row("load", "load        ", "load a configuration file"),
    row("showinfo", "showinfo    ", "show status and parameter values"),
    row("loss", "loss        ", "set loss percentage"),
    row("lostburst", "lostburst   ", "mean length of lost packet bursts"),
    row("delay", "delay       ", "set delay ms"),
    row("dup", "dup         ", "set dup packet percentage"),
    row("bandwidth", "bandwidth   ", "set channel bandwidth bytes/sec"),
    row("speed", "speed       ", "set interface speed bytes/sec"),
    row("noise", "noise       ", "set noise factor bits/Mbyte"),
    row("mtu", "mtu         ", "set channel MTU (bytes)"),
    row("chanbufsize", "chanbufsize ", "set channel buffer size (bytes)"),
    row("fifo", "fifo        ", "set channel fifoness"),
    row("shutdown", "shutdown    ", "shut the channel down"),
    row("logout", "logout      ", "log out from this mgmt session"),
    row("markov-numnodes", "markov-numnodes n ", "markov mode: set number of states"),
    row("markov-setnode", "markov-setnode n  ", "markov mode: set current state"),
    row("markov-name", "markov-name n,name", "markov mode: set state's name"),
    row("markov-time", "markov-time ms    ", "markov mode: transition period"),
    row("setedge", "setedge n1,n2,w   ", "markov mode: set edge weight"),
    row("", "showinfo n        ", "markov mode: show parameter values"),
    row("showedges", "showedges n       ", "markov mode: show edge weights"),
    row("showcurrent", "showcurrent       ", "markov mode: show current state"),
    row("markov-debug", "markov-debug n    ", "markov mode: set debug level"),
    row("gemodel", "gemodel p,r,h,k   ", "set Gilbert-Elliott loss percentages"),
    row("fourstates", "fourstates p13,p31,p32,p23,p14", "set four-state loss percentages"),
    row("corrupt", "corrupt     ", "set percentage of packets with a flipped bit"),
    row("reorder", "reorder     ", "set percentage of packets that overtake"),
    row("queue", "queue       ", "set bottleneck queue size (bytes)"),
    row("queuelen", "queuelen    ", "set bottleneck queue size (packets)"),
    row("codel", "codel 0/1 or target,interval", "set bottleneck queue discipline (ms)"),
    row("loss-corr", "loss-corr   ", "set correlation of losses (percentage)"),
    row("dup-corr", "dup-corr    ", "set correlation of dup packets (percentage)"),
    row("corrupt-corr", "corrupt-corr", "set correlation of corruption (percentage)"),
    row("reorder-corr", "reorder-corr", "set correlation of overtaking (percentage)"),
    row("delay-corr", "delay-corr  ", "set correlation of delays (percentage)"),
    row("profile", "profile name", "become lte, 3g, satellite, dsl, wifi-bad or intercontinental"),
    row("clear", "clear       ", "set nothing any more"),
    row("timeline", "timeline path/off", "play settings over time from a file"),
    row("trace", "trace path/off", "play a bottleneck recorded by mahimahi"),
    row("pairs", "pairs path/off", "load settings for pairs of MAC addresses"),
    row("distribution", "distribution path/off", "load the distribution of shape T"),
    row("stats", "stats [json]", "show what was asked and what was done"),
    // VDE understands these two and does not list them.
    row("band", "", ""),
    row("capacity", "", ""),
];

/// Why a line is not carried out: the answer to it.
pub type Refusal = Box<Reply>;

impl Command {
    /// Reads one line, without its line feed. `None`: a blank line or a comment (`#`).
    ///
    /// # Errors
    /// The reply to an unknown command or to arguments that no link can accept.
    pub fn parse(line: &str) -> Result<Option<Self>, Refusal> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let row = TABLE
            .iter()
            .filter(|row| !row.name.is_empty() && line.starts_with(row.name))
            .max_by_key(|row| row.name.len());
        let Some(row) = row else {
            return Err(Box::new(Reply::failure(unknown(line))));
        };
        let arguments = line[row.name.len()..].trim();
        let shows = row.name.starts_with("show") || row.name == "load" || row.name == "stats";
        read(row.name, arguments).map(Some).map_err(|failure| {
            let reply = Reply::failure(failure.clone());
            Box::new(if shows { reply.but(failure) } else { reply })
        })
    }
}

fn unknown(line: &str) -> Failure {
    let word = line.split_whitespace().next().unwrap_or_default();
    Failure { errno: Errno::ENOSYS, reason: format!("there is no command '{word}'; see help") }
}

fn read(name: &str, arguments: &str) -> Result<Command, Failure> {
    let link = match name {
        "help" => return Ok(Command::Help),
        "logout" => return Ok(Command::Logout),
        "shutdown" => return Ok(Command::Shutdown),
        "load" if arguments.is_empty() => return Err(Errno::ENOENT.into()),
        "load" => return Ok(Command::Load { path: arguments.to_owned() }),
        "markov-debug" if arguments.is_empty() => return Ok(Command::MarkovDebug(0)),
        "markov-debug" => return Ok(Command::MarkovDebug(number(arguments)?)),
        "showinfo" => LinkCommand::ShowInfo(optional(arguments)?),
        "showedges" => LinkCommand::ShowEdges(optional(arguments)?),
        "showcurrent" => {
            nothing(arguments)?;
            LinkCommand::ShowCurrent
        }
        "stats" => match arguments {
            "" => LinkCommand::Stats { json: false },
            "json" => LinkCommand::Stats { json: true },
            _ => return Err(Failure::invalid(format!("'{arguments}' is not json"))),
        },
        "profile" => LinkCommand::Profile(Profile::named(arguments).ok_or_else(|| {
            let names = Profile::names();
            Failure::invalid(format!("there is no profile '{arguments}'; there are {names}"))
        })?),
        "clear" => {
            nothing(arguments)?;
            LinkCommand::Clear
        }
        "timeline" => file(FileKind::Timeline, arguments)?,
        "pairs" => file(FileKind::Pairs, arguments)?,
        "distribution" => file(FileKind::Distribution, arguments)?,
        "trace" => {
            let (direction, path) = trace(arguments);
            file(FileKind::Trace(direction), path)?
        }
        "markov-numnodes" => LinkCommand::NumNodes(number(arguments)?),
        "markov-setnode" => LinkCommand::SetNode(number(arguments)?),
        "markov-time" => LinkCommand::Time(period(arguments)?),
        "markov-name" => {
            let Some((state, name)) = arguments.split_once(',') else {
                return Err(Failure::invalid("a state, a comma and its name are expected"));
            };
            LinkCommand::Name { state: number(state)?, name: name.trim().to_owned() }
        }
        "setedge" => edge(arguments)?,
        "band" => set(Field::Bandwidth, arguments),
        "capacity" => set(Field::ChanBufSize, arguments),
        name => {
            let field = Field::named(name).expect("every other row of the table is a field");
            set(field, arguments)
        }
    };
    Ok(Command::Link(link))
}

fn set(field: Field, value: &str) -> LinkCommand {
    LinkCommand::Set { field, value: value.to_owned() }
}

fn file(kind: FileKind, path: &str) -> Result<LinkCommand, Failure> {
    match path {
        "" => Err(Failure::invalid("the path of a file is missing, or off")),
        "off" => Ok(LinkCommand::File { kind, path: None }),
        path => Ok(LinkCommand::File { kind, path: Some(path.to_owned()) }),
    }
}

/// The direction and the path of a trace: `LR`, `RL` and a blank, or nothing, before the path.
pub fn trace(text: &str) -> (Option<Direction>, &str) {
    match text.split_once(char::is_whitespace) {
        Some(("LR", path)) => (Some(Direction::LeftToRight), path.trim()),
        Some(("RL", path)) => (Some(Direction::RightToLeft), path.trim()),
        _ => (None, text),
    }
}

fn nothing(arguments: &str) -> Result<(), Failure> {
    if arguments.is_empty() {
        Ok(())
    } else {
        Err(Failure::invalid(format!("'{arguments}' means nothing here")))
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, Failure> {
    let text = text.trim();
    text.parse().map_err(|_| match text {
        "" => Failure::invalid("a number is missing"),
        _ => Failure::invalid(format!("'{text}' is not a whole number from 0 on")),
    })
}

fn optional(text: &str) -> Result<Option<usize>, Failure> {
    if text.is_empty() { Ok(None) } else { number(text).map(Some) }
}

/// As a delay is written: milliseconds, or with a unit.
fn period(text: &str) -> Result<Duration, Failure> {
    let change = Field::Delay.parse(text, None).map_err(|err| Failure::invalid(err.problem))?;
    let constant = change.constant().filter(|_| change.target == Target::default());
    let wrong = || Failure::invalid(format!("'{text}' is not one time"));
    Ok(Duration::from_nanos(constant.ok_or_else(wrong)?))
}

/// `0,1,20`, with blanks beside the commas.
fn edge(text: &str) -> Result<LinkCommand, Failure> {
    let words: Vec<&str> = text.split(',').map(str::trim).collect();
    let [from, to, weight] = words[..] else {
        return Err(Failure::invalid("two states and a percentage between commas are expected"));
    };
    let percent: f64 =
        weight.parse().map_err(|_| Failure::invalid(format!("'{weight}' is not a number")))?;
    let weight = Percent::new(percent).map_err(Failure::invalid)?;
    Ok(LinkCommand::SetEdge { from: number(from)?, to: number(to)?, weight })
}

/// The answer to `help`.
pub fn help() -> Reply {
    let head = ["COMMAND      HELP", "------------ ------------"].map(str::to_owned);
    let rows = TABLE.iter().filter(|row| !row.help.is_empty());
    Reply::data(head.into_iter().chain(rows.map(|row| format!("{} {}", row.shown, row.help))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Command {
        Command::parse(line).unwrap().unwrap()
    }

    fn refused(line: &str) -> String {
        Command::parse(line).unwrap_err().status()
    }

    #[test]
    fn the_longest_name_that_fits_is_meant() {
        let set =
            |field, value: &str| Command::Link(LinkCommand::Set { field, value: value.to_owned() });
        assert_eq!(parsed("loss 10"), set(Field::Loss, "10"));
        assert_eq!(parsed("loss10"), set(Field::Loss, "10"));
        assert_eq!(parsed("  loss-corr 10 "), set(Field::LossCorrelation, "10"));
        assert_eq!(parsed("band 5"), set(Field::Bandwidth, "5"));
        assert_eq!(parsed("bandwidth LR 5K"), set(Field::Bandwidth, "LR 5K"));
        assert_eq!(parsed("capacity 5"), set(Field::ChanBufSize, "5"));
        assert_eq!(parsed("queuelen 5"), set(Field::QueueLen, "5"));
        for field in Field::ALL {
            assert_eq!(parsed(&format!("{field} 1")), set(field, "1"), "every field has a row");
        }
    }

    #[test]
    fn markov_commands_are_read_as_vde_reads_them() {
        let state = |line| match parsed(line) {
            Command::Link(command) => command,
            other => panic!("{other:?}"),
        };
        let weight = Percent::new(20.0).unwrap();
        let edge = LinkCommand::SetEdge { from: 0, to: 1, weight };
        for line in ["setedge 0,1,20", "setedge 0, 1, 20"] {
            assert_eq!(state(line), edge);
        }
        let name = "good one".to_owned();
        assert_eq!(state("markov-name 2,good one"), LinkCommand::Name { state: 2, name });
        assert_eq!(state("markov-time 0.5"), LinkCommand::Time(Duration::from_micros(500)));
        assert_eq!(state("markov-time 2s"), LinkCommand::Time(Duration::from_secs(2)));
        assert_eq!(state("showinfo"), LinkCommand::ShowInfo(None));
        assert_eq!(state("showinfo 3"), LinkCommand::ShowInfo(Some(3)));
        assert_eq!(parsed("markov-debug"), Command::MarkovDebug(0));
    }

    #[test]
    fn files_are_named_or_turned_off() {
        let file = |kind, path: Option<&str>| {
            Command::Link(LinkCommand::File { kind, path: path.map(str::to_owned) })
        };
        let left_to_right = FileKind::Trace(Some(Direction::LeftToRight));
        assert_eq!(parsed("timeline off"), file(FileKind::Timeline, None));
        assert_eq!(parsed("trace LR a b"), file(left_to_right, Some("a b")));
        assert_eq!(parsed("trace LR"), file(FileKind::Trace(None), Some("LR")));
        assert_eq!(parsed("pairs /x"), file(FileKind::Pairs, Some("/x")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, status) in [
            ("foo 1", "1038 Function not implemented: there is no command 'foo'; see help"),
            ("load", "1002 No such file or directory"),
            ("markov-numnodes", "1022 Invalid argument: a number is missing"),
            ("markov-numnodes -1", "1022 Invalid argument: '-1' is not a whole number from 0 on"),
            (
                "setedge 0,1",
                "1022 Invalid argument: two states and a percentage between commas are expected",
            ),
            (
                "setedge 0,1,120",
                "1022 Invalid argument: 120 is no percentage; it must be from 0 to 100",
            ),
            ("markov-time 5+5", "1022 Invalid argument: '5+5' is not one time"),
            ("showcurrent x", "1022 Invalid argument: 'x' means nothing here"),
            (
                "profile 5g",
                "1022 Invalid argument: there is no profile '5g'; there are lte, 3g, satellite, \
                 dsl, wifi-bad, intercontinental",
            ),
            ("trace", "1022 Invalid argument: the path of a file is missing, or off"),
            ("stats xml", "1022 Invalid argument: 'xml' is not json"),
        ] {
            assert_eq!(refused(line), status, "{line:?}");
        }
        assert_eq!(Command::parse("  # loss 10"), Ok(None));
        assert_eq!(Command::parse(""), Ok(None));
    }
}
