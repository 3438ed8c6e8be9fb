//! The command line of `vde_switch`.
//!
//! Every option of VDE 2.3 and its `--nostdin`, parsed as [`getopt_long_only(3)`] does: `-sock x`,
//! `--sock x`, `--sock=x`, `-s x` and `-sx` are the same, unambiguous beginnings are enough, and
//! letters may be bundled. VDE reports a wrong option and starts without it, and takes a value it
//! cannot read for the default; here both are an [`ArgumentError`], for a switch that runs without
//! what it was told is worse than none.
//!
//! [`getopt_long_only(3)`]: https://man7.org/linux/man-pages/man3/getopt.3.html

mod getopt;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;

use ether::MacAddr;

use crate::number::{integer, mac};
use getopt::{Found, Opt, getopt};

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// Run the switch.
    Run(Box<SwitchArguments>),
    /// Print [`usage`] on the standard output and exit with [`USAGE_EXIT_CODE`].
    Help,
    /// Print [`version`] on the standard output and exit with 0.
    Version,
}

/// The exit code after `--help` and after an [`ArgumentError`]: 1, as VDE's.
pub const USAGE_EXIT_CODE: u8 = 1;

/// The most ports that can be asked for: what 16 bits can number.
pub const MAX_PORTS: u32 = 65_535;

/// The most hash table entries that can be asked for: 16 777 216.
pub const MAX_HASH_SIZE: u32 = 1 << 24;

/// A switch as the command line describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchArguments {
    /// `-s`, `--sock`, `--vdesock`, `--unix`: the control directory. VDE's default depends on who
    /// runs it, so it is the program's to choose.
    pub sock: Option<PathBuf>,
    /// `-m`, `--mode`, `--mod`: permissions of the sockets; see [`Self::permissions`].
    pub mode: Option<u32>,
    /// `--dirmode`: permissions of the control directory; see [`Self::permissions`].
    pub dirmode: Option<u32>,
    /// `-g`, `--group`: the group of sockets and directory, by name. A name without a group ends
    /// VDE with `No such group 'NAME'` and 1.
    pub group: Option<String>,
    /// `-t`, `--tap`, repeatable: taps to plug in, in this order.
    pub taps: Vec<String>,
    /// `-n`, `--numports`: 1 to [`MAX_PORTS`], default 32.
    pub numports: NonZeroU32,
    /// `-x`, `--hub`: flood every frame.
    pub hub: bool,
    /// `-F`, `--fstp`: asked for a spanning tree; VDE ignores it in hub mode.
    pub fstp: bool,
    /// `--hashsize`: entries, 1 to [`MAX_HASH_SIZE`], default 128; VDE rounds up to a power of two.
    pub hashsize: NonZeroU32,
    /// `--macaddr`: the switch's own address. VDE's default is random, `00:ff:` and four octets.
    pub macaddr: Option<MacAddr>,
    /// `--priority`: for the spanning tree, 16 bits of what is given, default 0x8000.
    pub priority: u16,
    /// `-d`, `--daemon`: leave the terminal once everything is set up.
    pub daemon: bool,
    /// `-p`, `--pidfile`
    pub pidfile: Option<PathBuf>,
    /// `-f`, `--rcfile`: instead of `~/.vde2/vde_switch.rc` and `/etc/vde2/vde_switch.rc`. One that
    /// cannot be read is no error in VDE.
    pub rcfile: Option<PathBuf>,
    /// `-M`, `--mgmt`: the management socket.
    pub mgmt: Option<PathBuf>,
    /// `--mgmtmode`: its permissions, default 0600.
    pub mgmtmode: u32,
    /// `--mgmtgroup`: its group, by name; as [`Self::group`].
    pub mgmtgroup: Option<String>,
    /// `--nostdin`: no console on the standard input, whose end would end the switch.
    pub nostdin: bool,
    /// `--name` and what goes with it, which VDE does not have: the switch is a node that cables
    /// link with others.
    pub node: Option<NodeArguments>,
}

/// What makes a switch a node of a larger Ethernet. Each of them alone is enough; the others then
/// have the defaults of `vdenode`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeArguments {
    /// `--name`: what its peers call it, and part of its paths.
    pub name: Option<String>,
    /// `--listen`: the UDP address and port on which cables are awaited.
    pub listen: Option<String>,
    /// `--control`: the socket for `vdecable`.
    pub control: Option<PathBuf>,
    /// `--state`: the directory of its key, its cables and whom it trusts.
    pub state: Option<PathBuf>,
}

impl Default for SwitchArguments {
    fn default() -> Self {
        Self {
            sock: None,
            mode: None,
            dirmode: None,
            group: None,
            taps: Vec::new(),
            numports: NonZeroU32::new(32).expect("32 is not 0"),
            hub: false,
            fstp: false,
            hashsize: NonZeroU32::new(128).expect("128 is not 0"),
            macaddr: None,
            priority: 0x8000,
            daemon: false,
            pidfile: None,
            rcfile: None,
            mgmt: None,
            mgmtmode: 0o600,
            mgmtgroup: None,
            nostdin: false,
            node: None,
        }
    }
}

/// The command line is not one that can be followed. Print the text behind the program's name and
/// a colon on the standard error, [`usage`] on the standard output, and exit with
/// [`USAGE_EXIT_CODE`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// No option is called so.
    #[error("unrecognized option '{0}'")]
    Unrecognized(String),
    /// More than one option begins so.
    #[error("option '{option}' is ambiguous; possibilities: '{}'", possibilities.join("' '"))]
    Ambiguous {
        /// As it was written.
        option: String,
        /// Every option that begins so.
        possibilities: Vec<String>,
    },
    /// No option has this letter.
    #[error("invalid option -- '{0}'")]
    InvalidLetter(char),
    /// A long option without its value.
    #[error("option '{0}' requires an argument")]
    MissingValue(String),
    /// A letter without its value.
    #[error("option requires an argument -- '{0}'")]
    MissingLetterValue(char),
    /// A value for an option that takes none.
    #[error("option '{0}' doesn't allow an argument")]
    UnwantedValue(String),
    /// A word that is no option.
    #[error("unexpected argument '{0}'; every argument of this program is an option")]
    Positional(String),
    /// A value that cannot be read.
    #[error("option '{option}': '{value}' is not {expected}")]
    Value {
        /// As it was written.
        option: String,
        /// What was given.
        value: String,
        /// What is understood.
        expected: &'static str,
    },
    /// Not an address; VDE's words.
    #[error("Invalid MAC Addr {0}")]
    MacAddress(String),
    /// A word that is not UTF-8.
    #[error("argument {0:?} is not valid UTF-8")]
    NotUnicode(OsString),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    Help,
    Hub,
    Fstp,
    Version,
    Numports,
    Hashsize,
    Macaddr,
    Priority,
    Sock,
    Mode,
    Dirmode,
    Group,
    Daemon,
    Pidfile,
    Rcfile,
    Mgmt,
    Mgmtmode,
    Mgmtgroup,
    Nostdin,
    Debugclients,
    Tap,
    Name,
    Listen,
    Control,
    State,
}

const fn flag(name: &'static str, letter: Option<char>, means: Means) -> Opt<Means> {
    Opt { name, letter, value: false, whole: false, means }
}

const fn takes(name: &'static str, letter: Option<char>, means: Means) -> Opt<Means> {
    Opt { name, letter, value: true, whole: false, means }
}

/// An option that VDE does not have.
const fn ours(name: &'static str, means: Means) -> Opt<Means> {
    Opt { name, letter: None, value: true, whole: true, means }
}

/// In VDE's order, in which an ambiguous option lists its possibilities.
const OPTIONS: [Opt<Means>; 28] = [
    flag("help", Some('h'), Means::Help),
    flag("hub", Some('x'), Means::Hub),
    flag("fstp", Some('F'), Means::Fstp),
    flag("version", Some('v'), Means::Version),
    takes("numports", Some('n'), Means::Numports),
    takes("hashsize", None, Means::Hashsize),
    takes("macaddr", None, Means::Macaddr),
    takes("priority", None, Means::Priority),
    takes("sock", Some('s'), Means::Sock),
    takes("vdesock", Some('s'), Means::Sock),
    takes("unix", Some('s'), Means::Sock),
    takes("mod", Some('m'), Means::Mode),
    takes("mode", Some('m'), Means::Mode),
    takes("dirmode", None, Means::Dirmode),
    takes("group", Some('g'), Means::Group),
    flag("daemon", Some('d'), Means::Daemon),
    takes("pidfile", Some('p'), Means::Pidfile),
    takes("rcfile", Some('f'), Means::Rcfile),
    takes("mgmt", Some('M'), Means::Mgmt),
    takes("mgmtmode", None, Means::Mgmtmode),
    takes("mgmtgroup", None, Means::Mgmtgroup),
    flag("nostdin", None, Means::Nostdin),
    takes("debugclients", Some('D'), Means::Debugclients),
    takes("tap", Some('t'), Means::Tap),
    ours("name", Means::Name),
    ours("listen", Means::Listen),
    ours("control", Means::Control),
    ours("state", Means::State),
];

impl Invocation {
    /// Reads the words behind the program's name.
    ///
    /// `--help` and `--version` win over everything behind them, as they do in VDE.
    ///
    /// # Errors
    /// [`ArgumentError`] for the first word that cannot be followed.
    pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Self, ArgumentError> {
        let words: Vec<String> = words
            .into_iter()
            .map(|word| word.into_string().map_err(ArgumentError::NotUnicode))
            .collect::<Result<_, _>>()?;
        let (found, positional) = getopt(&OPTIONS, words);
        let mut arguments = SwitchArguments::default();
        for option in found {
            match option.means {
                Means::Help => return Ok(Self::Help),
                Means::Version => return Ok(Self::Version),
                _ => arguments.set(option)?,
            }
        }
        match positional?.into_iter().next() {
            Some(word) => Err(ArgumentError::Positional(word)),
            None => Ok(Self::Run(Box::new(arguments))),
        }
    }
}

impl SwitchArguments {
    /// The permissions of the sockets and of the directory.
    ///
    /// Neither given: 0600 and 02700. The mode alone: the directory may be entered by whoever may
    /// use the sockets, and is setgid. The directory's alone: the sockets have the same without
    /// execution.
    pub const fn permissions(&self) -> (u32, u32) {
        match (self.mode, self.dirmode) {
            (None, None) => (0o600, 0o2700),
            (Some(mode), Some(dirmode)) => (mode, dirmode),
            (None, Some(dirmode)) => (dirmode & 0o666, dirmode),
            (Some(mode), None) => {
                let readable_or_writable = (mode | mode >> 1) & 0o222;
                (mode, 0o2000 | mode & 0o666 | readable_or_writable >> 1)
            }
        }
    }

    fn node(&mut self) -> &mut NodeArguments {
        self.node.get_or_insert_default()
    }

    fn set(&mut self, option: Found<Means>) -> Result<(), ArgumentError> {
        match option.means {
            Means::Hub => self.hub = true,
            Means::Fstp => self.fstp = true,
            Means::Daemon => self.daemon = true,
            Means::Nostdin => self.nostdin = true,
            Means::Sock => self.sock = Some(option.value.into()),
            Means::Pidfile => self.pidfile = Some(option.value.into()),
            Means::Rcfile => self.rcfile = Some(option.value.into()),
            Means::Mgmt => self.mgmt = Some(option.value.into()),
            Means::Group => self.group = Some(option.value),
            Means::Mgmtgroup => self.mgmtgroup = Some(option.value),
            Means::Tap => self.taps.push(option.value),
            Means::Name => self.node().name = Some(option.value),
            Means::Listen => self.node().listen = Some(option.value),
            Means::Control => self.node().control = Some(option.value.into()),
            Means::State => self.node().state = Some(option.value.into()),
            Means::Mode => self.mode = Some(octal(option)?),
            Means::Dirmode => self.dirmode = Some(octal(option)?),
            Means::Mgmtmode => self.mgmtmode = octal(option)?,
            Means::Numports => {
                self.numports = positive(option, MAX_PORTS, "a number of ports from 1 to 65535")?;
            }
            Means::Hashsize => {
                let expected = "a number of entries from 1 to 16777216";
                self.hashsize = positive(option, MAX_HASH_SIZE, expected)?;
            }
            Means::Priority => {
                let number = number(&option.value);
                let priority = number.map(|number| number & 0xffff);
                self.priority = priority
                    .and_then(|priority| u16::try_from(priority).ok())
                    .ok_or_else(|| wrong(option, "a number"))?;
            }
            Means::Macaddr => match mac(option.value.as_bytes()) {
                Some((address, b"")) => self.macaddr = Some(address),
                _ => return Err(ArgumentError::MacAddress(option.value)),
            },
            // VDE takes a number and does nothing with it.
            Means::Debugclients | Means::Help | Means::Version => {}
        }
        Ok(())
    }
}

fn wrong(option: Found<Means>, expected: &'static str) -> ArgumentError {
    ArgumentError::Value { option: option.written, value: option.value, expected }
}

/// As C's `%i`, but the whole word.
fn number(text: &str) -> Option<i64> {
    let (number, rest) = integer(text.as_bytes())?;
    rest.is_empty().then_some(number)
}

fn positive(
    option: Found<Means>,
    limit: u32,
    expected: &'static str,
) -> Result<NonZeroU32, ArgumentError> {
    number(&option.value)
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| *number <= limit)
        .and_then(NonZeroU32::new)
        .ok_or_else(|| wrong(option, expected))
}

fn octal(option: Found<Means>) -> Result<u32, ArgumentError> {
    let digits = option.value.bytes().all(|octet| octet.is_ascii_digit());
    u32::from_str_radix(&option.value, 8)
        .ok()
        .filter(|mode| digits && *mode <= 0o7777)
        .ok_or_else(|| wrong(option, "a mode in octal, for example 660"))
}

/// What `--help` prints. Laid out as VDE's, so that scripts that look for an option find it.
pub const fn usage() -> &'static str {
    include_str!("arguments/usage.txt")
}

/// What `--version` prints. The first line begins as VDE's.
pub fn version(version: &str) -> String {
    format!("VDE {version}\nvde_switch of vdenode, licensed under MIT OR Apache-2.0\n")
}
