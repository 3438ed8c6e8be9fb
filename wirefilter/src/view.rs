//! What `showinfo` and its kin show, in VDE's layout.

use emulator::settings::Chance;
use emulator::{
    Both, Chain, Direction, Discipline, LossStates, Order, Quantity, Settings, Shape, Spread,
    Waiting,
};

/// What `showinfo` shows beside the settings of a state.
#[derive(Debug, Clone)]
pub struct LinkView<'a> {
    /// Frames go one way only.
    pub one_way: bool,
    /// The states.
    pub chain: &'a Chain<Both<Settings>>,
    /// What is in the link.
    pub waiting: Both<Waiting>,
    /// Where a message is sent for every frame, and what it begins with.
    pub blink: Option<(&'a str, &'a str)>,
}

impl LinkView<'_> {
    /// The lines for one state, which exists.
    pub fn show(&self, state: usize) -> Vec<String> {
        let Ok(settings) = self.chain.value(state) else { return Vec::new() };
        let ways = if self.one_way { "mono" } else { "bi" };
        let mut lines = vec![format!("WireFilter: {ways}directional")];
        if self.chain.len() > 1 {
            lines.push(format!(
                "Node {state} \"{}\" (0,..,{}) Markov-time {}",
                self.chain.name(state).unwrap_or_default(),
                self.chain.len() - 1,
                general(self.chain.period().as_secs_f64() * 1e3)
            ));
        }
        lines.extend([
            self.spread("Loss  ", settings, |it| text(&it.loss.share, 1.0)),
            self.spread("Lburst", settings, |it| text(&it.burst, 1.0)),
            self.spread("Delay ", settings, |it| text(&it.delay, 1e6)),
            self.spread("Dup   ", settings, |it| text(&it.duplication.share, 1.0)),
            self.spread("Bandw ", settings, |it| optional(it.bandwidth.as_ref())),
            self.spread("Speed ", settings, |it| optional(it.speed.as_ref())),
            self.spread("Noise ", settings, |it| text(&it.noise, 1.0)),
            self.mtu(settings),
            self.spread("Cap.  ", settings, |it| optional(it.capacity.as_ref())),
        ]);
        lines.extend(self.own(settings));
        let octets = |direction: Direction| self.waiting[direction].octets;
        lines.push(if self.one_way {
            format!("Current Delay Queue size:   {}", octets(Direction::LeftToRight))
        } else {
            format!(
                "Current Delay Queue size:   L->R {}      R->L {}   ",
                octets(Direction::LeftToRight),
                octets(Direction::RightToLeft)
            )
        });
        lines.push(self.fifo(settings));
        let frames: u64 =
            Direction::ALL.map(|direction| self.waiting[direction].frames).iter().sum();
        lines.push(format!("Waiting packets in delay queues {frames}"));
        if let Some((socket, id)) = self.blink {
            lines.push(format!("Blink socket: {socket}"));
            lines.push(format!("Blink id:     {id} "));
        }
        lines
    }

    fn spread(
        &self,
        name: &str,
        settings: &Both<Settings>,
        value: impl Fn(&Settings) -> String,
    ) -> String {
        let there = value(&settings.left_to_right);
        if self.one_way {
            return format!("{name} {there}");
        }
        format!("{name} L->R {there}   R->L {}", value(&settings.right_to_left))
    }

    fn mtu(&self, settings: &Both<Settings>) -> String {
        let mtu = |it: &Settings| general(it.mtu.map_or(0.0, Quantity::number));
        let there = mtu(&settings.left_to_right);
        if self.one_way {
            return format!("MTU    {there}");
        }
        format!("MTU    L->R {there}     R->L {}   ", mtu(&settings.right_to_left))
    }

    fn fifo(&self, settings: &Both<Settings>) -> String {
        let shown = |it: &Settings| if it.order == Order::Kept { "TRUE" } else { "FALSE" };
        let (there, back) = (shown(&settings.left_to_right), shown(&settings.right_to_left));
        if self.one_way || there == back {
            format!("Fifoness {there}")
        } else {
            format!("Fifoness L->R {there}   R->L {back}")
        }
    }

    /// What VDE does not have is shown when it is in use, so that the rest is as scripts know it.
    fn own(&self, settings: &Both<Settings>) -> Vec<String> {
        let nothing = Settings::default();
        let mut lines = Vec::new();
        let mut line = |name: &str, value: &dyn Fn(&Settings) -> String| {
            let used = Direction::ALL.iter().any(|it| value(&settings[*it]) != value(&nothing));
            if used {
                lines.push(self.spread(name, settings, value));
            }
        };
        line("Loss states", &|it| loss_states(it.loss_states));
        line("Loss corr.", &|it| correlation(&it.loss));
        line("Dup corr.", &|it| correlation(&it.duplication));
        line("Delay corr.", &|it| general(it.delay_correlation.number()));
        line("Corrupt", &|it| text(&it.corruption.share, 1.0));
        line("Corrupt corr.", &|it| correlation(&it.corruption));
        line("Reorder", &|it| text(&it.reorder.share, 1.0));
        line("Reorder corr.", &|it| correlation(&it.reorder));
        line("Queue", &|it| general(it.queue.octets.map_or(0.0, Quantity::number)));
        line("Queue length", &|it| it.queue.frames.unwrap_or(0).to_string());
        line("Discipline", &|it| discipline(it.queue.discipline));
        line("Trace", &|it| if it.trace.is_some() { "playing" } else { "none" }.to_owned());
        lines
    }
}

/// The lines of `showedges`.
pub fn edges(chain: &Chain<Both<Settings>>, from: usize) -> Vec<String> {
    let name = |state| chain.name(state).unwrap_or_default();
    let edges = chain.edges(from).unwrap_or_default();
    let line = |(to, weight): (usize, emulator::Percent)| {
        let weight = general(weight.number());
        format!("Edge {from:<2}->{to:<2} \"{}\"->\"{}\" weigth {weight}", name(from), name(to))
    };
    edges.into_iter().map(line).collect()
}

/// The line of `showcurrent`.
pub fn current(chain: &Chain<Both<Settings>>) -> String {
    let (state, last) = (chain.current(), chain.len() - 1);
    format!(
        "Current Markov Node {state} \"{}\" (0,..,{last})",
        chain.name(state).unwrap_or_default()
    )
}

/// The line that sessions with `markov-debug` get.
pub fn step(chain: &Chain<Both<Settings>>, from: usize, to: usize) -> String {
    let name = |state| chain.name(state).unwrap_or_default();
    format!("{} Node {from} \"{}\" -> {to} \"{}\"", 3800 + to, name(from), name(to))
}

fn optional<Q: Quantity>(spread: Option<&Spread<Q>>) -> String {
    spread.map_or_else(|| "0+0U".to_owned(), |spread| text(spread, 1.0))
}

fn text<Q: Quantity>(spread: &Spread<Q>, unit: f64) -> String {
    let shape = match spread.shape {
        Shape::Uniform => 'U',
        Shape::Normal => 'N',
        Shape::Pareto => 'P',
        Shape::Table(_) => 'T',
    };
    let (centre, variation) = (spread.centre.number() / unit, spread.variation.number() / unit);
    format!("{}+{}{shape}", general(centre), general(variation))
}

fn correlation(chance: &Chance) -> String {
    general(chance.correlation.number())
}

fn loss_states(states: Option<LossStates>) -> String {
    let list = |name: &str, steps: &[emulator::Percent]| {
        let steps: Vec<String> = steps.iter().map(|step| general(step.number())).collect();
        format!("{name} {}", steps.join(","))
    };
    match states {
        None => "none".to_owned(),
        Some(LossStates::GilbertElliott { worsening, recovery, loss_in_bad, loss_in_good }) => {
            list("gemodel", &[worsening, recovery, loss_in_bad, loss_in_good])
        }
        Some(LossStates::Four(steps)) => list("fourstates", &steps.steps()),
    }
}

fn discipline(discipline: Discipline) -> String {
    match discipline {
        Discipline::TailDrop => "taildrop".to_owned(),
        Discipline::CoDel { target, interval } => {
            let millis = |it: std::time::Duration| general(it.as_secs_f64() * 1e3);
            format!("codel {},{}", millis(target), millis(interval))
        }
    }
}

/// As C's `%g` writes it: six digits, no zeros behind, and an exponent where that is shorter.
pub(crate) fn general(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{value:.5e}");
    let (digits, exponent) = scientific.split_once('e').expect("{:e} has an exponent");
    let exponent: i32 = exponent.parse().expect("{:e} has a whole exponent");
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if (-4..6).contains(&exponent) {
        let decimals = usize::try_from(5 - exponent).expect("the exponent is below 6");
        trimmed(&format!("{value:.decimals$}"))
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", trimmed(digits), exponent.abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_c_does() {
        for (value, text) in [
            (0.0, "0"),
            (5.55, "5.55"),
            (10.0, "10"),
            (1_048_576.0, "1.04858e+06"),
            (131_072.0, "131072"),
            (999_999.5, "1e+06"),
            (0.0001, "0.0001"),
            (0.000_012_345, "1.2345e-05"),
            (1e15, "1e+15"),
            (100.0 / 3.0, "33.3333"),
        ] {
            assert_eq!(general(value), text);
        }
    }
}
