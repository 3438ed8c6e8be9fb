//! Replays what was typed into the recorded `vde_switch` and compares every octet of the answers.
//!
//! [`model`] stands for the switch behind the console. The recordings, and the few answers that
//! differ on purpose, are described in `tests/golden/README.md`.

mod model;

use std::time::Instant;

use console::view::banner;
use console::{Errno, Session, Step};
use model::Model;

const PROMPT: &str = "\nvde$ ";

/// One command and what came back, up to the prompt.
#[derive(Debug, PartialEq, Eq)]
struct Exchange {
    command: String,
    reply: String,
}

/// The exchanges of a recording, with the volatile parts as the model has them.
fn exchanges(recording: &str) -> Vec<Exchange> {
    let text = recording
        .replace("<pid>", "1")
        .replace("<mac>", &model::MAC.to_string())
        .replace("<seconds>", "0")
        .replace("<dir>", model::DIRECTORY)
        // The opening lines name their own program, here as there.
        .replace(RECORDED_BANNER, &banner("2.3.2"));
    let mut chunks = text.split(PROMPT);
    assert_eq!(chunks.next(), Some(banner("2.3.2").as_str()));
    chunks
        .filter(|chunk| !chunk.is_empty())
        .map(|chunk| {
            let (command, reply) = chunk.split_once('\n').expect("a command is a line");
            Exchange { command: command.to_owned(), reply: reply.to_owned() }
        })
        .collect()
}

const RECORDED_BANNER: &str = "VDE switch V.2.3.2\n\
    (C) Virtual Square Team (coord. R. Davoli) 2005,2006,2007 - GPLv2\n";

/// What this console answers to one line.
#[expect(clippy::disallowed_methods, reason = "whole lines need no time")]
fn answer(session: &mut Session, model: &mut Model, command: &str) -> String {
    session.handle_bytes(format!("{command}\n").as_bytes(), Instant::now());
    while let Some(step) = session.poll_step() {
        match step {
            Step::Execute(command) => session.handle_reply(&model.execute(&command)),
            Step::Load { path } if path == "/tmp" => session.handle_script(Err(Errno::EISDIR)),
            Step::Load { .. } => session.handle_script(Err(Errno::ENOENT)),
            other => panic!("{command:?} led to {other:?}"),
        }
    }
    let output = String::from_utf8(session.take_output()).expect("replies are text");
    output.strip_suffix(PROMPT).expect("a prompt follows every reply").to_owned()
}

fn replay(recording: &str, mut model: Model) {
    let mut session = Session::management("2.3.2");
    session.take_output();
    for Exchange { command, reply } in exchanges(recording) {
        let answer = answer(&mut session, &mut model, &command);
        assert_eq!(answer, reply, "after {command:?}");
    }
}

#[test]
fn information_is_shown_as_recorded() {
    // The help of vlan/delport is a slip in the recorded version, repaired in later ones.
    let recording = include_str!("../golden/information.txt").replace(
        "vlan/delport       N PORT          add port to",
        "vlan/delport       N PORT          delete port from",
    );
    replay(&recording, Model::new());
}

#[test]
fn ports_are_made_changed_and_printed_as_recorded() {
    replay(include_str!("../golden/ports.txt"), Model::new());
}

#[test]
fn vlans_are_made_changed_and_printed_as_recorded() {
    replay(include_str!("../golden/vlans.txt"), Model::new());
}

#[test]
fn the_address_table_is_set_up_as_recorded() {
    replay(include_str!("../golden/hash.txt"), Model::new());
}

#[test]
fn the_absent_spanning_tree_is_printed_as_a_recorded_one_that_is_off() {
    replay(include_str!("../golden/fstp.txt"), Model::new());
}

#[test]
fn event_categories_are_listed_and_chosen_as_recorded() {
    replay(include_str!("../golden/debug.txt"), Model::new());
}

#[test]
fn plugs_and_addresses_are_printed_as_recorded() {
    replay(include_str!("../golden/plugs.txt"), Model::with_plugs());
}

/// Replays what this console is meant to answer, and sees that the recorded switch differs: a
/// difference that is none does not belong into the list.
fn differ(recorded: &str, here: &str, model: Model, common: &[&str]) {
    let there = exchanges(recorded);
    let ours = exchanges(here);
    assert_eq!(there.len(), ours.len());
    for (there, ours) in there.iter().zip(&ours) {
        assert_eq!(there.command, ours.command);
        let same = common.contains(&ours.command.as_str());
        assert_eq!(there.reply == ours.reply, same, "{:?}", ours.command);
    }
    replay(here, model);
}

#[test]
fn the_differences_are_those_that_are_listed() {
    differ(
        include_str!("../golden/differences.txt"),
        include_str!("../golden/differences-here.txt"),
        Model::new(),
        &["port/create 1"],
    );
}

#[test]
fn the_differences_with_a_plug_are_those_that_are_listed() {
    differ(
        include_str!("../golden/differences-plug.txt"),
        include_str!("../golden/differences-plug-here.txt"),
        Model::with_one_plug("line one\nline two"),
        &[],
    );
}
