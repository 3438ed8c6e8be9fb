//! Sessions fed in every possible way.

use proptest::prelude::*;

use super::*;
use crate::view::PortsView;

/// An instant to count from; no test depends on which.
#[expect(clippy::disallowed_methods, reason = "the instants of a test need a beginning")]
fn start() -> Instant {
    Instant::now()
}

/// Answers every step as a switch with a fixed state, and gives the steps and all output.
fn drive(session: &mut Session) -> (Vec<Step>, String) {
    let mut steps = Vec::new();
    let mut output = Vec::new();
    while let Some(step) = session.poll_step() {
        match &step {
            Step::Execute(SwitchCommand::PortShowinfo) => {
                session.handle_reply(&Reply::data([PortsView { numports: 32, hub: false }]));
            }
            Step::Execute(_) => session.handle_reply(&Reply::success()),
            Step::Load { path } => session.handle_script(match path.as_str() {
                "vlans" => {
                    Ok(b"vlan/create 9\n\n# nothing\nnosuch\nlogout\nload self\nhash/print"
                        .to_vec())
                }
                "self" => Ok(b"load self\r\n".to_vec()),
                "huge" => Ok(vec![b'x'; MAX_SCRIPT + 1]),
                path if path.starts_with("deep") => Ok(format!("load {path}x").into_bytes()),
                _ => Err(Errno::ENOENT),
            }),
            Step::Complain(_) | Step::Close | Step::Shutdown => {}
        }
        steps.push(step);
        output.extend(session.take_output());
    }
    output.extend(session.take_output());
    (steps, String::from_utf8_lossy(&output).into_owned())
}

fn management() -> Session {
    let mut session = Session::management("1");
    session.take_output();
    session
}

/// What a fresh session says to these octets at once, without the banner.
fn said(octets: &[u8]) -> String {
    let mut session = management();
    session.handle_bytes(octets, start());
    drive(&mut session).1
}

#[test]
fn a_session_opens_with_two_lines_and_a_prompt() {
    let mut session = Session::management("2.3.2");
    let opening = String::from_utf8(session.take_output()).unwrap();
    assert!(opening.starts_with("VDE switch V.2.3.2\n"), "{opening:?}");
    assert_eq!(opening.lines().count(), 4);
    assert!(opening.ends_with(")\n\nvde$ "), "{opening:?}");
    assert_eq!(session.poll_step(), None);
}

#[test]
fn several_lines_in_one_write_are_several_commands() {
    assert_eq!(
        said(b"vlan/create 3\nnosuch\n\n# no\nport/showinfo\n"),
        "1000 Success\n\nvde$ 1038 Function not implemented\n\nvde$ \nvde$ \nvde$ \
         0000 DATA END WITH '.'\nNumports=32\nHUB=false\ncounters=true\n.\n1000 Success\n\nvde$ "
    );
}

#[test]
fn a_command_waits_for_the_answer_to_the_one_before() {
    let mut session = management();
    session.handle_bytes(b"vlan/create 3\nvlan/create 4\n", start());
    let first = session.poll_step();
    assert!(matches!(first, Some(Step::Execute(_))));
    assert_eq!(session.poll_step(), None);
    session.handle_reply(&Reply::failure(Errno::EEXIST));
    session.handle_reply(&Reply::success());
    assert_eq!(session.take_output(), b"1017 File exists\n\nvde$ ");
    assert!(matches!(session.poll_step(), Some(Step::Execute(_))));
}

#[test]
fn a_command_without_a_line_feed_is_taken_after_a_silence() {
    let now = start();
    let mut session = management();
    assert_eq!(session.poll_timeout(), None);
    session.handle_bytes(b"vlan/cre", now);
    session.handle_bytes(b"ate 3", now + QUIET / 2);
    let due = session.poll_timeout().unwrap();
    assert_eq!(due, now + QUIET / 2 + QUIET);
    session.handle_timeout(now + QUIET);
    assert_eq!(session.poll_step(), None, "it was added to");
    session.handle_timeout(due);
    assert_eq!(
        session.poll_step(),
        Some(Step::Execute(SwitchCommand::VlanCreate(ether::VlanId(3))))
    );
    session.handle_reply(&Reply::success());
    assert_eq!(session.poll_timeout(), None);
}

#[test]
fn the_end_of_the_input_takes_the_rest_and_closes() {
    let mut session = management();
    session.handle_bytes(b"port/sethub 1\nnosuch", start());
    session.handle_eof();
    let (steps, output) = drive(&mut session);
    assert_eq!(output, "1000 Success\n\nvde$ 1038 Function not implemented\n\nvde$ ");
    assert_eq!(steps.last(), Some(&Step::Close));
    assert_eq!(session.poll_step(), None);
}

#[test]
fn logout_and_shutdown_end_the_session_and_drop_what_follows() {
    for (line, end) in [("logout", Step::Close), ("shutdown", Step::Shutdown)] {
        let mut session = management();
        session.handle_bytes(format!("{line}\nnosuch\n").as_bytes(), start());
        let (steps, output) = drive(&mut session);
        assert_eq!(output, "9999 END OF SESSION");
        assert_eq!(steps, [end]);
        session.handle_bytes(b"nosuch\n", start());
        assert_eq!(drive(&mut session), (vec![], String::new()));
    }
}

#[test]
fn the_console_has_no_banner_and_no_logout() {
    let mut session = Session::console(Prompt::Hidden);
    session.handle_bytes(b"logout\nnosuch\nshutdown\n", start());
    let (steps, output) = drive(&mut session);
    assert_eq!(output, "1038 Function not implemented\n");
    assert_eq!(steps, [Step::Shutdown]);
    let mut session = Session::console(Prompt::Shown);
    assert_eq!(session.take_output(), b"\nvde$ ");
}

#[test]
fn a_line_that_is_too_long_is_refused_once_and_the_next_one_works() {
    let mut octets = vec![b'#'; MAX_LINE + 1];
    octets.extend(b"\nnosuch\n");
    let refused = "1090 Message too long\n\nvde$ 1038 Function not implemented\n\nvde$ ";
    assert_eq!(said(&octets), refused);

    let now = start();
    let mut session = management();
    for piece in vec![b'#'; 10 * MAX_INPUT].chunks(1000) {
        session.handle_bytes(piece, now);
        assert!(session.wants_input());
    }
    session.handle_timeout(now + QUIET);
    session.handle_bytes(b"nosuch\n", now + QUIET);
    assert_eq!(drive(&mut session).1, refused);
}

#[test]
fn who_sends_more_than_is_wanted_is_disconnected() {
    let mut session = management();
    session.handle_bytes(b"port/print\n", start());
    assert!(session.poll_step().is_some());
    while session.wants_input() {
        session.handle_bytes(&b"nosuch\n".repeat(1000), start());
    }
    session.handle_bytes(&b"nosuch\n".repeat(10_000), start());
    assert_eq!(session.poll_step(), Some(Step::Close));
}

#[test]
fn nothing_is_carried_out_while_the_output_is_not_taken() {
    let mut session = management();
    let mut refused = 0;
    while session.output.len() <= MAX_OUTPUT {
        session.handle_bytes(b"help\n", start());
        assert_eq!(session.poll_step(), None);
        refused += 1;
    }
    session.handle_bytes(b"vlan/create 3\n", start());
    assert_eq!(session.poll_step(), None, "after {refused} tables");
    assert!(!session.wants_input());
    session.take_output();
    assert!(session.poll_step().is_some());
}

#[test]
fn events_reach_the_session_that_subscribed() {
    let opened = Event::PortOpened { port: 1 };
    let mut session = management();
    session.handle_event(&opened);
    session.handle_bytes(b"debug/add port/+\ndebug/add port/+\n", start());
    assert_eq!(drive(&mut session).1, "1000 Success\n\nvde$ 1017 File exists\n\nvde$ ");
    session.handle_event(&opened);
    session.handle_event(&Event::PortClosed { port: 1 });
    assert_eq!(session.take_output(), b"3021 port/+ 01\n");
    while session.dropped_events() == 0 {
        session.handle_event(&opened);
    }
    assert!(session.take_output().len() < MAX_OUTPUT + 100);
}

#[test]
fn a_script_is_echoed_line_by_line_and_answers_at_its_end() {
    assert_eq!(
        said(b"load vlans\n"),
        "vde[vlans]: vlan/create 9\n1000 Success\nvde[vlans]: \nvde[vlans]: # nothing\n\
         vde[vlans]: nosuch\n1038 Function not implemented\nvde[vlans]: logout\n\
         vde[vlans]: load self\nvde[self]: load self\n1040 Too many levels of symbolic links\n\
         1000 Success\nvde[vlans]: hash/print\n1000 Success\n1000 Success\n\nvde$ "
    );
    assert_eq!(said(b"load\n"), "1002 No such file or directory\n\nvde$ ");
    assert_eq!(said(b"load huge\n"), "1027 File too large\n\nvde$ ");
}

#[test]
fn scripts_nest_to_a_bounded_depth() {
    let output = said(b"load deep\n");
    assert_eq!(output.matches("vde[deep").count(), MAX_DEPTH);
    assert_eq!(output.matches("1000 Success").count(), MAX_DEPTH);
    assert_eq!(output.matches("1040").count(), 1);
}

#[test]
fn a_start_script_is_silent_and_complains_with_its_line() {
    let text = b"vlan/create 3\n\nload x\n  nosuch \nshutdown\nport/print".to_vec();
    let mut session = Session::rc("/etc/rc", text);
    let (steps, output) = drive(&mut session);
    assert_eq!(output, "");
    let complaint = |number, line: &str, status: &str| {
        Step::Complain(Complaint {
            path: "/etc/rc".to_owned(),
            number,
            line: line.to_owned(),
            status: status.to_owned(),
        })
    };
    assert_eq!(
        steps,
        [
            Step::Execute(SwitchCommand::VlanCreate(ether::VlanId(3))),
            complaint(3, "load x", "1009 Bad file descriptor"),
            complaint(4, "nosuch", "1038 Function not implemented"),
            Step::Execute(SwitchCommand::PortPrint(None)),
            Step::Close,
        ]
    );
    assert_eq!(
        complaint_text(&steps[2]),
        "/etc/rc, line 4: \"nosuch\" was refused: 1038 Function not implemented"
    );
}

fn complaint_text(step: &Step) -> String {
    match step {
        Step::Complain(complaint) => complaint.to_string(),
        other => panic!("{other:?} is no complaint"),
    }
}

const DIALOGUE: &[u8] = b"vlan/create 3\r\n\n# x\nport/showinfo\nload vlans\ndebug/list\nlogout\n";

#[test]
fn a_dialogue_may_be_cut_at_every_octet() {
    let whole = said(DIALOGUE);
    for cut in 0..=DIALOGUE.len() {
        let mut session = management();
        let (first, second) = DIALOGUE.split_at(cut);
        session.handle_bytes(first, start());
        let mut output = drive(&mut session).1;
        session.handle_bytes(second, start());
        output += &drive(&mut session).1;
        assert_eq!(output, whole, "cut at {cut}");
    }
}

proptest! {
    #[test]
    fn a_dialogue_may_be_cut_into_any_pieces(cuts in prop::collection::vec(0..DIALOGUE.len(), 0..9)) {
        let mut cuts = cuts;
        cuts.push(DIALOGUE.len());
        cuts.sort_unstable();
        let mut session = management();
        let mut output = String::new();
        let mut from = 0;
        for cut in cuts {
            session.handle_bytes(&DIALOGUE[from..cut], start());
            output += &drive(&mut session).1;
            from = cut;
        }
        prop_assert_eq!(output, said(DIALOGUE));
    }

    #[test]
    fn any_octets_at_any_time_leave_the_session_sound(
        pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..99), 0..500u64), 0..20),
    ) {
        let mut now = start();
        let mut session = management();
        for (piece, pause) in pieces {
            session.handle_bytes(&piece, now);
            now += Duration::from_millis(pause);
            session.handle_timeout(now);
            let (_, output) = drive(&mut session);
            prop_assert!(output.is_empty() || output.ends_with("vde$ ") || output.ends_with("SESSION"));
        }
        session.handle_eof();
        let (steps, _) = drive(&mut session);
        prop_assert_eq!(session.poll_timeout(), None);
        prop_assert!(steps.is_empty() || matches!(steps.last(), Some(Step::Close | Step::Shutdown)));
    }
}
