//! Wires as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{counts, duration};
use crate::wire::{WireAchieved, WireProfile, WireStatus};

/// The answer to `vdecable wire`.
pub fn wires(wires: &[WireStatus]) -> String {
    if wires.is_empty() {
        return "no wires; make a link worse with: vdecable wire TARGET --delay 10ms --loss 1%\n"
            .to_owned();
    }
    let mut out = String::new();
    for wire in wires {
        let _ = write!(out, "{:<6} {}", wire.kind, wire.target);
        if !wire.description.is_empty() {
            let _ = write!(out, "  ({})", wire.description);
        }
        if let Some(profile) = &wire.profile {
            let _ = write!(out, ", profile {profile}");
        }
        if wire.timeline {
            out.push_str(", timeline playing");
        }
        if wire.frames_only {
            out.push_str(", frames only");
        }
        let _ = writeln!(out, ", seed {}", wire.seed);
        for direction in &wire.directions {
            let name = &direction.direction;
            let achieved = &direction.achieved;
            if direction.asked.is_empty() && achieved.received == 0 {
                let _ = writeln!(out, "  {name:<4} asked     nothing");
                continue;
            }
            let _ = writeln!(out, "  {name:<4} asked     {}", settings(&direction.asked));
            let _ = writeln!(out, "       achieved  {}", self::achieved(achieved));
        }
    }
    out
}

/// One line for `vdecable status`.
pub(super) fn wire_line(wire: &WireStatus) -> String {
    let asked: Vec<_> = wire
        .directions
        .iter()
        .filter(|direction| !direction.asked.is_empty())
        .map(|direction| format!("{}: {}", direction.direction, settings(&direction.asked)))
        .collect();
    let asked = if asked.is_empty() { "nothing now".to_owned() } else { asked.join("; ") };
    format!("{} {}  {asked}", wire.kind, wire.target)
}

fn settings(asked: &BTreeMap<String, String>) -> String {
    if asked.is_empty() {
        return "nothing".to_owned();
    }
    asked.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
}

fn achieved(achieved: &WireAchieved) -> String {
    let mut parts = vec![format!("{} of {} frames", achieved.delivered, achieved.received)];
    if let Some(loss) = achieved.loss_percent {
        parts.push(format!("loss {loss:.2} %"));
    }
    if let (Some(p50), Some(p99), Some(mean)) =
        (achieved.delay_p50_ms, achieved.delay_p99_ms, achieved.delay_mean_ms)
    {
        parts.push(format!("delay p50 {p50:.2} ms, p99 {p99:.2} ms, mean {mean:.2} ms"));
    }
    if let Some(jitter) = achieved.jitter_ms {
        parts.push(format!("jitter {jitter:.2} ms"));
    }
    parts.push(format!("rate {}", rate(achieved.rate_bps)));
    if achieved.peak_rate_bps > achieved.rate_bps {
        parts.push(format!("peak {}", rate(achieved.peak_rate_bps)));
    }
    for (count, what) in [
        (achieved.copies, "copies"),
        (achieved.damaged, "damaged"),
        (achieved.reordered, "reordered"),
        (achieved.waiting_frames, "under way"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    if !achieved.drops.is_empty() {
        parts.push(format!("dropped: {}", counts(&achieved.drops)));
    }
    parts.push(format!("in {}", duration(achieved.seconds)));
    parts.join(", ")
}

fn rate(bits: f64) -> String {
    match bits {
        b if b < 1e3 => format!("{b:.0} bit/s"),
        b if b < 1e6 => format!("{:.2} kbit/s", b / 1e3),
        b if b < 1e9 => format!("{:.2} Mbit/s", b / 1e6),
        b => format!("{:.2} Gbit/s", b / 1e9),
    }
}

/// The answer to `vdecable wire profiles`.
pub fn wire_profiles(profiles: &[WireProfile]) -> String {
    let mut out = String::new();
    for profile in profiles {
        let _ = writeln!(out, "{}: {}", profile.name, profile.about);
        let _ = writeln!(out, "  in   {}", settings(&profile.inward));
        let _ = writeln!(out, "  out  {}", settings(&profile.outward));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::WireDirection;

    #[test]
    fn a_wire_shows_what_is_asked_beside_what_was_achieved() {
        let asked = [("delay", "10ms"), ("loss", "1%")];
        let direction = WireDirection {
            direction: "in".to_owned(),
            asked: asked.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            achieved: WireAchieved {
                seconds: 5.0,
                received: 1000,
                delivered: 990,
                loss_percent: Some(1.0),
                delay_p50_ms: Some(10.02),
                delay_p99_ms: Some(10.4),
                delay_mean_ms: Some(10.05),
                jitter_ms: Some(0.03),
                rate_bps: 19.9e6,
                peak_rate_bps: 20e6,
                drops: [("lost".to_owned(), 10)].into(),
                ..WireAchieved::default()
            },
        };
        let wire = WireStatus {
            target: "3".to_owned(),
            kind: "port".to_owned(),
            description: "vm-a".to_owned(),
            seed: 7,
            directions: vec![
                direction,
                WireDirection { direction: "out".to_owned(), ..WireDirection::default() },
            ],
            ..WireStatus::default()
        };
        assert_eq!(wire_line(&wire), "port 3  in: delay 10ms, loss 1%");
        assert_eq!(
            wires(&[wire]),
            "port   3  (vm-a), seed 7\n  \
             in   asked     delay 10ms, loss 1%\n       \
             achieved  990 of 1000 frames, loss 1.00 %, delay p50 10.02 ms, p99 10.40 ms, mean \
             10.05 ms, jitter 0.03 ms, rate 19.90 Mbit/s, peak 20.00 Mbit/s, dropped: 10 lost, in \
             5.0 s\n  \
             out  asked     nothing\n"
        );
        assert!(wires(&[]).starts_with("no wires"));
    }
}
