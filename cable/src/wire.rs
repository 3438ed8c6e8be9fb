//! `vdecable wire`: its flags, and what it asks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use control::Request;
use control::wire::{WireChange, WireSide, WireTarget};

/// The longest file of a trace or a timeline, in octets. It goes to the node in one line.
const MAX_FILE: u64 = 3 << 20;

/// How values and files are written, for `--help`.
const VALUES: &str = "\
Values: a number, with +VARIATION behind it if it differs from frame to frame, evenly unless N (normal), \
P (Pareto) or T follows: 1%, 10ms, 10ms+2ms, 25ms+15msN, 20mbit. Times are in ns, us, ms or s, ms \
without a unit; rates in bit, kbit, mbit or gbit, or K, M or G octets a second. VDE's notation is \
understood, too; LR is in and RL is out.

In is from the guest or the other node into this node; out is the other way. Effects are applied to \
frames as they are on a wire: super-frames are cut first, unless nothing but a constant delay is asked \
for. A bottleneck (--rate, --trace) for which no queue is asked has one of 1000 frames. One direction \
holds 64 MiB of frames at most.

On a cable the beats by which nodes watch it are impaired, too, so that a bad cable is left for a better \
way and a dead one is called dead; and what nodes tell each other comes late, as over any reliable \
stream. --frames-only spares both.

A wire on a port ends with what is plugged in there; a wire on a cable stays when the cable comes back; \
none outlives the node.

A timeline has one step a line; steps add up, and `repeat` begins again:

  # Into a tunnel and out again.
  0      profile lte
  10s    rate=2mbit loss=1%
  12s    in delay=300ms
  14.5s  clear
  60s    repeat";

/// The flags of `vdecable wire`.
#[derive(Debug, clap::Args)]
pub(crate) struct WireArguments {
    /// Port number, cable id (c1), or description of one; `pair` for two stations; `profiles` to see
    /// those; nothing to see all wires
    target: Option<String>,
    /// With `pair`: from which MAC address to which; nothing with --clear for all
    #[arg(value_name = "MAC", num_args = 0..=2)]
    stations: Vec<String>,
    /// Only into the node
    #[arg(long = "in", conflicts_with = "outward")]
    inward: bool,
    /// Only out of the node
    #[arg(long = "out")]
    outward: bool,
    /// All settings of a kind of link: lte, 3g, satellite, dsl, wifi-bad, intercontinental
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Frames lost
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    loss: Option<String>,
    /// How many frames are lost in a row, on average
    #[arg(long, value_name = "FRAMES", allow_hyphen_values = true)]
    burst: Option<String>,
    /// How long a frame is on its way
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    delay: Option<String>,
    /// Rate of the bottleneck
    #[arg(long, value_name = "RATE", allow_hyphen_values = true)]
    rate: Option<String>,
    /// Octets that wait before the bottleneck
    #[arg(long, value_name = "OCTETS", allow_hyphen_values = true)]
    queue: Option<String>,
    /// Frames followed by a copy
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    dup: Option<String>,
    /// Frames in which one bit is flipped
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    corrupt: Option<String>,
    /// Frames that overtake those before them
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    reorder: Option<String>,
    /// Longest frame that passes
    #[arg(long, value_name = "OCTETS", allow_hyphen_values = true)]
    mtu: Option<String>,
    /// Any setting of wirefilter's by its name, such as gemodel=1%,25% or codel=1
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// A recorded bottleneck: a file of delivery opportunities as mahimahi's mm-link takes it
    #[arg(long, value_name = "FILE", conflicts_with = "rate")]
    trace: Option<PathBuf>,
    /// Settings over time, from a file
    #[arg(long, value_name = "FILE")]
    timeline: Option<PathBuf>,
    /// What all chance comes from, to have the same again
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Whether beats and what nodes tell each other pass by a cable's wire
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
          require_equals = true)]
    frames_only: Option<bool>,
    /// Everything as it was without a wire, before what else is asked
    #[arg(long)]
    clear: bool,
}

/// What `--help` says after the flags.
pub(crate) const fn help() -> &'static str {
    VALUES
}

impl WireArguments {
    /// What to ask the node.
    pub(crate) fn request(self) -> anyhow::Result<Request> {
        let change = self.change()?;
        let nothing = change == WireChange::default();
        let stations: Vec<&str> = self.stations.iter().map(String::as_str).collect();
        let target = match (self.target.as_deref(), &stations[..]) {
            (None, _) if nothing => return Ok(Request::Wires),
            (Some("profiles"), []) if nothing => return Ok(Request::WireProfiles),
            (None, _) => anyhow::bail!("on which port or cable? vdecable wire TARGET …"),
            (Some("pair"), [source, destination]) => WireTarget::Pair {
                source: (*source).to_owned(),
                destination: (*destination).to_owned(),
            },
            (Some("pair"), []) if self.clear => WireTarget::Pairs,
            (Some("pair"), _) => {
                anyhow::bail!("a pair is two MAC addresses: vdecable wire pair MAC MAC …")
            }
            (Some(target), []) => WireTarget::At(target.to_owned()),
            (Some(_), _) => anyhow::bail!("only a pair has two ends: vdecable wire pair MAC MAC …"),
        };
        Ok(Request::Wire { target, change })
    }

    fn change(&self) -> anyhow::Result<WireChange> {
        let named = [
            ("loss", &self.loss),
            ("burst", &self.burst),
            ("delay", &self.delay),
            ("rate", &self.rate),
            ("queue", &self.queue),
            ("dup", &self.dup),
            ("corrupt", &self.corrupt),
            ("reorder", &self.reorder),
            ("mtu", &self.mtu),
        ];
        let mut set = BTreeMap::new();
        for (name, value) in named {
            if let Some(value) = value {
                set.insert(name.to_owned(), value.clone());
            }
        }
        for word in &self.set {
            let (name, value) = word
                .split_once('=')
                .with_context(|| format!("'{word}' is not NAME=VALUE, as in --set codel=1"))?;
            if set.insert(name.to_owned(), value.to_owned()).is_some() {
                anyhow::bail!("{name} is given twice");
            }
        }
        let side = match (self.inward, self.outward) {
            (true, _) => Some(WireSide::In),
            (_, true) => Some(WireSide::Out),
            (false, false) => None,
        };
        Ok(WireChange {
            side,
            clear: self.clear,
            profile: self.profile.clone(),
            set,
            trace: self.trace.as_deref().map(read).transpose()?,
            timeline: self.timeline.as_deref().map(read).transpose()?,
            seed: self.seed,
            frames_only: self.frames_only,
        })
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let len = std::fs::metadata(path).with_context(|| format!("cannot read {shown}"))?.len();
    anyhow::ensure!(len <= MAX_FILE, "{shown} has {len} octets; a node takes {MAX_FILE}");
    std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Wire {
        #[command(flatten)]
        arguments: WireArguments,
    }

    fn request(words: &str) -> Result<Request, String> {
        let words = std::iter::once("wire").chain(words.split_whitespace());
        let wire = Wire::try_parse_from(words).map_err(|err| err.to_string())?;
        wire.arguments.request().map_err(|err| err.to_string())
    }

    fn changed(words: &str) -> (WireTarget, WireChange) {
        match request(words) {
            Ok(Request::Wire { target, change }) => (target, change),
            other => panic!("{words}: {other:?}"),
        }
    }

    #[test]
    fn flags_become_settings_by_name() {
        let (target, change) =
            changed("c1 --in --loss 1% --delay -5 --set codel=1 --seed 7 --frames-only");
        assert_eq!(target, WireTarget::At("c1".to_owned()));
        let set = [("codel", "1"), ("delay", "-5"), ("loss", "1%")];
        let set = set.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let side = Some(WireSide::In);
        let wanted =
            WireChange { side, set, seed: Some(7), frames_only: Some(true), ..Default::default() };
        assert_eq!(change, wanted);
        assert_eq!(changed("3 --frames-only=false").1.frames_only, Some(false));
    }

    #[test]
    fn targets_are_told_apart() {
        assert_eq!(request(""), Ok(Request::Wires));
        assert_eq!(request("profiles"), Ok(Request::WireProfiles));
        assert_eq!(changed("vm-a").0, WireTarget::At("vm-a".to_owned()));
        let (source, destination) = ("02::1".to_owned(), "02::2".to_owned());
        let pair = WireTarget::Pair { source, destination };
        assert_eq!(changed("pair 02::1 02::2 --profile lte").0, pair);
        assert_eq!(changed("pair --clear").0, WireTarget::Pairs);
        for (words, part) in [
            ("--loss 1%", "on which port or cable?"),
            ("pair 02::1 --loss 1", "two MAC addresses"),
            ("pair --loss 1", "two MAC addresses"),
            ("3 4", "only a pair"),
            ("3 --in --out", "cannot be used with"),
            ("3 --rate 1mbit --trace x", "cannot be used with"),
            ("3 --set codel", "is not NAME=VALUE"),
            ("3 --loss 1 --set loss=2", "given twice"),
            ("3 --timeline /nowhere/at/all", "cannot read /nowhere/at/all"),
        ] {
            let err = request(words).unwrap_err();
            assert!(err.contains(part), "{words}: {err}");
        }
    }
}
