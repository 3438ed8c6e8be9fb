//! Replays what was typed into the recorded wirefilter and compares every octet of the answers.
//!
//! The recordings, and the answers that differ on purpose, are described in
//! `tests/golden/README.md`.

use std::time::Instant;

use console::Errno;
use wirefilter::filter::Filter;
use wirefilter::session::{Session, Step, banner};

const PROMPT: &str = "\nVDEwf$ ";
const RECORDED_BANNER: &str = "\nVDE wirefilter V.2.3.2\n(C) R.Davoli 2005,2006 - GPLv2\n";

/// One command and what came back, up to the prompt.
#[derive(Debug, PartialEq, Eq)]
struct Exchange {
    command: String,
    reply: String,
}

fn exchanges(recording: &str) -> Vec<Exchange> {
    let text = recording.replace(RECORDED_BANNER, &banner("2.3.2"));
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

struct Here {
    session: Session,
    filter: Filter,
    now: Instant,
}

impl Here {
    #[expect(clippy::disallowed_methods, reason = "fake time counts from a real instant")]
    fn new(one_way: bool) -> Self {
        let now = Instant::now();
        let mut session = Session::management("2.3.2");
        session.take_output();
        Self { session, filter: Filter::new(1, one_way, None, now), now }
    }

    fn answer(&mut self, command: &str) -> String {
        self.session.handle_bytes(format!("{command}\n").as_bytes(), self.now);
        while let Some(step) = self.session.poll_step() {
            match step {
                Step::Execute(command) => {
                    let reply = self.filter.execute(&command, self.now);
                    self.session.handle_reply(&reply);
                }
                Step::Read { .. } => self.session.handle_script(Err(Errno::ENOENT)),
                other => panic!("{command:?} led to {other:?}"),
            }
        }
        let output = String::from_utf8(self.session.take_output()).expect("replies are text");
        output.strip_suffix(PROMPT).expect("a prompt follows every reply").to_owned()
    }
}

fn replay(recording: &str, one_way: bool) {
    let mut here = Here::new(one_way);
    for Exchange { command, reply } in exchanges(recording) {
        assert_eq!(here.answer(&command), reply, "after {command:?}");
    }
}

#[test]
fn values_are_set_and_shown_as_recorded() {
    replay(include_str!("golden/values.txt"), true);
    replay(include_str!("golden/values-both-ways.txt"), false);
}

#[test]
fn a_markov_chain_is_built_and_shown_as_recorded() {
    replay(include_str!("golden/markov.txt"), true);
    replay(include_str!("golden/markov-both-ways.txt"), false);
    replay(include_str!("golden/storm.txt"), false);
}

#[test]
fn what_was_refused_is_refused_with_the_same_code_and_a_reason() {
    let mut here = Here::new(true);
    for Exchange { command, reply } in exchanges(include_str!("golden/refused.txt")) {
        let answer = here.answer(&command);
        let reason = answer.trim_end().strip_prefix(reply.trim_end());
        let reason = reason.unwrap_or_else(|| panic!("{command:?}: {answer:?} for {reply:?}"));
        let has_reason = reason.starts_with(": ") && reason.len() > 10;
        assert!(has_reason || command.starts_with("load"), "{command:?}: {answer:?}");
    }
}

#[test]
fn help_lists_what_was_recorded_first() {
    for Exchange { command, reply } in exchanges(include_str!("golden/help.txt")) {
        let answer = Here::new(true).answer(&command);
        let recorded = reply.strip_suffix(".\n1000 Success\n").unwrap();
        assert!(answer.starts_with(recorded), "{answer}");
        assert!(answer.ends_with(".\n1000 Success\n"));
    }
}

/// Lines of the list that the others need and that are answered alike.
const COMMON: [&str; 2] = ["markov-numnodes 3", "setedge 0,1,60"];

/// Each other line of the list differs: one that does not has no place in it.
#[test]
fn what_differs_is_listed_and_answered_as_listed() {
    let there = exchanges(include_str!("golden/differences.txt"));
    let listed = exchanges(include_str!("golden/differences-here.txt"));
    assert_eq!(there.len(), listed.len());
    let mut here = Here::new(true);
    for (there, listed) in there.iter().zip(&listed) {
        assert_eq!(there.command, listed.command);
        assert_eq!(here.answer(&listed.command), listed.reply, "after {:?}", listed.command);
        let code = |exchange: &Exchange| {
            let last = exchange.reply.lines().last();
            last.and_then(|last| last.get(..4)).map(str::to_owned)
        };
        let same_code = code(there) == code(listed);
        let common = COMMON.contains(&&*listed.command);
        assert_eq!(same_code, common, "{:?} is no difference", listed.command);
    }
}

/// Prints what is to be in `differences-here.txt`.
#[test]
#[ignore = "writes a listing to look at"]
fn show_differences() {
    let mut here = Here::new(true);
    print!("{}", banner("2.3.2"));
    for Exchange { command, .. } in exchanges(include_str!("golden/differences.txt")) {
        print!("{PROMPT}{command}\n{}", here.answer(&command));
    }
    print!("{PROMPT}");
}
