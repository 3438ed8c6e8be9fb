//! Which seeds are run, and what is said of one that fails.

use std::env;
use std::fmt::Write as _;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lab::Ring;
use libtest_mimic::{Completion, Failed, Trial};

use crate::plan::Plan;
use crate::world::World;

/// The seeds that run when none are named.
const USUAL: Range<u64> = 0..1000;

/// So many share a trial.
const GROUP: u64 = 50;

/// Names seeds: one, or from one to before another, as in `0..100000`.
const SEEDS: &str = "VDE_SIM_SEEDS";

/// How many nodes a world has at most, or has if it is `=1000`.
const NODES: &str = "VDE_SIM_NODES";

/// `1` tells all that happens.
const TRACE: &str = "VDE_SIM_TRACE";

/// `1` looks for the fewest steps with which a seed that fails still does.
const SHRINK: &str = "VDE_SIM_SHRINK";

fn is_set(variable: &str) -> bool {
    env::var(variable).is_ok_and(|value| value == "1")
}

fn chosen_seeds() -> Range<u64> {
    let Ok(text) = env::var(SEEDS) else { return USUAL };
    let range = match text.split_once("..") {
        Some((first, last)) => first.parse().ok().zip(last.parse().ok()).map(|(a, b)| a..b),
        None => text.parse().ok().map(|seed| seed..seed + 1),
    };
    range.unwrap_or_else(|| panic!("{SEEDS} is {text}, and neither a number nor FROM..TO"))
}

/// The plan of a seed, in worlds of the size that is asked for.
fn plan_of(seed: u64) -> Plan {
    let Ok(text) = env::var(NODES) else { return Plan::new(seed, usize::MAX) };
    let number = |text: &str| {
        text.parse().unwrap_or_else(|_| panic!("{NODES} is {text}, and neither N nor =N"))
    };
    match text.strip_prefix('=') {
        Some(exactly) => Plan::of_size(seed, number(exactly)),
        None => Plan::new(seed, number(&text)),
    }
}

/// The trials of the seeds that are chosen.
pub(crate) fn trials() -> Vec<Trial> {
    let seeds = chosen_seeds();
    let firsts = (seeds.start..seeds.end).step_by(usize::try_from(GROUP).unwrap_or(1));
    firsts
        .map(|first| {
            let group = first..seeds.end.min(first + GROUP);
            let name = format!("worlds {} to {} keep the rules", group.start, group.end - 1);
            Trial::ignorable_test(name, move || {
                if let Some(reason) = Ring::Sim.unselected() {
                    return Ok(Completion::ignored_with(reason));
                }
                run_all(group).map(|()| Completion::Completed)
            })
        })
        .collect()
}

fn run_all(seeds: Range<u64>) -> Result<(), Failed> {
    let mut report = String::new();
    for seed in seeds {
        let plan = plan_of(seed);
        if let Err(broken) = run(&plan, is_set(TRACE)) {
            let _ = writeln!(report, "seed {seed} ({:?}): {broken}", plan.theme);
            if is_set(SHRINK) {
                let _ = writeln!(report, "{}", shrunk(plan));
            }
            let nodes = env::var(NODES).map(|nodes| format!("{NODES}={nodes} "));
            let nodes = nodes.unwrap_or_default();
            let _ = writeln!(
                report,
                "again: {nodes}{SEEDS}={seed} {TRACE}=1 cargo test --test sim -- --nocapture"
            );
        }
    }
    if report.is_empty() { Ok(()) } else { Err(Failed::from(report)) }
}

/// Runs a world to its end.
pub(crate) fn run(plan: &Plan, has_trace: bool) -> Result<World, String> {
    catch_unwind(AssertUnwindSafe(|| run_plan(plan, has_trace))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

fn run_plan(plan: &Plan, has_trace: bool) -> Result<World, String> {
    if has_trace {
        println!("{plan}");
    }
    let mut world = World::new(plan.clone(), has_trace);
    world.run_for(std::time::Duration::from_secs(3))?;
    for round in &plan.rounds {
        let began = world.now;
        world.start_talking();
        for (at, step) in &round.steps {
            world.run_until(began + *at)?;
            world.apply(*step);
        }
        world.run_until(began + round.length)?;
        world.mend(round);
        world.check_quiet(round)?;
    }
    Ok(world)
}

/// The same plan without the steps that a failure does not need.
fn shrunk(mut plan: Plan) -> Plan {
    let fails = |plan: &Plan| run(plan, false).is_err();
    while plan.rounds.len() > 1 {
        let mut fewer = plan.clone();
        fewer.rounds.remove(0);
        if !fails(&fewer) {
            fewer = plan.clone();
            fewer.rounds.pop();
            if !fails(&fewer) {
                break;
            }
        }
        plan = fewer;
    }
    let mut has_changed = true;
    while std::mem::take(&mut has_changed) {
        for round in 0..plan.rounds.len() {
            for step in (0..plan.rounds[round].steps.len()).rev() {
                let mut fewer = plan.clone();
                fewer.rounds[round].steps.remove(step);
                if fails(&fewer) {
                    plan = fewer;
                    has_changed = true;
                }
            }
            for at in (0..plan.rounds[round].apart.len()).rev() {
                let mut fewer = plan.clone();
                fewer.rounds[round].apart.remove(at);
                if fails(&fewer) {
                    plan = fewer;
                    has_changed = true;
                }
            }
        }
    }
    plan
}
