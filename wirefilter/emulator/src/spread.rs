//! A value that is drawn anew for every frame: a centre, a variation and the shape of the
//! distribution between them.

use std::sync::Arc;

use crate::random::{Stream, normal_share};
use crate::units::{Quantity, ValueError};

/// How values lie around the centre.
///
/// For all but `Uniform` the variation is three standard deviations, so that more than 98 % of the
/// values lie within it, as VDE has it for its normal distribution.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Shape {
    /// Everywhere between centre - variation and centre + variation alike.
    #[default]
    Uniform,
    /// The normal distribution. What falls below 0 counts as 0.
    Normal,
    /// The Pareto distribution with index 3, moved so that the centre is its mean: never more
    /// than a fifth of the variation below it, sometimes far above. The shape of queues elsewhere.
    Pareto,
    /// As measured.
    Table(Arc<DelayTable>),
}

/// A measured distribution: quantiles, in standard deviations from the mean, in ascending order.
#[derive(Debug, Clone, PartialEq)]
pub struct DelayTable {
    quantiles: Vec<f64>,
}

/// A text is no distribution table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// A word is not a number.
    #[error("line {line}: {word:?} is no whole number from -32768 to 32767")]
    Number {
        /// From 1.
        line: usize,
        /// The word.
        word: String,
    },
    /// Fewer than 2 or more than [`MAX_TABLE`] numbers.
    #[error("a distribution has 2 to {MAX_TABLE} numbers; here are {0}")]
    Count(usize),
}

/// The most numbers in a table; those that come with iproute2 have 4096.
pub const MAX_TABLE: usize = 1 << 16;

/// One standard deviation in a table (tc-netem(8), `TABLEDIST` of its sources).
const TABLE_SCALE: f64 = 8192.0;

/// Pareto with index 3 and scale 1: its mean and its standard deviation, sqrt(3/4).
const PARETO_MEAN: f64 = 1.5;
const PARETO_DEVIATION: f64 = 0.866_025_403_784_438_6;

impl DelayTable {
    /// Reads the files that tc-netem(8) uses: whole numbers, 8192 for a standard deviation,
    /// anywhere on the lines; `#` begins a comment.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn parse(text: &str) -> Result<Self, TableError> {
        let mut quantiles = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            for word in line.split_whitespace() {
                let number: i16 = word
                    .parse()
                    .map_err(|_| TableError::Number { line: index + 1, word: word.to_owned() })?;
                quantiles.push(f64::from(number) / TABLE_SCALE);
            }
        }
        if !(2..=MAX_TABLE).contains(&quantiles.len()) {
            return Err(TableError::Count(quantiles.len()));
        }
        quantiles.sort_by(f64::total_cmp);
        Ok(Self { quantiles })
    }

    /// The value below which `share` of all lie; between two numbers, on the line through them.
    fn quantile(&self, share: f64) -> f64 {
        let last = self.quantiles.len() - 1;
        #[expect(clippy::cast_precision_loss, reason = "MAX_TABLE is far below 2^53")]
        let place = share * last as f64;
        let below = usize::try_from(crate::units::whole(libm::floor(place)))
            .map_or(last, |place| place.min(last));
        let (low, high) = (self.quantiles[below], self.quantiles[(below + 1).min(last)]);
        low + (high - low) * (place - libm::floor(place))
    }
}

/// A value that is drawn anew for every frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Spread<Q> {
    /// The value without variation, and the mean with it.
    pub centre: Q,
    /// How far from the centre; see [`Shape`].
    pub variation: Q,
    /// How values lie between.
    pub shape: Shape,
}

impl<Q: Quantity> Spread<Q> {
    /// Always the same value.
    ///
    /// # Errors
    /// As [`Quantity::from_number`].
    pub fn constant(number: f64) -> Result<Self, ValueError> {
        Self::new(number, 0.0, Shape::Uniform)
    }

    /// A centre, a variation and a shape.
    ///
    /// # Errors
    /// As [`Quantity::from_number`], for either number.
    pub fn new(centre: f64, variation: f64, shape: Shape) -> Result<Self, ValueError> {
        let (centre, variation) = (Q::from_number(centre)?, Q::from_number(variation)?);
        Ok(Self { centre, variation, shape })
    }

    /// Whether centre and variation are 0.
    pub fn is_zero(&self) -> bool {
        self.centre.number() <= 0.0 && self.variation.number() <= 0.0
    }

    pub(crate) fn plan(&self) -> Draw {
        let (centre, variation) = (self.centre.number(), self.variation.number());
        let deviation = variation / 3.0;
        let kind = match &self.shape {
            _ if variation <= 0.0 => Kind::Constant,
            Shape::Uniform => Kind::Uniform { width: 2.0 * variation },
            Shape::Normal => Kind::Normal { deviation },
            Shape::Pareto => Kind::Pareto { deviation },
            Shape::Table(table) => Kind::Table { deviation, table: table.clone() },
        };
        Draw { kind, centre, max: Q::MAX }
    }
}

impl<Q: Quantity> From<Q> for Spread<Q> {
    fn from(value: Q) -> Self {
        let zero = Q::from_number(0.0).expect("0 is in every range");
        Self { centre: value, variation: zero, shape: Shape::Uniform }
    }
}

impl<Q: Quantity> Default for Spread<Q> {
    fn default() -> Self {
        Self::from(Q::from_number(0.0).expect("0 is in every range"))
    }
}

/// A spread made ready for drawing.
#[derive(Debug, Clone)]
pub(crate) struct Draw {
    kind: Kind,
    centre: f64,
    max: f64,
}

#[derive(Debug, Clone)]
enum Kind {
    Constant,
    Uniform { width: f64 },
    Normal { deviation: f64 },
    Pareto { deviation: f64 },
    Table { deviation: f64, table: Arc<DelayTable> },
}

impl Draw {
    /// The only value there is, if there is only one. Drawing takes nothing from the stream then.
    pub(crate) const fn constant(&self) -> Option<f64> {
        match self.kind {
            Kind::Constant => Some(self.centre),
            _ => None,
        }
    }

    pub(crate) const fn centre(&self) -> f64 {
        self.centre
    }

    /// A value, within the range of the quantity.
    pub(crate) fn draw(&self, stream: &mut Stream) -> f64 {
        let value = match &self.kind {
            Kind::Constant => return self.centre,
            Kind::Uniform { width } => self.centre + width * (stream.unit() - 0.5),
            Kind::Normal { deviation } => self.centre + deviation * stream.normal(),
            Kind::Pareto { deviation } => self.centre + deviation * pareto(stream.positive()),
            Kind::Table { deviation, table } => {
                self.centre + deviation * table.quantile(stream.unit())
            }
        };
        value.clamp(0.0, self.max)
    }

    /// The value that has the same place in this distribution as `z` in the normal one.
    pub(crate) fn at(&self, z: f64) -> f64 {
        let value = match &self.kind {
            Kind::Constant => return self.centre,
            Kind::Uniform { width } => self.centre + width * (normal_share(z) - 0.5),
            Kind::Normal { deviation } => self.centre + deviation * z,
            // The share above, not 1 minus the share below, which has no digits left in the tail.
            Kind::Pareto { deviation } => self.centre + deviation * pareto(normal_share(-z)),
            Kind::Table { deviation, table } => {
                self.centre + deviation * table.quantile(normal_share(z))
            }
        };
        value.clamp(0.0, self.max)
    }

    /// No value is smaller.
    pub(crate) fn minimum(&self) -> f64 {
        let value = match &self.kind {
            Kind::Constant => self.centre,
            Kind::Uniform { width } => self.centre - width / 2.0,
            Kind::Normal { .. } => 0.0,
            Kind::Pareto { deviation } => self.centre + deviation * pareto(1.0),
            Kind::Table { deviation, table } => self.centre + deviation * table.quantile(0.0),
        };
        value.clamp(0.0, self.max)
    }
}

/// The Pareto value that `share` of all lie above, in standard deviations from the mean.
fn pareto(share: f64) -> f64 {
    // Below the smallest step of a stream the tail ends, far beyond the range of every quantity.
    let share = share.max(1e-16);
    (1.0 / libm::cbrt(share) - PARETO_MEAN) / PARETO_DEVIATION
}

#[cfg(test)]
mod tests;
