//! The command line: VDE's options, written as `getopt_long_only(3)` takes them, and our own.
//!
//! `-loss 10`, `--loss 10`, `--loss=10`, `-l 10` and `-l10` are the same, and an unambiguous
//! beginning of one of VDE's long options is enough even where an option of ours begins alike.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory as _, Parser, ValueEnum};
use emulator::{Field, Profile};

/// Impairs a link: in a pipe (dpipe vde_plug A = wirefilter ... = vde_plug B), or between two
/// switches (-v A:B, or two VNLs).
///
/// Values are written [LR|RL] value[+variation][unit][U|N|P|T], for example LR100+20N, 128+64K,
/// 10Mbit, 2.5ms. K, M and G are 2^10, 2^20 and 2^30; before "bit" they are 10^3, 10^6 and 10^9.
/// An option may be repeated, once for each direction.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "wirefilter", version, disable_help_subcommand = true, infer_long_args = true)]
pub struct Arguments {
    /// Run the commands of a file before the first packet
    #[arg(short = 'f', long = "rcfile", value_name = "FILE")]
    pub rcfile: Option<PathBuf>,
    /// Lose packets (percent)
    #[arg(short = 'l', long, value_name = "PERCENT")]
    loss: Vec<String>,
    /// Lose them in bursts of this mean length (packets)
    #[arg(short = 'L', long, value_name = "PACKETS")]
    lostburst: Vec<String>,
    /// Delay packets (ms, or with a unit)
    #[arg(short = 'd', long, value_name = "MS")]
    delay: Vec<String>,
    /// Duplicate packets (percent)
    #[arg(short = 'D', long, value_name = "PERCENT")]
    dup: Vec<String>,
    /// Bandwidth of the bottleneck (bytes/s, or bits with a unit)
    #[arg(short = 'b', long, visible_alias = "bandwidth", value_name = "RATE")]
    band: Vec<String>,
    /// Speed of the interface: the sender waits (bytes/s, or bits with a unit)
    #[arg(short = 's', long, value_name = "RATE")]
    speed: Vec<String>,
    /// The most that is in the link (bytes)
    #[arg(short = 'c', long, visible_alias = "capacity", value_name = "BYTES")]
    chanbufsize: Vec<String>,
    /// Flip bits (bits in 2^20 bytes)
    #[arg(short = 'n', long, value_name = "BITS")]
    noise: Vec<String>,
    /// Drop longer packets (bytes)
    #[arg(short = 'm', long, value_name = "BYTES")]
    mtu: Vec<String>,
    /// Let packets overtake one another when their delays differ
    #[arg(short = 'N', long)]
    nofifo: bool,
    /// Management socket
    #[arg(short = 'M', long, value_name = "SOCKET")]
    pub mgmt: Option<PathBuf>,
    /// Its permissions
    #[arg(long, value_name = "OCTAL", default_value = "700", value_parser = octal)]
    pub mgmtmode: u32,
    /// Connect two switches; - is standard input and output
    #[arg(short = 'v', long = "vde-plug", value_name = "A:B", conflicts_with = "vnls")]
    vde_plug: Option<String>,
    /// Leave the terminal once everything is set up
    #[arg(long)]
    pub daemon: bool,
    /// Write the process number to a file
    #[arg(long, value_name = "FILE")]
    pub pidfile: Option<PathBuf>,
    /// Send a message to a datagram socket for each packet: ID LR|RL|-- LENGTH
    #[arg(long, value_name = "SOCKET")]
    pub blink: Option<PathBuf>,
    /// What these messages begin with [default: the process number, six digits]
    #[arg(long, value_name = "ID")]
    pub blinkid: Option<String>,

    /// Lose packets by the model of Gilbert and Elliott (percentages)
    #[arg(long, value_name = "P,R[,H[,K]]", help_heading = "Beyond VDE")]
    gemodel: Vec<String>,
    /// Lose packets by a model with four states (percentages)
    #[arg(long, value_name = "P13,P31,P32,P23,P14", help_heading = "Beyond VDE")]
    fourstates: Vec<String>,
    /// Flip a bit in some packets (percent)
    #[arg(long, value_name = "PERCENT", help_heading = "Beyond VDE")]
    corrupt: Vec<String>,
    /// Let some packets overtake the others (percent)
    #[arg(long, value_name = "PERCENT", help_heading = "Beyond VDE")]
    reorder: Vec<String>,
    /// The queue before the bottleneck (bytes)
    #[arg(long, value_name = "BYTES", help_heading = "Beyond VDE")]
    queue: Vec<String>,
    /// The same (packets)
    #[arg(long, value_name = "PACKETS", help_heading = "Beyond VDE")]
    queuelen: Vec<String>,
    /// Keep that queue short with CoDel: 0, 1, or target and interval (ms)
    #[arg(long, value_name = "0|1|T,I", help_heading = "Beyond VDE")]
    codel: Vec<String>,
    /// How much a loss depends on the one before (percent)
    #[arg(long, value_name = "PERCENT", help_heading = "Beyond VDE")]
    loss_corr: Vec<String>,
    /// The same for duplication
    #[arg(long, value_name = "PERCENT", help_heading = "Beyond VDE")]
    dup_corr: Vec<String>,
    /// The same for corruption
    #[arg(long, value_name = "PERCENT", help_heading = "Beyond VDE")]
    corrupt_corr: Vec<String>,
    /// The same for overtaking
    #[arg(long, value_name = "PERCENT", help_heading = "Beyond VDE")]
    reorder_corr: Vec<String>,
    /// The same for delays
    #[arg(long, value_name = "PERCENT", help_heading = "Beyond VDE")]
    delay_corr: Vec<String>,
    /// Read the distribution of shape T from a file (as tc-netem's .dist)
    #[arg(long, value_name = "FILE", help_heading = "Beyond VDE")]
    pub distribution: Option<PathBuf>,
    /// Begin with the settings of a link with a name; the left side is the user's
    #[arg(long, value_name = "NAME", help_heading = "Beyond VDE", value_parser = profile)]
    #[arg(long_help = profiles())]
    pub profile: Option<Profile>,
    /// Play settings over time: lines such as "10s loss 5; delay 30" or "60s repeat"
    #[arg(long, value_name = "FILE", help_heading = "Beyond VDE")]
    pub timeline: Option<PathBuf>,
    /// Play a bottleneck recorded by mahimahi; "LR FILE" or "RL FILE" for one direction
    #[arg(long, value_name = "[LR |RL ]FILE", help_heading = "Beyond VDE")]
    pub trace: Vec<String>,
    /// Settings for pairs of stations: lines such as "MAC * loss 5" (source, destination)
    #[arg(long, value_name = "FILE", help_heading = "Beyond VDE")]
    pub pairs: Option<PathBuf>,
    /// Where all chance comes from: the same seed, the same link [default: another each time]
    #[arg(long, value_name = "NUMBER", help_heading = "Beyond VDE")]
    pub seed: Option<u64>,
    /// At the end, say on standard error what was done
    #[arg(long, value_name = "FORMAT", help_heading = "Beyond VDE", num_args = 0..=1)]
    #[arg(require_equals = true, default_missing_value = "text")]
    pub stats: Option<StatsFormat>,

    /// Two networks to connect: PATH, `PATH[PORT]`, vde://PATH, or -
    #[arg(value_name = "VNL", num_args = 2)]
    vnls: Vec<String>,
}

/// How `--stats` speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StatsFormat {
    /// Lines for people.
    Text,
    /// One object on one line.
    Json,
}

/// Where the two sides of the link are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sides {
    /// On pipes: standard input and output, and a second pair under dpipe.
    Pipes,
    /// Named.
    Named {
        /// The left one.
        left: Place,
        /// The right one.
        right: Place,
    },
}

/// Where one side of the link is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Standard input and output.
    Stdio,
    /// A switch.
    Switch {
        /// Its directory or socket; `None`: the default switch.
        path: Option<PathBuf>,
        /// One of its ports; `None`: any.
        port: Option<u32>,
    },
}

/// What is wrong with a side.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Not two of them.
    #[error("'{0}' is not two switches with a colon between; write A:B, or give two VNLs")]
    NotTwo(String),
    /// Both are this process's own standard input and output.
    #[error("both sides cannot be standard input and output")]
    BothStdio,
    /// Another kind of network.
    #[error("'{0}' is no network of a switch; only vde:// and - can be connected")]
    Scheme(String),
    /// What stands in brackets.
    #[error("'[{0}]' is no port; write its number, as in [7]")]
    Port(String),
}

impl Arguments {
    /// Reads the words behind the program's name.
    ///
    /// # Errors
    /// Clap's own, which is also how help and version are asked for.
    pub fn parse_from_words(
        words: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, clap::Error> {
        let words = std::iter::once(OsString::from("wirefilter")).chain(long_only(words));
        Self::try_parse_from(words)
    }

    /// The settings that were given, in VDE's order of options and each option's own.
    pub fn settings(&self) -> impl Iterator<Item = (Field, &str)> {
        let given = [
            (Field::Loss, &self.loss),
            (Field::LostBurst, &self.lostburst),
            (Field::Delay, &self.delay),
            (Field::Dup, &self.dup),
            (Field::Bandwidth, &self.band),
            (Field::Speed, &self.speed),
            (Field::ChanBufSize, &self.chanbufsize),
            (Field::Noise, &self.noise),
            (Field::Mtu, &self.mtu),
            (Field::GilbertElliott, &self.gemodel),
            (Field::FourStates, &self.fourstates),
            (Field::Corrupt, &self.corrupt),
            (Field::Reorder, &self.reorder),
            (Field::Queue, &self.queue),
            (Field::QueueLen, &self.queuelen),
            (Field::CoDel, &self.codel),
            (Field::LossCorrelation, &self.loss_corr),
            (Field::DupCorrelation, &self.dup_corr),
            (Field::CorruptCorrelation, &self.corrupt_corr),
            (Field::ReorderCorrelation, &self.reorder_corr),
            (Field::DelayCorrelation, &self.delay_corr),
        ];
        given
            .into_iter()
            .flat_map(|(field, values)| values.iter().map(move |value| (field, value.as_str())))
            .chain(self.nofifo.then_some((Field::Fifo, "0")))
    }

    /// Where the sides of the link are.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn sides(&self) -> Result<Sides, PlaceError> {
        let (left, right) = match (&self.vde_plug, &self.vnls[..]) {
            (Some(both), _) => match both.split_once(':') {
                Some((left, right)) if !right.contains(':') => (left, right),
                _ => return Err(PlaceError::NotTwo(both.clone())),
            },
            (None, [left, right]) => (left.as_str(), right.as_str()),
            (None, _) => return Ok(Sides::Pipes),
        };
        let (left, right) = (place(left)?, place(right)?);
        if left == Place::Stdio && right == Place::Stdio {
            return Err(PlaceError::BothStdio);
        }
        Ok(Sides::Named { left, right })
    }
}

fn place(text: &str) -> Result<Place, PlaceError> {
    if text == "-" {
        return Ok(Place::Stdio);
    }
    let path = match text.split_once("://") {
        Some(("vde", path)) => path,
        Some(_) => return Err(PlaceError::Scheme(text.to_owned())),
        None => text,
    };
    let (path, port) = match path.split_once('[') {
        None => (path, None),
        Some((path, options)) => {
            let wrong = || PlaceError::Port(options.trim_end_matches(']').to_owned());
            let port = options.strip_suffix(']').ok_or_else(wrong)?;
            let port = port.strip_prefix("port=").unwrap_or(port);
            (path, Some(port.parse().map_err(|_| wrong())?))
        }
    };
    Ok(Place::Switch { path: (!path.is_empty()).then(|| path.into()), port })
}

fn profile(text: &str) -> Result<Profile, String> {
    Profile::named(text).ok_or_else(|| format!("there are {}", Profile::names()))
}

/// What `--help` says of the profiles: their values.
fn profiles() -> String {
    let mut text =
        "Begin with the settings of a link with a name; the left side is the user's:".to_owned();
    for profile in Profile::ALL {
        let values = profile.values().iter().map(|(field, value)| format!("{field} {value}"));
        text += &format!("\n{profile}: {}", values.collect::<Vec<_>>().join("; "));
    }
    text
}

fn octal(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777 && text.bytes().all(|octet| octet.is_ascii_digit()))
        .ok_or_else(|| "it must be a mode in octal, for example 770".to_owned())
}

/// VDE's long options. Only a beginning of one of these may be cut short where an option of ours
/// begins alike.
const VDES: [&str; 20] = [
    "help",
    "rcfile",
    "loss",
    "lostburst",
    "delay",
    "dup",
    "band",
    "speed",
    "chanbufsize",
    "capacity",
    "noise",
    "mtu",
    "nofifo",
    "mgmt",
    "mgmtmode",
    "vde-plug",
    "daemon",
    "pidfile",
    "blink",
    "blinkid",
];

/// Words as clap takes them: long options in full and with two hyphens.
fn long_only(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let command = Arguments::command();
    let mut words = words.into_iter();
    let mut out = Vec::new();
    while let Some(word) = words.next() {
        let Some(text) = word.to_str() else {
            out.push(word);
            continue;
        };
        if text == "--" {
            out.push(word);
            out.extend(words);
            break;
        }
        let word = in_full(&command, text);
        let takes_next = takes_next_word(&command, &word);
        let mut word = OsString::from(word);
        // A value is never an option, whatever it looks like; so it is put where it cannot be
        // taken for one.
        if takes_next && let Some(value) = words.next() {
            if word.as_encoded_bytes().starts_with(b"--") {
                word.push("=");
            }
            word.push(value);
        }
        out.push(word);
    }
    out
}

fn in_full(command: &clap::Command, word: &str) -> String {
    let Some(body) = word.strip_prefix('-').filter(|body| !body.is_empty()) else {
        return word.to_owned();
    };
    let (two, body) = body.strip_prefix('-').map_or((false, body), |body| (true, body));
    let (name, value) = match body.split_once('=') {
        Some((name, _)) => (name, &body[name.len()..]),
        None => (body, ""),
    };
    let is_long = |name: &str| command.get_arguments().any(|it| is_named(it, name));
    let letter = !two && name.chars().count() == 1;
    if letter || name.is_empty() || is_long(name) {
        return if letter || two { word.to_owned() } else { format!("--{body}") };
    }
    let candidates: Vec<&str> =
        VDES.into_iter().filter(|candidate| candidate.starts_with(name)).collect();
    match candidates[..] {
        [only] => format!("--{only}{value}"),
        [] => word.to_owned(),
        // Clap says which ones they are.
        _ => format!("--{body}"),
    }
}

fn is_named(argument: &clap::Arg, name: &str) -> bool {
    let aliases = argument.get_visible_aliases().unwrap_or_default();
    argument.get_long() == Some(name)
        || aliases.contains(&name)
        || ["help", "version"].contains(&name)
}

/// Whether the value of the option `word` is the word behind it.
fn takes_next_word(command: &clap::Command, word: &str) -> bool {
    let takes = |argument: &clap::Arg| {
        argument.get_action().takes_values() && !argument.is_require_equals_set()
    };
    if let Some(name) = word.strip_prefix("--") {
        return command.get_arguments().any(|it| is_named(it, name) && takes(it));
    }
    let Some(letters) = word.strip_prefix('-') else { return false };
    let mut letters = letters.chars();
    while let Some(letter) = letters.next() {
        let argument = command.get_arguments().find(|it| it.get_short() == Some(letter));
        if argument.is_some_and(takes) {
            return letters.as_str().is_empty();
        }
    }
    false
}

#[cfg(test)]
mod tests;
