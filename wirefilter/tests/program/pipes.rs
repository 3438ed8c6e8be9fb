//! Frames in pipes.

use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use super::Row;
use super::lab::{
    DEADLINE, OURS, Piped, Running, frame, now, number, output, path, read_frames, scene, wait_for,
};

pub(crate) const TRIALS: &[Row] = &[
    ("frames_pass_unchanged_and_in_order", &[], frames_pass),
    ("a_frame_is_never_early", &[], never_early),
    ("what_is_on_its_way_is_delivered_when_the_input_ends", &[], end_of_input),
    ("a_stream_that_is_out_of_step_ends_it_with_the_reason", &[], out_of_step),
    ("it_ends_when_nobody_reads", &[], end_of_output),
    ("the_same_seed_gives_the_same_output", &[], same_seed),
    ("a_wrong_value_ends_it_with_the_word", &[], wrong_values),
    ("both_directions_go_through_dpipe", &["dpipe"], dpipe),
    ("speed_holds_the_sender_back", &[], speed),
    ("files_set_profiles_times_pairs_and_traces", &[], files),
    ("statistics_are_told_at_the_end", &[], statistics),
    ("each_frame_blinks", &[], blink),
    ("nothing_is_lost_when_the_reader_is_slow", &[], slow_reader),
];

fn frames_pass() {
    let mut piped = Piped::start(OURS, &[]);
    for (index, octets) in [14, 60, 61, 255, 256, 1514, 1521, 9018, 9236].into_iter().enumerate() {
        let sent = frame(u32::try_from(index).unwrap(), octets);
        piped.send(&sent);
        assert_eq!(piped.receive(), sent);
    }
    assert!(piped.rest().is_empty());
    assert!(piped.running.ended().success());
    assert_eq!(piped.running.said(), "wirefilter: monodirectional filter starting...\n");
}

fn never_early() {
    for (option, least) in [("20", 20_000), ("0.35", 350), ("1500us", 1500), ("2ms", 2000)] {
        let mut piped = Piped::start(OURS, &["-d", option]);
        for round in 0..20 {
            let sent = now();
            piped.send(&frame(round, 60));
            piped.receive();
            let took = now() - sent;
            assert!(took >= Duration::from_micros(least), "{option}: {took:?}");
        }
    }
}

fn end_of_input() {
    let mut piped = Piped::start(OURS, &["-d", "300"]);
    for index in 0..50 {
        piped.send(&frame(index, 100));
    }
    let rest = piped.rest();
    assert!(rest.iter().map(|it| number(it)).eq(0..50), "{}", rest.len());
    assert!(piped.running.ended().success());
}

fn out_of_step() {
    let mut piped = Piped::start(OURS, &[]);
    piped.send(&frame(1, 60));
    piped.send_octets(&[0xff, 0xff, 0]);
    assert_eq!(piped.receive(), frame(1, 60));
    piped.running.ended();
    let said = piped.running.said();
    assert!(said.contains("announces a frame of 65535 octets"), "{said}");
}

fn end_of_output() {
    let mut piped = Piped::start(OURS, &[]);
    piped.stop_reading();
    let mut index = 0;
    wait_for("the end of the filter", || {
        index += 1;
        // The reader's thread ends with its first frame, and its pipe with it.
        if piped.running.0.try_wait().unwrap().is_none() && index < 100_000 {
            piped.try_send(&frame(index, 1000));
        }
        piped.running.0.try_wait().unwrap()
    });
}

fn same_seed() {
    let run = |seed: &str| {
        let options =
            ["--seed", seed, "-l", "10", "-L", "3", "-D", "5", "-n", "300", "--corrupt", "2"];
        let mut piped = Piped::start(OURS, &options);
        for index in 0..3000 {
            piped.send(&frame(index, 200));
        }
        piped.rest()
    };
    let first = run("7");
    assert!(first.len() < 2950 && first.len() > 2500, "{}", first.len());
    assert_eq!(first, run("7"));
    assert_ne!(first, run("8"));
}

fn wrong_values() {
    for (options, error) in [
        (&["-l", "150"][..], "loss: 150 is no percentage; it must be from 0 to 100"),
        (&["-l", "10%"], "loss: '%' means nothing here"),
        (&["-d", "-5"], "delay: -0.005 is no delay"),
        (&["-b", "10Mbyte"], "bandwidth: 'Mbyte' means nothing here"),
        (&["--fourstates", "60,1,1,1,60"], "the steps out of state 1 are 120 % together"),
        (&["-d", "10[3]"], "there is no state 3; the last one is 0"),
        (&["-f", "/nonexistent/rc"], "cannot read the rc file /nonexistent/rc"),
        (&["--distribution", "/etc/passwd"], "line 1: "),
        (&["-v", "/nonexistent:/nonexistent"], "no switch answers at /nonexistent"),
        (&["-v", "one"], "'one' is not two switches with a colon between"),
        (&["--bogus"], "--bogus"),
    ] {
        let output = if options[0] == "-v" || options[0] == "--bogus" {
            output(options)
        } else {
            let child = Command::new(OURS)
                .args(options)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.wait_with_output().unwrap()
        };
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{options:?}: {said}");
        assert!(said.contains(error), "{options:?}: {said}");
    }
}

/// Left and right each send a frame and write what they get into a file.
fn dpipe() {
    let scene = scene();
    let end = |name: &str, octet: &str| {
        let file = path(&scene, name);
        let frame =
            format!("printf '\\000\\016'; printf '{octet}%.0s' 1 2 3 4 5 6 7 8 9 a b c d e");
        format!("{frame}; dd bs=1 count=16 of={} 2>/dev/null", file.display())
    };
    let status = Command::new("dpipe")
        .args(["sh", "-c", &end("left", "l"), "="])
        .args([OURS, "-d", "LR5", "="])
        .args(["sh", "-c", &end("right", "r")])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut running = Running(status);
    wait_for("both frames", || {
        let of = |name| std::fs::read(path(&scene, name)).unwrap_or_default();
        let (left, right) = (of("left"), of("right"));
        (left.len() == 16 && right.len() == 16).then(|| {
            assert_eq!(&left[2..], b"rrrrrrrrrrrrrr");
            assert_eq!(&right[2..], b"llllllllllllll");
        })
    });
    running.ended();
}

fn speed() {
    // 100 frames of 1000 octets at 1 MB/s; the pipe and what the program may read at once hold
    // more, so what is seen is that the last one does not come before its time.
    let mut piped = Piped::start(OURS, &["-s", "1000000"]);
    let begun = now();
    for index in 0..100 {
        piped.send(&frame(index, 1000));
    }
    for index in 0..100 {
        assert_eq!(number(&piped.receive()), index);
    }
    let took = now() - begun;
    assert!(took >= Duration::from_millis(100), "{took:?}");
}

fn files() {
    let scene = scene();
    let write = |name: &str, text: &str| {
        let path = path(&scene, name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    // Of 50 frames from two stations one half is lost by its pair, the other passes a trace.
    let station = |last: u8, number: u8| {
        let mut frame = vec![0; 60];
        (frame[5], frame[6], frame[11], frame[20]) = (9, 2, last, number);
        frame
    };
    let pairs = write("pairs", "02:00:00:00:00:01 * loss 100\n");
    let trace = write("trace", "1\n2\n");
    let timeline = write("timeline", "0 mtu 100\n");
    let options = [
        "--pairs",
        &pairs,
        "--trace",
        &format!("LR {trace}"),
        "--timeline",
        &timeline,
        "-m",
        "50",
        "--stats=json",
    ];
    let mut piped = Piped::start(OURS, &options);
    for number in 0..50 {
        piped.send(&station(number % 2 + 1, number));
    }
    let numbers: Vec<u8> = piped.rest().iter().map(|frame| frame[20]).collect();
    assert!(numbers.iter().copied().eq((1..50).step_by(2)), "{numbers:?}");

    piped.running.ended();
    let said = piped.running.said();
    let json: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(json["pairs"][0]["pair"], "02:00:00:00:00:01 *");
    assert_eq!(json["pairs"][0]["dropped"]["lost"], 25);
    assert_eq!(json["LR"]["in"]["packets"], 25);

    let broken = write("broken", "0 loss 1\n5s los 2\n");
    for (options, error) in [
        (["--timeline", &broken], "line 2: there is no setting 'los'"),
        (["--pairs", &timeline], "line 1: '0' is no MAC address and not *"),
        (["--trace", &pairs], "line 1: "),
        (["--profile", "5g"], "there are lte, 3g, satellite, dsl, wifi-bad, intercontinental"),
    ] {
        let mut piped = Piped::start(OURS, &options);
        assert_eq!(piped.running.ended().code(), Some(1), "{options:?}");
        let said = piped.running.said();
        assert!(said.contains(error), "{said}");
    }
}

fn statistics() {
    let mut piped = Piped::start(OURS, &["-m", "100", "-D", "50", "--seed", "1", "--stats=json"]);
    for index in 0..100 {
        piped.send(&frame(index, 100));
    }
    piped.send(&frame(100, 101));
    let delivered = piped.rest().len();
    piped.running.ended();
    let said = piped.running.said();
    let json: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(json["seed"], 1);
    assert_eq!(json["LR"]["in"]["packets"], 101);
    assert_eq!(json["LR"]["dropped"]["too_long"], 1);
    assert_eq!(json["LR"]["out"]["packets"], delivered);
    assert_eq!(json["LR"]["copies"], delivered - 100);
    assert_eq!(json["RL"], serde_json::Value::Null);
}

fn blink() {
    let scene = scene();
    let socket = path(&scene, "blink");
    let listener = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    listener.set_read_timeout(Some(DEADLINE)).unwrap();
    let options = ["--blink", socket.to_str().unwrap(), "--blinkid", "cable"];
    let mut piped = Piped::start(OURS, &options);
    piped.send(&frame(0, 60));
    let mut message = [0; 100];
    let len = listener.recv(&mut message).unwrap();
    assert_eq!(&message[..len], b"cable -- 60\n");

    let mut piped = Piped::start(OURS, &options[..2]);
    piped.send(&frame(0, 1514));
    let len = listener.recv(&mut message).unwrap();
    let text = format!("{:06} -- 1514\n", piped.running.0.id());
    assert_eq!(std::str::from_utf8(&message[..len]), Ok(&*text));
}

fn slow_reader() {
    let mut child = Command::new(OURS)
        .args(["-d", "1", "--stats=json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let output = child.stdout.take().unwrap();
    let mut running = Running(child);
    // Far more than the pipes hold; nobody reads until the writer has been stopped by that.
    let (progress, written) = channel();
    let writer = std::thread::spawn(move || {
        for index in 0..20_000 {
            super::lab::write_frame(&mut input, &frame(index, 1000)).unwrap();
            progress.send(index).unwrap();
        }
    });
    while written.recv_timeout(Duration::from_millis(500)).is_ok() {}
    let (sender, frames) = channel();
    let reader = std::thread::spawn(move || read_frames(output, &sender));
    let got: Vec<u32> = frames.iter().map(|frame| number(&frame)).collect();
    writer.join().unwrap();
    reader.join().unwrap();
    assert!(got.iter().copied().eq(0..20_000), "{}", got.len());
    assert!(running.ended().success());
}
