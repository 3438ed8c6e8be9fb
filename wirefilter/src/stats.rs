//! What was done, as text and as JSON, beside what is asked.

use emulator::{Counters, Direction, DropReason, Statistic};
use serde_json::{Value, json};

use crate::filter::Filter;
use crate::view::general;

/// Some lines for each direction that frames go.
pub fn text(filter: &Filter) -> Vec<String> {
    let mut lines = vec![format!("Seed {}", filter.seed())];
    for &direction in directions(filter) {
        let emulator = filter.link().direction(direction);
        let (counters, waiting) = (emulator.counters(), emulator.waiting());
        lines.push(format!(
            "{direction} in {} packets {} bytes, out {} packets {} bytes, waiting {} packets {} bytes",
            counters.received,
            counters.received_octets,
            counters.delivered,
            counters.delivered_octets,
            waiting.frames,
            waiting.octets
        ));
        let drops: Vec<String> = DropReason::ALL
            .iter()
            .map(|reason| format!("{reason} {}", counters.dropped(*reason)))
            .collect();
        lines.push(format!("{direction} dropped: {}", drops.join(", ")));
        lines.push(format!(
            "{direction} loss {} %, mean burst {}, dup {} %, reordered {}, corrupted {}, noisy {} \
             ({} bits)",
            number(counters.loss_percent()),
            number(counters.mean_burst()),
            number(counters.duplication_percent()),
            counters.reordered,
            counters.corrupted,
            counters.noisy,
            counters.flipped_bits
        ));
        lines.push(format!("{direction} delay ms: {}", times(&counters.delay)));
        lines.push(format!("{direction} late ms: {}", times(&counters.lateness)));
    }
    lines
}

/// The same on one line.
pub fn json(filter: &Filter) -> String {
    let mut object = serde_json::Map::new();
    object.insert("seed".to_owned(), json!(filter.seed()));
    object.insert("state".to_owned(), json!(filter.link().chain().current()));
    for &direction in directions(filter) {
        let emulator = filter.link().direction(direction);
        let waiting = emulator.waiting();
        let mut value = of_counters(emulator.counters());
        value["waiting"] = json!({ "packets": waiting.frames, "bytes": waiting.octets });
        object.insert(direction.to_string(), value);
    }
    Value::Object(object).to_string()
}

fn directions(filter: &Filter) -> &'static [Direction] {
    if filter.is_one_way() { &[Direction::LeftToRight] } else { &Direction::ALL }
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
