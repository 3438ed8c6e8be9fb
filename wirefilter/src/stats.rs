//! What was done, as text and as JSON, beside what is asked.

use emulator::{Counters, Direction, DropReason, Emulator, Pair, Statistic};
use serde_json::{Value, json};

use crate::filter::{Filter, Octets};
use crate::view::general;

/// Some lines for each direction that frames go.
pub fn text(filter: &Filter) -> Vec<String> {
    let mut lines = vec![format!("Seed {}", filter.seed())];
    for &direction in directions(filter) {
        lines.extend(lines_of(&direction.to_string(), filter.link().direction(direction)));
    }
    for (pair, direction, emulator) in pairs(filter) {
        lines.extend(lines_of(&format!("{pair} {direction}"), emulator));
    }
    lines
}

/// Each pair that has settings of its own, in each direction.
fn pairs(filter: &Filter) -> impl Iterator<Item = (Pair, Direction, &Emulator<Octets>)> {
    let link = filter.link();
    link.pairs().rows().iter().flat_map(move |(pair, _)| {
        let emulator = |&direction| Some((*pair, direction, link.pair(direction, *pair)?));
        directions(filter).iter().filter_map(emulator)
    })
}

fn lines_of(direction: &str, emulator: &Emulator<Octets>) -> [String; 5] {
    let (counters, waiting) = (emulator.counters(), emulator.waiting());
    let drops: Vec<String> = DropReason::ALL
        .iter()
        .map(|reason| format!("{reason} {}", counters.dropped(*reason)))
        .collect();
    [
        format!(
            "{direction} in {} packets {} bytes, out {} packets {} bytes, waiting {} packets {} bytes",
            counters.received,
            counters.received_octets,
            counters.delivered,
            counters.delivered_octets,
            waiting.frames,
            waiting.octets
        ),
        format!("{direction} dropped: {}", drops.join(", ")),
        format!(
            "{direction} loss {} %, mean burst {}, dup {} %, reordered {}, corrupted {}, noisy {} \
             ({} bits)",
            number(counters.loss_percent()),
            number(counters.mean_burst()),
            number(counters.duplication_percent()),
            counters.reordered,
            counters.corrupted,
            counters.noisy,
            counters.flipped_bits
        ),
        format!("{direction} delay ms: {}", times(&counters.delay)),
        format!("{direction} late ms: {}", times(&counters.lateness)),
    ]
}

/// The same on one line.
pub fn json(filter: &Filter) -> String {
    let mut object = serde_json::Map::new();
    object.insert("seed".to_owned(), json!(filter.seed()));
    object.insert("state".to_owned(), json!(filter.link().chain().current()));
    for &direction in directions(filter) {
        object.insert(direction.to_string(), of_emulator(filter.link().direction(direction)));
    }
    let mut rows = Vec::new();
    for (pair, direction, emulator) in pairs(filter) {
        let mut row = of_emulator(emulator);
        row["pair"] = json!(pair.to_string());
        row["direction"] = json!(direction.to_string());
        rows.push(row);
    }
    if !rows.is_empty() {
        object.insert("pairs".to_owned(), Value::Array(rows));
    }
    Value::Object(object).to_string()
}

fn directions(filter: &Filter) -> &'static [Direction] {
    if filter.is_one_way() { &[Direction::LeftToRight] } else { &Direction::ALL }
}

fn of_emulator(emulator: &Emulator<Octets>) -> Value {
    let waiting = emulator.waiting();
    let mut value = of_counters(emulator.counters());
    value["waiting"] = json!({ "packets": waiting.frames, "bytes": waiting.octets });
    value
}

fn of_counters(counters: &Counters) -> Value {
    let dropped = DropReason::ALL
        .map(|reason| (reason.to_string().replace(' ', "_"), json!(counters.dropped(reason))));
    json!({
        "in": { "packets": counters.received, "bytes": counters.received_octets },
        "out": { "packets": counters.delivered, "bytes": counters.delivered_octets },
        "dropped": serde_json::Map::from_iter(dropped),
        "copies": counters.copies,
        "loss_percent": counters.loss_percent(),
        "mean_burst": counters.mean_burst(),
        "dup_percent": counters.duplication_percent(),
        "reordered": counters.reordered,
        "overtaking": counters.hurried,
        "corrupted": counters.corrupted,
        "noisy": counters.noisy,
        "flipped_bits": counters.flipped_bits,
        "delay_ms": statistic(&counters.delay),
        "late_ms": statistic(&counters.lateness),
    })
}

fn statistic(statistic: &Statistic) -> Value {
    let millis = |time: Option<std::time::Duration>| time.map(|time| time.as_secs_f64() * 1e3);
    json!({
        "mean": millis(statistic.mean()),
        "deviation": millis(statistic.deviation()),
        "min": millis(statistic.min()),
        "max": millis(statistic.max()),
    })
}

fn times(statistic: &Statistic) -> String {
    let millis =
        |time: Option<std::time::Duration>| number(time.map(|time| time.as_secs_f64() * 1e3));
    format!(
        "mean {}, deviation {}, min {}, max {}",
        millis(statistic.mean()),
        millis(statistic.deviation()),
        millis(statistic.min()),
        millis(statistic.max())
    )
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), general)
}
