//! The management socket, start scripts, pidfile, daemon.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use super::Row;
use super::lab::{Console, OURS, Piped, frame, number, path, scene, wait_for};

pub(crate) const TRIALS: &[Row] = &[
    ("what_the_console_sets_holds_for_the_next_frame", &[], live),
    ("a_frame_that_is_due_before_others_does_not_wait_for_them", &[], earlier),
    ("several_sessions_talk_at_once_and_one_ends_all", &[], sessions),
    ("changes_of_state_are_told_to_who_asks", &[], steps),
    ("a_start_script_comes_before_the_first_frame", &[], start_script),
    ("files_are_gone_after_the_end_and_those_of_the_dead_are_taken_over", &[], files),
    ("a_daemon_keeps_its_pipes", &[], daemon),
];

fn live() {
    let scene = scene();
    let socket = path(&scene, "m");
    let mut piped = Piped::start(OURS, &["-M", socket.to_str().unwrap()]);
    let mut console = Console::connect(&socket);
    piped.send(&frame(1, 60));
    assert_eq!(number(&piped.receive()), 1);
    assert_eq!(console.ask("loss 100\n"), "1000 Success\n");
    piped.send(&frame(2, 60));
    let json = wait_for("the loss", || {
        let answer = console.ask("stats json\n");
        let line = answer.lines().nth(1).unwrap();
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        (json["LR"]["dropped"]["lost"] == 1).then_some(json)
    });
    assert_eq!(json["LR"]["in"]["packets"], 2);
    assert!(console.ask("loss oops\n").starts_with("1022 Invalid argument: loss: 'oops'"));
    assert!(console.ask("showinfo\n").contains("Loss   100+0U\n"), "nothing has changed");
    // What is on its way is delivered although the link was slow when it came.
    console.ask("loss 0\n");
    console.ask("bandwidth 1\n");
    for index in 3..6 {
        piped.send(&frame(index, 1000));
    }
    wait_for("the queue", || {
        console.ask("showinfo\n").contains("Waiting packets in delay queues 3\n").then_some(())
    });
    let broken = path(&scene, "timeline");
    fs::write(&broken, "0 loss 1\n\n\n\n\n\n7s los 2\n").unwrap();
    let answer = console.ask(&format!("timeline {}\n", broken.display()));
    assert_eq!(answer, "1022 Invalid argument: line 7: there is no setting 'los'\n");
    assert!(console.ask("showinfo\n").contains("Loss   0+0U\n"), "nothing has changed");
    assert_eq!(console.ask("profile lte\n"), "1000 Success\n");
    assert!(console.ask("showinfo\n").contains("Bandw  1.5e+06+0U\n"));
    assert_eq!(console.ask("clear\n"), "1000 Success\n");
    assert_eq!([(); 3].map(|()| number(&piped.receive())), [3, 4, 5]);
}

fn earlier() {
    let scene = scene();
    let socket = path(&scene, "m");
    let mut piped = Piped::start(OURS, &["-N", "-d", "1000s", "-M", socket.to_str().unwrap()]);
    let mut console = Console::connect(&socket);
    piped.send(&frame(1, 60));
    wait_for("the first frame", || {
        console.ask("showinfo\n").contains("Waiting packets in delay queues 1\n").then_some(())
    });
    console.ask("delay 1\n");
    piped.send(&frame(2, 60));
    assert_eq!(number(&piped.receive()), 2);
}

fn sessions() {
    let scene = scene();
    let socket = path(&scene, "m");
    let options = ["-M", socket.to_str().unwrap(), "--mgmtmode", "600"];
    let mut piped = Piped::start(OURS, &options);
    let mut all: Vec<Console> = (0..10).map(|_| Console::connect(&socket)).collect();
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    for console in &mut all {
        assert_eq!(console.ask("delay 1\nloss 0\n"), "1000 Success\n");
        console.until("1000 Success\n\nVDEwf$ ");
    }
    all[0].say("logout\n");
    all[0].until("9999 END OF SESSION");
    all[1].say("shutdown\n");
    all[1].until("9999 END OF SESSION");
    assert!(piped.running.ended().success());
    assert!(!socket.exists());
}

fn steps() {
    let scene = scene();
    let socket = path(&scene, "m");
    let piped = Piped::start(OURS, &["-M", socket.to_str().unwrap()]);
    let mut console = Console::connect(&socket);
    for line in [
        "markov-numnodes 2\n",
        "markov-name 1,storm\n",
        "markov-debug 1\n",
        "setedge 1,0,100\n",
        "setedge 0,1,100\n",
    ] {
        assert_eq!(console.ask(line), "1000 Success\n");
    }
    for _ in 0..2 {
        console.until("3801 Node 0 \"\" -> 1 \"storm\"\n");
        console.until("3800 Node 1 \"storm\" -> 0 \"\"\n");
    }
    drop(piped);
}

fn start_script() {
    let scene = scene();
    let (script, socket) = (path(&scene, "rc"), path(&scene, "m"));
    fs::write(&script, "# a link\nloss 100\nbogus\nmtu 1000\n").unwrap();
    let options = ["-l", "5", "-f", script.to_str().unwrap(), "-M", socket.to_str().unwrap()];
    let mut piped = Piped::start(OURS, &options);
    piped.send(&frame(0, 60));
    let mut console = Console::connect(&socket);
    let shown = console.ask("showinfo\n");
    assert!(shown.contains("Loss   100+0U\n") && shown.contains("MTU    1000\n"), "{shown}");
    assert!(piped.rest().is_empty());
    piped.running.ended();
    let said = piped.running.said();
    let expected = format!("wirefilter: {}, line 3: 'bogus' was refused", script.display());
    assert!(said.starts_with(&expected), "{said}");
}

fn files() {
    let scene = scene();
    let (pidfile, socket) = (path(&scene, "pid"), path(&scene, "m"));
    let options = ["--pidfile", pidfile.to_str().unwrap(), "-M", socket.to_str().unwrap()];
    let killed = Piped::start(OURS, &options);
    Console::connect(&socket);
    assert_eq!(fs::read_to_string(&pidfile).unwrap(), format!("{}\n", killed.running.0.id()));
    // Killed, which nobody can clean up after.
    drop(killed);
    assert!(pidfile.exists() && socket.exists());

    let mut second = Piped::start(OURS, &options);
    wait_for("the new pidfile", || {
        let text = fs::read_to_string(&pidfile).unwrap_or_default();
        (text == format!("{}\n", second.running.0.id())).then_some(())
    });
    Console::connect(&socket);
    let third = Command::new(OURS)
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    let said = String::from_utf8(third.stderr).unwrap();
    assert!(!third.status.success() && said.contains("still runs as process"), "{said}");
    second.running.terminate();
    assert!(second.running.ended().success());
    assert!(!pidfile.exists() && !socket.exists());
}

fn daemon() {
    let scene = scene();
    let pidfile = path(&scene, "pid");
    let mut piped = Piped::start(OURS, &["--daemon", "--pidfile", pidfile.to_str().unwrap()]);
    assert!(piped.running.ended().success(), "the first process ends once all is ready");
    let pid: i32 = fs::read_to_string(&pidfile).unwrap().trim().parse().unwrap();
    assert_ne!(pid.cast_unsigned(), piped.running.0.id());
    piped.send(&frame(9, 60));
    assert_eq!(number(&piped.receive()), 9);
    assert!(piped.rest().is_empty(), "its input ends, and so does it");
    wait_for("the daemon's end", || (!pidfile.exists()).then_some(()));

    let failed = Command::new(OURS).args(["--daemon", "-l", "x"]).stdin(Stdio::piped()).output();
    let failed = failed.unwrap();
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8(failed.stderr).unwrap().contains("'x' is not a number"));
}
