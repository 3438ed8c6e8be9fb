//! Conversations in fake time.

use super::*;
use crate::filter::Filter;

#[expect(clippy::disallowed_methods, reason = "fake time counts from a real instant")]
fn start() -> Instant {
    Instant::now()
}

/// Drives a session with a link of one direction; scripts are found by name.
struct Driven {
    session: Session,
    filter: Filter,
    now: Instant,
    scripts: &'static [(&'static str, &'static str)],
    complaints: Vec<String>,
    end: Option<Step>,
}

impl Driven {
    fn new(session: Session) -> Self {
        let now = start();
        let filter = Filter::new(1, true, None, now);
        Self { session, filter, now, scripts: &[], complaints: Vec::new(), end: None }
    }

    fn say(&mut self, octets: &str) -> String {
        self.session.handle_bytes(octets.as_bytes(), self.now);
        self.drive()
    }

    fn drive(&mut self) -> String {
        while let Some(step) = self.session.poll_step() {
            match step {
                Step::Execute(command) => {
                    let reply = self.filter.execute(&command, self.now);
                    self.session.handle_reply(&reply);
                }
                Step::Read { path } => {
                    let found = self.scripts.iter().find(|(name, _)| *name == path);
                    let text = found.map(|(_, text)| text.as_bytes()).ok_or(Errno::ENOENT);
                    self.session.handle_script(text);
                }
                Step::Complain(complaint) => self.complaints.push(complaint.to_string()),
                end => self.end = Some(end),
            }
        }
        String::from_utf8(self.session.take_output()).unwrap()
    }
}

const DONE: &str = "1000 Success\n\nVDEwf$ ";

#[test]
fn lines_may_come_together_or_in_pieces() {
    let mut driven = Driven::new(Session::management("x"));
    assert_eq!(driven.drive(), format!("{}\nVDEwf$ ", banner("x")));
    assert_eq!(driven.say("loss 3\nloss 4\n"), format!("{DONE}{DONE}"));
    assert_eq!(driven.say("lo"), "");
    assert_eq!(driven.say("ss 5\r\n\n# x\n"), format!("{DONE}\nVDEwf$ \nVDEwf$ "));
}

#[test]
fn a_command_without_line_feed_is_taken_after_a_while() {
    let mut driven = Driven::new(Session::management("x"));
    driven.drive();
    assert_eq!(driven.say("loss 3"), "");
    let due = driven.session.poll_timeout().unwrap();
    assert_eq!(due, driven.now + QUIET);
    driven.session.handle_timeout(due - QUIET / 2);
    assert_eq!(driven.drive(), "");
    driven.session.handle_timeout(due);
    assert_eq!(driven.drive(), DONE);
    assert_eq!(driven.session.poll_timeout(), None);
}

#[test]
fn a_line_beyond_the_limit_is_refused_and_the_next_one_is_not() {
    let mut driven = Driven::new(Session::management("x"));
    driven.drive();
    let mut answers = String::new();
    for _ in 0..10 {
        answers += &driven.say(&"x".repeat(1000));
    }
    assert!(driven.session.wants_input());
    answers += &driven.say("\nloss 1\n");
    assert_eq!(answers, format!("1090 Message too long\n\nVDEwf$ {DONE}"));
}

#[test]
fn scripts_are_echoed_and_their_end_is_the_answer() {
    let mut driven = Driven::new(Session::management("x"));
    driven.scripts = &[("a", "loss 10\nfoo\nload b\nload a"), ("b", "delay 5\nlogout")];
    driven.drive();
    assert_eq!(
        driven.say("load a\n"),
        "0000 DATA END WITH '.'\n\
         \nVDEwf$  (a) loss 10\n1000 Success\n\
         \nVDEwf$  (a) foo\n1038 Function not implemented: there is no command 'foo'; see help\n\
         \nVDEwf$  (a) load b\n0000 DATA END WITH '.'\n\
         \nVDEwf$  (b) delay 5\n1000 Success\n\
         \nVDEwf$  (b) logout\n1009 Bad file descriptor\n\
         .\n1000 Success\n\
         \nVDEwf$  (a) load a\n0000 DATA END WITH '.'\n.\n1040 Too many levels of symbolic links\n\
         .\n1000 Success\n\nVDEwf$ "
    );
    assert_eq!(
        driven.say("load c\n"),
        "0000 DATA END WITH '.'\n.\n1002 No such file or directory\n\nVDEwf$ "
    );
}

#[test]
fn a_start_script_says_only_what_failed() {
    let text = b"# comment\nloss 10\n\nloss 200\nbogus 1\n";
    let mut driven = Driven::new(Session::rc("/etc/rc", text));
    assert_eq!(driven.drive(), "");
    assert_eq!(driven.end, Some(Step::Close));
    assert_eq!(
        driven.complaints,
        [
            "/etc/rc, line 4: 'loss 200' was refused: 1022 Invalid argument: loss: 200 is no \
             percentage; it must be from 0 to 100",
            "/etc/rc, line 5: 'bogus 1' was refused: 1038 Function not implemented: there is no \
             command 'bogus'; see help",
        ]
    );
    let settings = driven.filter.link().direction(emulator::Direction::LeftToRight).settings();
    assert_eq!(settings.loss, emulator::Percent::new(10.0).unwrap().into());
}

#[test]
fn who_asks_is_told_of_changes_of_state() {
    let mut driven = Driven::new(Session::management("x"));
    driven.drive();
    driven.session.handle_step("3801 Node 0 \"\" -> 1 \"\"");
    assert_eq!(driven.drive(), "");
    driven.say("markov-debug 1\n");
    driven.session.handle_step("3801 Node 0 \"\" -> 1 \"\"");
    assert_eq!(driven.drive(), "3801 Node 0 \"\" -> 1 \"\"\n");
}

#[test]
fn logging_out_ends_the_session_and_shutting_down_everything() {
    let mut driven = Driven::new(Session::management("x"));
    driven.drive();
    assert_eq!(driven.say("logout\nloss 1\n"), "9999 END OF SESSION");
    assert_eq!(driven.end, Some(Step::Close));
    let mut driven = Driven::new(Session::console());
    assert_eq!(driven.say("loss 1\n"), DONE);
    assert_eq!(driven.say("shutdown\n"), "");
    assert_eq!(driven.end, Some(Step::Shutdown));
}

#[test]
fn the_end_of_the_input_is_the_end_of_the_session() {
    let mut driven = Driven::new(Session::console());
    driven.say("loss 1");
    driven.session.handle_eof();
    assert_eq!(driven.drive(), DONE);
    assert_eq!(driven.end, Some(Step::Close));
}
