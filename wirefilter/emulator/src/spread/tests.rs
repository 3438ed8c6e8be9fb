//! The shapes against what they promise.

use std::time::Duration;

use super::*;
use crate::random::{Correlated, Effect, Seed};
use crate::units::{Percent, Rate};

const COUNT: usize = 1_000_000;

fn values(spread: &Spread<Rate>) -> Vec<f64> {
    let plan = spread.plan();
    let mut stream = Seed::new(3).stream(Effect::Bandwidth);
    (0..COUNT).map(|_| plan.draw(&mut stream)).collect()
}

fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

#[test]
fn uniform_values_fill_their_interval_alike() {
    let values = values(&Spread::new(1000.0, 300.0, Shape::Uniform).unwrap());
    let (mean, deviation) = moments(&values);
    assert!((mean - 1000.0).abs() < 5.0 * 0.1733, "{mean}");
    assert!((deviation - 173.2).abs() < 0.6, "{deviation}");
    assert!(values.iter().all(|value| (700.0..=1300.0).contains(value)));
    let first_tenth = values.iter().filter(|value| **value < 760.0).count();
    assert!(first_tenth.abs_diff(COUNT / 10) < 1500, "{first_tenth}");
}

#[test]
fn the_variation_is_three_deviations_of_normal_and_pareto() {
    let normal = values(&Spread::new(1000.0, 300.0, Shape::Normal).unwrap());
    let (mean, deviation) = moments(&normal);
    assert!((mean - 1000.0).abs() < 0.5, "{mean}");
    assert!((deviation - 100.0).abs() < 0.4, "{deviation}");

    let pareto = values(&Spread::new(1000.0, 300.0, Shape::Pareto).unwrap());
    let (mean, _) = moments(&pareto);
    assert!((mean - 1000.0).abs() < 1.5, "{mean}");
    let within = pareto.iter().filter(|value| (**value - 1000.0).abs() <= 300.0).count();
    assert!(within > COUNT / 100 * 98, "{within}");
    let least = pareto.iter().copied().fold(f64::MAX, f64::min);
    assert!((least - (1000.0 - 57.735)).abs() < 0.01, "{least}");
    // P(x > t) = t^-3: an eighth lies above twice the scale.
    let above = pareto.iter().filter(|value| **value > 1000.0 + 57.735).count();
    assert!(above.abs_diff(COUNT / 8) < 1700, "{above}");
}

#[test]
fn a_table_is_followed_between_its_numbers() {
    let table = DelayTable::parse("# two halves\n-8192 8192\n0").unwrap();
    let shape = Shape::Table(Arc::new(table));
    let values = values(&Spread::new(1000.0, 300.0, shape).unwrap());
    let (mean, deviation) = moments(&values);
    assert!((mean - 1000.0).abs() < 0.3, "{mean}");
    // Uniform between 900 and 1100.
    assert!((deviation - 57.7).abs() < 0.3, "{deviation}");
}

#[test]
fn a_table_with_a_slip_is_refused_with_its_line() {
    let err = DelayTable::parse("1 2\n3 four\n").unwrap_err();
    assert_eq!(err.to_string(), "line 2: \"four\" is no whole number from -32768 to 32767");
    assert_eq!(DelayTable::parse("1\n"), Err(TableError::Count(1)));
}

#[test]
fn correlation_leaves_the_distribution_as_it_is() {
    let mut stream = Seed::new(4).stream(Effect::Delay);
    for shape in [Shape::Uniform, Shape::Normal, Shape::Pareto] {
        let plan = Spread::<Rate>::new(1000.0, 300.0, shape.clone()).unwrap().plan();
        let mut state = Correlated::new();
        let values: Vec<f64> =
            (0..COUNT).map(|_| plan.at(state.normal(0.7, &mut stream))).collect();
        let (mean, deviation) = moments(&values);
        assert!((mean - 1000.0).abs() < 2.5, "{shape:?}: {mean}");
        let product: f64 = values.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum();
        let correlation = product / (COUNT as f64) / deviation.powi(2);
        match shape {
            Shape::Normal => assert!((correlation - 0.7).abs() < 0.01, "{correlation}"),
            _ => assert!(correlation > 0.3, "{shape:?}: {correlation}"),
        }
    }
}

#[test]
fn what_would_leave_the_range_stays_at_its_end() {
    let plan = Spread::<Percent>::new(95.0, 30.0, Shape::Uniform).unwrap().plan();
    let mut stream = Seed::new(5).stream(Effect::Loss);
    assert!((0..1000).all(|_| (0.0..=100.0).contains(&plan.draw(&mut stream))));
    let plan = Spread::<Duration>::new(1e6, 9e6, Shape::Normal).unwrap().plan();
    assert!((0..1000).all(|_| plan.draw(&mut stream) >= 0.0));
    assert_eq!(plan.minimum(), 0.0);
}
