//! The same command lines, scripts and frames for VDE's wirefilter and for ours, and the same
//! answers from both; or, where chance decides, the same shares.

use std::fs;
use std::process::{Command, Stdio};

use super::Row;
use super::lab::{Console, OURS, Piped, Running, THEIRS, frame, number, path, scene};

pub(crate) const TRIALS: &[Row] = &[
    ("both_understand_the_same_options", &[THEIRS], options),
    ("both_understand_the_same_scripts", &[THEIRS], scripts),
    ("both_are_set_up_alike_under_dpipe", &[THEIRS, "dpipe"], under_dpipe),
    ("both_lose_and_copy_as_often", &[THEIRS], shares),
    ("both_pass_the_same_frames", &[THEIRS], frames),
];

fn shown(program: &str, options: &[&str]) -> String {
    let scene = scene();
    let socket = path(&scene, "m");
    let options = [options, &["-M", socket.to_str().unwrap()]].concat();
    let _piped = Piped::start(program, &options);
    Console::connect(&socket).ask("showinfo\n")
}

fn options() {
    for options in [
        &["-l", "10"][..],
        &["-l", "LR20.5", "-l", "RL10"],
        &["-l", "1", "-L", "3.5"],
        &["-d", "1000+500U", "-N"],
        &["-delay", "100+20N", "-nofifo"],
        &["--delay=LR100+20N", "--dup", "5"],
        &["-b", "128K", "-s", "128+64K", "-c", "10K"],
        &["--band", "128+64KN", "--speed", "1M", "--chanbufsize", "1G"],
        &["-n", "25", "-m", "1500"],
        &["-Nl7", "-b1000"],
        &["--ban", "5", "--sp", "6", "--ch", "7", "--noi", "8", "--mt", "9", "--de", "10"],
    ] {
        assert_eq!(shown(OURS, options), shown(THEIRS, options), "{options:?}");
    }
}

fn scripts() {
    let scene = scene();
    let script = path(&scene, "rc");
    let text = "# the example of the manual\nmarkov-numnodes 5\nmarkov-time 60000\n\
        delay 100+10N[4]\nloss 10[2]\nmarkov-name 4,far away\nsetedge 0,4,10\nsetedge 0,2,0.5\n\
        loss LR3\n";
    fs::write(&script, text).unwrap();
    let answers = |program: &str, script_first: bool| {
        let socket = path(&scene, &format!("{script_first}{}", program == OURS));
        let mut options = vec!["-M", socket.to_str().unwrap()];
        if script_first {
            options.extend(["-f", script.to_str().unwrap()]);
        }
        let _piped = Piped::start(program, &options);
        let mut console = Console::connect(&socket);
        let mut answers = Vec::new();
        if !script_first {
            // VDE's output of a script has prompts in it; the last one is after its end.
            console.say(&format!("load {}\n", script.display()));
            answers.push(console.until(".\n1000 Success\n\nVDEwf$ "));
        }
        for line in ["showinfo 0", "showinfo 2", "showinfo 4", "showedges 0", "showedges 3"] {
            answers.push(console.ask(&format!("{line}\n")));
        }
        answers
    };
    for script_first in [true, false] {
        assert_eq!(answers(OURS, script_first), answers(THEIRS, script_first));
    }
}

fn under_dpipe() {
    let scene = scene();
    let shown = |program: &str| {
        let socket = path(&scene, if program == OURS { "ours" } else { "theirs" });
        let options = ["-l", "LR1", "-d", "RL20+3N", "-m", "LR900", "-M", socket.to_str().unwrap()];
        let child = Command::new("dpipe")
            .args(["cat", "=", program])
            .args(options)
            .args(["=", "cat"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut running = Running(child);
        let mut console = Console::connect(&socket);
        let shown = console.ask("showinfo\n");
        console.say("shutdown\n");
        running.ended();
        shown
    };
    assert_eq!(shown(OURS), shown(THEIRS));
}

const COUNT: u32 = 20_000;

/// How many of [`COUNT`] frames come out, copies counted. Theirs draws without a seed.
fn delivered(program: &str, options: &[&str]) -> f64 {
    let mut piped = Piped::start(program, options);
    // The last frame is known by its length, for theirs does not deliver what is on its way when
    // its input ends. It may be lost itself, so there are many.
    for index in 0..COUNT {
        piped.send(&frame(index, 60));
    }
    for index in 0..100 {
        piped.send(&frame(COUNT + index, 60));
    }
    let mut count = 0;
    loop {
        let number = number(&piped.receive());
        if number >= COUNT {
            return f64::from(count);
        }
        count += 1;
    }
}

fn shares() {
    let count = f64::from(COUNT);
    for (options, expected, variance) in [
        (&["-l", "20"][..], count * 0.8, count * 0.16),
        // In bursts of 4 the losses depend on one another.
        (&["-l", "20", "-L", "4"], count * 0.8, count * 0.16 * 8.0),
        (&["-D", "20"], count * 1.25, count * 0.2 / 0.64),
    ] {
        for program in [OURS, THEIRS] {
            let found = delivered(program, options);
            let error = 6.0 * variance.sqrt();
            assert!((found - expected).abs() < error, "{program} {options:?}: {found}");
        }
    }
}

/// Sizes are chosen so that the two octets by which theirs counts more make no difference.
fn frames() {
    for options in [
        &[][..],
        &["-m", "500"],
        &["-d", "20"],
        &["-d", "20", "-c", "3100"],
        &["-b", "1M"],
        &["-s", "1M"],
        &["-l", "0", "-D", "0", "-n", "0"],
    ] {
        let passed = |program| {
            let mut piped = Piped::start(program, options);
            for index in 0..10 {
                piped.send(&frame(index, if index % 2 == 0 { 100 } else { 1000 }));
            }
            // A mark that always passes, once there is room again.
            let mut got = Vec::new();
            loop {
                match piped.receive_within(std::time::Duration::from_millis(500)) {
                    Some(frame) => got.push(frame),
                    None => return got,
                }
            }
        };
        assert_eq!(passed(OURS), passed(THEIRS), "{options:?}");
    }
}
