//! Changes of a wire's settings as people write them: `loss=1%`, `delay=10ms+2ms`, `rate=20mbit`.
//! Names and values are the emulator's, and so VDE's, with a few ways of writing added. Pure.

use std::sync::Arc;

use emulator::{Both, Change, Direction, Field, Profile, Settings, Trace};

/// The longest queue before a bottleneck for which none was asked, in frames: as long as that of
/// most network interfaces. A bottleneck without one would hold a minute of frames.
pub(super) const QUEUE: u32 = 1000;

/// Names in place of the emulator's.
const ALIASES: [(&str, Field); 3] =
    [("rate", Field::Bandwidth), ("burst", Field::LostBurst), ("queue-len", Field::QueueLen)];

/// Which directions of a wire. In is from the guest or the other node into this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sides {
    #[default]
    Both,
    In,
    Out,
}

impl Sides {
    /// Whether a direction is one of them.
    pub(crate) fn has(self, direction: Direction) -> bool {
        match self {
            Self::Both => true,
            Self::In => direction == IN,
            Self::Out => direction == OUT,
        }
    }
}

/// Into the node.
pub(crate) const IN: Direction = Direction::LeftToRight;

/// Out of the node.
pub(crate) const OUT: Direction = Direction::RightToLeft;

/// One change.
#[derive(Debug, Clone)]
pub(crate) struct Edit {
    sides: Sides,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    /// Everything as it was without a wire.
    Clear,
    Profile(Profile),
    Set(Change),
    Trace(Arc<Trace>),
}

/// What cannot be set, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {problem}")]
pub(crate) struct EditError {
    name: String,
    problem: String,
}

impl Edit {
    pub(crate) fn clear(sides: Sides) -> Self {
        Self { sides, what: What::Clear }
    }

    pub(crate) fn trace(sides: Sides, trace: Arc<Trace>) -> Self {
        Self { sides, what: What::Trace(trace) }
    }

    pub(crate) fn profile(sides: Sides, name: &str) -> Result<Self, EditError> {
        let profile = Profile::named(name).ok_or_else(|| EditError {
            name: "profile".to_owned(),
            problem: format!("there is none called '{name}'; there are {}", Profile::names()),
        })?;
        Ok(Self { sides, what: What::Profile(profile) })
    }

    /// Reads the value of a setting.
    pub(crate) fn set(sides: Sides, name: &str, value: &str) -> Result<Self, EditError> {
        let wrong = |problem: String| EditError { name: name.to_owned(), problem };
        let alias = ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, field)| *field);
        let field = alias.or_else(|| Field::named(name)).ok_or_else(|| {
            let names: Vec<_> = names().collect();
            wrong(format!("there is no such setting; there are {}", names.join(", ")))
        })?;
        if field == Field::Speed {
            return Err(wrong("a node does not hold its guests back; use rate".to_owned()));
        }
        let text = without_signs(value).map_err(wrong)?;
        let text = in_one_unit(&text);
        let has_unit = || text.chars().any(char::is_alphabetic) || text.trim() == "0";
        if name == "rate" && !has_unit() {
            return Err(wrong(format!(
                "'{value}' has no unit; kbit, mbit or gbit, or K, M or G octets a second, must \
                 follow the number"
            )));
        }
        let change = field.parse(&text, None).map_err(|err| wrong(err.problem.to_string()))?;
        if change.target.state.is_some() {
            return Err(wrong("a wire has one state; leave the brackets away".to_owned()));
        }
        if change.target.direction.is_some_and(|direction| !sides.has(direction)) {
            return Err(wrong(
                "LR is in and RL is out, which contradicts the direction".to_owned(),
            ));
        }
        Ok(Self { sides, what: What::Set(change) })
    }

    fn sets(&self, wanted: &[Field]) -> bool {
        matches!(&self.what, What::Set(change) if wanted.contains(&change.field))
    }
}

/// The names of all settings.
fn names() -> impl Iterator<Item = &'static str> {
    let own = ALIASES.iter().map(|(alias, _)| *alias);
    own.chain(Field::ALL.into_iter().filter(|field| *field != Field::Speed).map(Field::name))
}

/// Makes changes in their order. A bottleneck that is asked for without a queue gets one.
pub(crate) fn apply<'a>(
    edits: impl IntoIterator<Item = &'a Edit> + Clone,
    settings: &mut Both<Settings>,
) {
    for edit in edits.clone() {
        let mut changed = settings.clone();
        match &edit.what {
            What::Clear => changed = Both::default(),
            What::Profile(profile) => changed = profile.settings(),
            // It was checked when it was read.
            What::Set(change) => drop(change.apply(&mut changed)),
            What::Trace(trace) => {
                for direction in Direction::ALL {
                    changed[direction].trace = Some(trace.clone());
                }
            }
        }
        for direction in Direction::ALL.into_iter().filter(|it| edit.sides.has(*it)) {
            std::mem::swap(&mut settings[direction], &mut changed[direction]);
            if edit.sets(&[Field::Bandwidth]) {
                settings[direction].trace = None;
            }
        }
    }
    let queued = [Field::Queue, Field::QueueLen, Field::ChanBufSize, Field::CoDel];
    if edits.into_iter().any(|edit| edit.sets(&queued)) {
        return;
    }
    for direction in Direction::ALL {
        let settings = &mut settings[direction];
        let narrow = settings.bandwidth.is_some() || settings.trace.is_some();
        let endless = settings.queue.octets.is_none()
            && settings.queue.frames.is_none()
            && settings.capacity.is_none();
        if narrow && endless {
            settings.queue.frames = Some(QUEUE);
        }
    }
}

/// A value without its percent signs, each of which follows a number.
fn without_signs(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let follows = out.ends_with(|before: char| before.is_ascii_digit() || before == '.');
        match character {
            '%' if follows => {}
            '%' => return Err(format!("'{text}' has a percent sign where no number is before it")),
            character => out.push(character),
        }
    }
    Ok(out)
}

/// `10ms+2ms` as VDE writes it, with one unit for both numbers: `10+2ms`. What is not understood
/// stays as it is, for whoever reads it next to complain about.
fn in_one_unit(text: &str) -> String {
    const FACTORS: [(&str, f64); 8] = [
        ("ns", 1.0),
        ("us", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("bit", 1.0),
        ("kbit", 1e3),
        ("mbit", 1e6),
        ("gbit", 1e9),
    ];
    let unchanged = || text.to_owned();
    let Some((head, tail)) = text.split_once('+') else {
        return unchanged();
    };
    let (head, tail) = (head.trim(), tail.trim());
    let number_end = |part: &str| part.rfind(|c: char| c.is_ascii_digit()).map_or(0, |at| at + 1);
    let (centre, unit) = head.split_at(number_end(head));
    let (variation, suffix) = tail.split_at(number_end(tail));
    let (unit, suffix) = (unit.trim().to_ascii_lowercase(), suffix.trim().to_ascii_lowercase());
    if unit.is_empty() {
        return unchanged();
    }
    let factor = |unit: &str| FACTORS.iter().find(|(name, _)| *name == unit).map(|it| it.1);
    // One letter behind the unit is the shape of the distribution.
    let shapes = ["n", "p", "t", "u", ""];
    let parts = shapes.iter().find_map(|shape| {
        let rest = suffix.strip_suffix(shape)?.trim_end();
        (rest.is_empty() || factor(rest).is_some() || rest == unit).then_some((rest, *shape))
    });
    match parts {
        Some((rest, shape)) if rest.is_empty() || rest == unit => {
            format!("{centre}+{variation}{unit}{shape}")
        }
        Some((rest, shape)) => match (centre.parse::<f64>(), factor(&unit), factor(rest)) {
            (Ok(centre), Some(from), Some(to)) => {
                format!("{}+{variation}{rest}{shape}", centre * from / to)
            }
            _ => unchanged(),
        },
        None => unchanged(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use emulator::{Quantity as _, Rate};

    use super::*;

    fn edited(words: &[(&str, &str)]) -> Both<Settings> {
        let edits: Vec<_> = words
            .iter()
            .map(|(name, value)| Edit::set(Sides::Both, name, value).unwrap())
            .collect();
        let mut settings = Both::default();
        apply(&edits, &mut settings);
        settings
    }

    #[test]
    fn people_write_units_at_both_numbers() {
        for (text, same) in [
            ("10ms+2ms", "10+2ms"),
            ("10ms+2", "10+2ms"),
            ("10 ms + 2 msN", "10+2msn"),
            ("10ms+500us", "10000+500us"),
            ("1s+50msP", "1000+50msp"),
            ("20Mbit+1Mbit", "20+1mbit"),
            ("10+2N", "10+2N"),
            ("20mbit", "20mbit"),
            ("10parsec+2ms", "10parsec+2ms"),
        ] {
            assert_eq!(in_one_unit(text), same, "{text}");
        }
    }

    #[test]
    fn values_in_the_words_of_people_and_of_vde_mean_the_same() {
        for (people, vde) in [
            (("loss", "1%"), ("loss", "1")),
            (("delay", "10ms+2ms"), ("delay", "10+2")),
            (("rate", "8mbit"), ("bandwidth", "1000000")),
            (("gemodel", "1%,20%"), ("gemodel", "1,20")),
            (("burst", "3"), ("lostburst", "3")),
        ] {
            assert_eq!(edited(&[people]), edited(&[vde]), "{people:?}");
            assert_ne!(edited(&[people]), Both::default(), "{people:?}");
        }
    }

    #[test]
    fn bad_values_are_told_with_the_name_under_which_they_came() {
        for (name, value, part) in [
            ("loss", "150%", "loss: 150 is no percentage; it must be from 0 to 100"),
            ("loss", "-5", "loss: -5 is no percentage"),
            ("loss", "%", "loss: '%' has a percent sign"),
            ("delay", "10parsec", "delay: 'parsec' means nothing here"),
            ("delay", "10parsec+2ms", "delay: 'parsec+2ms' means nothing here"),
            ("delay", "-1ms", "delay: -0.001 is no delay"),
            ("rate", "20", "rate: '20' has no unit"),
            ("rate", "fast", "rate: 'fast' is not a number"),
            ("delya", "10ms", "delya: there is no such setting; there are rate,"),
            ("speed", "10", "speed: a node does not hold"),
            ("loss", "5[2]", "loss: a wire has one state"),
        ] {
            let err = Edit::set(Sides::Both, name, value).unwrap_err().to_string();
            assert!(err.starts_with(part), "{name} {value}: {err}");
        }
        let err = Edit::set(Sides::Out, "loss", "LR5").unwrap_err().to_string();
        assert!(err.contains("contradicts"), "{err}");
        assert!(Edit::profile(Sides::Both, "5g").unwrap_err().to_string().contains("lte"));
    }

    #[test]
    fn a_change_is_for_its_own_direction() {
        let mut settings = Both::default();
        apply(&[Edit::set(Sides::Out, "delay", "10ms").unwrap()], &mut settings);
        assert_eq!(settings[IN], Settings::default());
        assert_eq!(settings[OUT].delay, Duration::from_millis(10).into());
        apply(&[Edit::set(Sides::Both, "loss", "LR5").unwrap()], &mut settings);
        assert!(settings[OUT].loss.share.is_zero() && !settings[IN].loss.share.is_zero());
        apply(&[Edit::clear(Sides::In)], &mut settings);
        assert_eq!(settings[IN], Settings::default());
        assert!(!settings[OUT].delay.is_zero());
    }

    #[test]
    fn a_bottleneck_has_a_queue_unless_it_is_told_otherwise() {
        assert_eq!(edited(&[("rate", "20mbit")])[IN].queue.frames, Some(QUEUE));
        assert_eq!(edited(&[("rate", "20mbit"), ("queue-len", "0")])[IN].queue.frames, None);
        assert_eq!(edited(&[("queue", "9000"), ("rate", "1mbit")])[IN].queue.frames, None);
        assert_eq!(edited(&[("delay", "9ms")])[IN].queue.frames, None);
    }

    #[test]
    fn a_rate_replaces_a_trace() {
        let trace = Arc::new(Trace::parse("1\n2\n").unwrap());
        let mut settings = Both::default();
        apply(&[Edit::trace(Sides::Out, trace)], &mut settings);
        assert!(settings[IN].trace.is_none() && settings[OUT].trace.is_some());
        assert_eq!(settings[OUT].queue.frames, Some(QUEUE));
        apply(&[Edit::set(Sides::Both, "rate", "8mbit").unwrap()], &mut settings);
        assert!(settings[OUT].trace.is_none());
        let rate = settings[OUT].bandwidth.as_ref().map(|rate| rate.centre.number());
        assert_eq!(rate, Some(Rate::from_bits(8e6).unwrap().number()));
    }
}
