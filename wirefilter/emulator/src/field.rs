//! The settings by name, one at a time: what consoles, command lines and timelines change.

use std::fmt;
use std::sync::Arc;

use crate::link::{Both, Direction};
use crate::loss::{FourStates, LossStates, RowError};
use crate::notation::{self, Notated, NotationError, Target, Unit};
use crate::settings::{Chance, Discipline, Order, Settings};
use crate::spread::{DelayTable, Spread};
use crate::units::{Octets, Percent, Quantity, Rate, ValueError};

/// A part of [`Settings`] that can be changed by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// `loss`: percent.
    Loss,
    /// `lostburst`: frames.
    LostBurst,
    /// `gemodel`: up to four percentages, as in tc-netem(8): to the bad state, back, lost in the
    /// bad state (100), lost in the good state (0). A single 0 turns it off.
    GilbertElliott,
    /// `fourstates`: five percentages, p13, p31, p32, p23 and p14. A single 0 turns it off.
    FourStates,
    /// `delay`: milliseconds.
    Delay,
    /// `dup`: percent, below 100.
    Dup,
    /// `corrupt`: percent.
    Corrupt,
    /// `reorder`: percent.
    Reorder,
    /// `bandwidth`: octets a second.
    Bandwidth,
    /// `speed`: octets a second.
    Speed,
    /// `noise`: bits in 2^20 octets.
    Noise,
    /// `mtu`: octets.
    Mtu,
    /// `chanbufsize`: octets.
    ChanBufSize,
    /// `queue`: octets before the bottleneck.
    Queue,
    /// `queuelen`: frames before the bottleneck.
    QueueLen,
    /// `codel`: 0, 1, or target and interval in milliseconds.
    CoDel,
    /// `fifo`: 0 or 1.
    Fifo,
    /// `loss-corr`: percent, as the others below.
    LossCorrelation,
    /// `dup-corr`
    DupCorrelation,
    /// `corrupt-corr`
    CorruptCorrelation,
    /// `reorder-corr`
    ReorderCorrelation,
    /// `delay-corr`
    DelayCorrelation,
}

/// Why a setting was not changed: which one, and what is wrong with its value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct FieldError {
    /// Which.
    pub field: Field,
    /// Why not.
    pub problem: Problem,
}

/// What can be wrong with a value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Problem {
    /// How it is written.
    #[error(transparent)]
    Notation(#[from] NotationError),
    /// How large it is.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// Steps of a loss model.
    #[error(transparent)]
    Row(#[from] RowError),
    /// Every copy would have a copy.
    #[error("100 % would copy every copy without end; it must be below 100")]
    Endless,
    /// Neither 0 nor 1.
    #[error("'{0}' is neither 0 nor 1")]
    NotBoolean(String),
    /// A burst shorter than a frame.
    #[error("{0} is no length of a burst; it must be 0, or 1 frame and more")]
    ShortBurst(f64),
}

/// A change of one setting, checked and ready.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Which setting.
    pub field: Field,
    /// Which direction and state.
    pub target: Target,
    value: Value,
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Number(Notated),
    States(Option<LossStates>),
    Discipline(Discipline),
    Order(Order),
}

impl Field {
    /// Every field, in the order in which VDE's help lists its own, then ours.
    pub const ALL: [Self; 22] = [
        Self::Loss,
        Self::LostBurst,
        Self::Delay,
        Self::Dup,
        Self::Bandwidth,
        Self::Speed,
        Self::Noise,
        Self::Mtu,
        Self::ChanBufSize,
        Self::Fifo,
        Self::GilbertElliott,
        Self::FourStates,
        Self::Corrupt,
        Self::Reorder,
        Self::Queue,
        Self::QueueLen,
        Self::CoDel,
        Self::LossCorrelation,
        Self::DupCorrelation,
        Self::CorruptCorrelation,
        Self::ReorderCorrelation,
        Self::DelayCorrelation,
    ];

    /// Its name on consoles and in timelines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::LostBurst => "lostburst",
            Self::GilbertElliott => "gemodel",
            Self::FourStates => "fourstates",
            Self::Delay => "delay",
            Self::Dup => "dup",
            Self::Corrupt => "corrupt",
            Self::Reorder => "reorder",
            Self::Bandwidth => "bandwidth",
            Self::Speed => "speed",
            Self::Noise => "noise",
            Self::Mtu => "mtu",
            Self::ChanBufSize => "chanbufsize",
            Self::Queue => "queue",
            Self::QueueLen => "queuelen",
            Self::CoDel => "codel",
            Self::Fifo => "fifo",
            Self::LossCorrelation => "loss-corr",
            Self::DupCorrelation => "dup-corr",
            Self::CorruptCorrelation => "corrupt-corr",
            Self::ReorderCorrelation => "reorder-corr",
            Self::DelayCorrelation => "delay-corr",
        }
    }

    /// The field of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }

    /// Reads a change of this field; see [`notation`]. `table` is what shape `T` refers to.
    ///
    /// # Errors
    /// [`FieldError`].
    pub fn parse(self, text: &str, table: Option<&Arc<DelayTable>>) -> Result<Change, FieldError> {
        let change = || -> Result<Change, Problem> {
            let (target, text) = notation::target(text)?;
            let change = Change { field: self, target, value: self.value(text, table)? };
            // What is out of range is found now and not when it is applied.
            change.apply_to(&mut Settings::default())?;
            Ok(change)
        };
        change().map_err(|problem| FieldError { field: self, problem })
    }

    fn value(self, text: &str, table: Option<&Arc<DelayTable>>) -> Result<Value, Problem> {
        match self {
            Self::GilbertElliott => Ok(Value::States(gilbert_elliott(text)?)),
            Self::FourStates => Ok(Value::States(four_states(text)?)),
            Self::Fifo if boolean(text)? => Ok(Value::Order(Order::Kept)),
            Self::Fifo => Ok(Value::Order(Order::Free)),
            Self::CoDel => Ok(Value::Discipline(discipline(text)?)),
            _ => {
                let value = notation::value(text, self.unit(), table)?;
                if !self.varies() && value.variation > 0.0 {
                    return Err(NotationError::Variation(value.variation.to_string()).into());
                }
                Ok(Value::Number(value))
            }
        }
    }

    const fn unit(self) -> Unit {
        match self {
            Self::Delay => Unit::Time,
            Self::Bandwidth | Self::Speed => Unit::Rate,
            _ => Unit::Plain,
        }
    }

    const fn varies(self) -> bool {
        !matches!(
            self,
            Self::Mtu
                | Self::Queue
                | Self::QueueLen
                | Self::LossCorrelation
                | Self::DupCorrelation
                | Self::CorruptCorrelation
                | Self::ReorderCorrelation
                | Self::DelayCorrelation
        )
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Change {
    /// The value if it does not vary and is a number: percent, octets, nanoseconds.
    pub fn constant(&self) -> Option<u64> {
        match &self.value {
            Value::Number(value) if value.variation <= 0.0 => {
                Some(crate::units::whole(value.centre))
            }
            _ => None,
        }
    }

    /// Makes the change in the settings of the directions that it is for.
    ///
    /// # Errors
    /// [`FieldError`]; then nothing is changed.
    pub fn apply(&self, settings: &mut Both<Settings>) -> Result<(), FieldError> {
        let mut changed = settings.clone();
        for direction in Direction::ALL {
            if self.target.direction.is_none_or(|only| only == direction) {
                self.apply_to(&mut changed[direction])
                    .map_err(|problem| FieldError { field: self.field, problem })?;
            }
        }
        *settings = changed;
        Ok(())
    }

    fn apply_to(&self, settings: &mut Settings) -> Result<(), Problem> {
        let value = match &self.value {
            Value::States(states) => {
                settings.loss_states = *states;
                return Ok(());
            }
            Value::Discipline(discipline) => {
                settings.queue.discipline = *discipline;
                return Ok(());
            }
            Value::Order(order) => {
                settings.order = *order;
                return Ok(());
            }
            Value::Number(value) => value,
        };
        match self.field {
            Field::Loss => settings.loss.share = spread(value)?,
            Field::LostBurst => {
                let frames = value.centre;
                if frames > 0.0 && frames < 1.0 {
                    return Err(Problem::ShortBurst(frames));
                }
                settings.burst = spread(value)?;
            }
            Field::Dup => settings.duplication.share = duplication(value)?,
            Field::Corrupt => settings.corruption.share = spread(value)?,
            Field::Reorder => settings.reorder.share = spread(value)?,
            Field::Delay => settings.delay = spread(value)?,
            Field::Bandwidth => settings.bandwidth = rate(value)?,
            Field::Speed => settings.speed = rate(value)?,
            Field::Noise => settings.noise = spread(value)?,
            Field::Mtu => settings.mtu = nonzero(Octets::new(value.centre)?),
            Field::ChanBufSize => {
                settings.capacity = Some(spread(value)?).filter(|capacity| !capacity.is_zero());
            }
            Field::Queue => settings.queue.octets = nonzero(Octets::new(value.centre)?),
            Field::QueueLen => {
                let frames = Octets::new(value.centre)?.count();
                let frames = u32::try_from(frames).unwrap_or(u32::MAX);
                settings.queue.frames = (frames > 0).then_some(frames);
            }
            Field::LossCorrelation => correlate(&mut settings.loss, value)?,
            Field::DupCorrelation => correlate(&mut settings.duplication, value)?,
            Field::CorruptCorrelation => correlate(&mut settings.corruption, value)?,
            Field::ReorderCorrelation => correlate(&mut settings.reorder, value)?,
            Field::DelayCorrelation => settings.delay_correlation = Percent::new(value.centre)?,
            Field::GilbertElliott | Field::FourStates | Field::CoDel | Field::Fifo => {}
        }
        Ok(())
    }
}

fn spread<Q: Quantity>(value: &Notated) -> Result<Spread<Q>, ValueError> {
    Spread::new(value.centre, value.variation, value.shape.clone())
}

fn rate(value: &Notated) -> Result<Option<Spread<Rate>>, ValueError> {
    Ok(Some(spread::<Rate>(value)?).filter(|rate| rate.centre.number() > 0.0))
}

fn duplication(value: &Notated) -> Result<Spread<Percent>, Problem> {
    let share = spread::<Percent>(value)?;
    if share.centre.number() >= 100.0 { Err(Problem::Endless) } else { Ok(share) }
}

fn nonzero(octets: Octets) -> Option<Octets> {
    (octets.count() > 0).then_some(octets)
}

fn correlate(chance: &mut Chance, value: &Notated) -> Result<(), ValueError> {
    chance.correlation = Percent::new(value.centre)?;
    Ok(())
}

fn boolean(text: &str) -> Result<bool, Problem> {
    match text {
        "0" => Ok(false),
        "1" => Ok(true),
        "" => Err(NotationError::Missing.into()),
        _ => Err(Problem::NotBoolean(text.to_owned())),
    }
}

fn gilbert_elliott(text: &str) -> Result<Option<LossStates>, Problem> {
    let numbers = notation::list(text)?;
    let percent = |index, default| Percent::new(numbers.get(index).copied().unwrap_or(default));
    match numbers.len() {
        1 if numbers[0] <= 0.0 => Ok(None),
        2..=4 => Ok(Some(LossStates::GilbertElliott {
            worsening: percent(0, 0.0)?,
            recovery: percent(1, 0.0)?,
            loss_in_bad: percent(2, 100.0)?,
            loss_in_good: percent(3, 0.0)?,
        })),
        found => Err(NotationError::Count { found, wanted: "2 to 4, or a single 0" }.into()),
    }
}

fn four_states(text: &str) -> Result<Option<LossStates>, Problem> {
    let numbers = notation::list(text)?;
    match numbers[..] {
        [off] if off <= 0.0 => Ok(None),
        [p13, p31, p32, p23, p14] => {
            let steps = FourStates::new(
                Percent::new(p13)?,
                Percent::new(p31)?,
                Percent::new(p32)?,
                Percent::new(p23)?,
                Percent::new(p14)?,
            )?;
            Ok(Some(LossStates::Four(steps)))
        }
        _ => {
            let found = numbers.len();
            Err(NotationError::Count { found, wanted: "5, or a single 0" }.into())
        }
    }
}

fn discipline(text: &str) -> Result<Discipline, Problem> {
    match notation::list(text)?[..] {
        [0.0] => Ok(Discipline::TailDrop),
        [1.0] => Ok(Discipline::CODEL),
        [target, interval] => Ok(Discipline::CoDel {
            target: Quantity::from_number(target * 1e6)?,
            interval: Quantity::from_number(interval * 1e6)?,
        }),
        [_] => Err(Problem::NotBoolean(text.to_owned())),
        ref numbers => {
            let wanted = "0, 1, or target and interval";
            Err(NotationError::Count { found: numbers.len(), wanted }.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(field: &str, text: &str) -> Result<Both<Settings>, String> {
        let mut settings = Both::default();
        let field = Field::named(field).unwrap();
        let change = field.parse(text, None).map_err(|err| err.to_string())?;
        change.apply(&mut settings).map_err(|err| err.to_string())?;
        Ok(settings)
    }

    #[test]
    fn a_value_goes_to_its_direction_alone() {
        let settings = set("delay", "RL10").unwrap();
        assert!(settings.left_to_right.delay.is_zero());
        assert_eq!(settings.right_to_left.delay, Spread::constant(10e6).unwrap());
        let settings = set("bandwidth", "8Mbit").unwrap();
        assert_eq!(settings.left_to_right, settings.right_to_left);
        assert_eq!(settings.left_to_right.bandwidth, Some(Spread::constant(1e6).unwrap()));
    }

    #[test]
    fn zero_turns_a_limit_off() {
        for field in ["mtu", "bandwidth", "speed", "chanbufsize", "queue", "queuelen"] {
            assert_eq!(set(field, "0").unwrap(), Both::default(), "{field}");
        }
    }

    #[test]
    fn a_wrong_value_is_told_with_its_field() {
        for (field, text, error) in [
            ("loss", "150", "loss: 150 is no percentage; it must be from 0 to 100"),
            (
                "delay",
                "-5",
                "delay: -0.005 is no delay in seconds; it must be from 0 to 86400 seconds",
            ),
            ("dup", "100", "dup: 100 % would copy every copy without end; it must be below 100"),
            ("fifo", "2", "fifo: '2' is neither 0 nor 1"),
            ("mtu", "100+5", "mtu: '+5' means nothing here; this value does not vary"),
            (
                "lostburst",
                "0.5",
                "lostburst: 0.5 is no length of a burst; it must be 0, or 1 frame and more",
            ),
            (
                "fourstates",
                "60,10,10,10,60",
                "fourstates: the steps out of state 1 are 120 % together; at most 100 % are possible",
            ),
            (
                "fourstates",
                "1,2",
                "fourstates: 2 numbers instead of 5, or a single 0, separated by commas",
            ),
            ("codel", "x", "codel: 'x' is not a number"),
        ] {
            assert_eq!(set(field, text).unwrap_err(), error);
        }
    }

    #[test]
    fn loss_models_and_disciplines_are_read() {
        let settings = set("gemodel", "LR 1,10").unwrap();
        let percent = |value| Percent::new(value).unwrap();
        let states = LossStates::GilbertElliott {
            worsening: percent(1.0),
            recovery: percent(10.0),
            loss_in_bad: percent(100.0),
            loss_in_good: percent(0.0),
        };
        assert_eq!(settings.left_to_right.loss_states, Some(states));
        assert_eq!(set("gemodel", "0").unwrap(), Both::default());
        assert_eq!(set("codel", "1").unwrap().left_to_right.queue.discipline, Discipline::CODEL);
        let codel = set("codel", "10,200").unwrap().right_to_left.queue.discipline;
        let millis = std::time::Duration::from_millis;
        assert_eq!(codel, Discipline::CoDel { target: millis(10), interval: millis(200) });
        assert_eq!(set("fifo", "0").unwrap().left_to_right.order, Order::Free);
    }

    #[test]
    fn names_are_unique() {
        for field in Field::ALL {
            assert_eq!(Field::named(field.name()), Some(field));
        }
    }
}
