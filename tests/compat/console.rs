//! The console of `vde_switch`: the same sessions with Debian's switch and with ours, answer by
//! answer. Where ours says something else, this file says why.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use lab::client::ANSWER;
use lab::frames::{BROADCAST, STATION_A, STATION_B, frame};
use lab::switch::Console;
use lab::{Client, Maker, Scene, Suite, Switch, wait_until};

pub(crate) fn trials(suite: Suite) -> Suite {
    const NEEDS: &[&str] = &["vde_switch"];
    suite
        .trial("the_console_answers_as_debians_switch", NEEDS, empty_switch)
        .trial("the_console_answers_as_debians_switch_with_plugs", NEEDS, busy_switch)
        .trial("the_console_answers_as_debians_switch_in_a_hub", NEEDS, hub)
        .trial("a_session_hears_the_events_that_debians_switch_tells", NEEDS, events)
        .trial("a_session_hears_of_stations_as_from_debians_switch", NEEDS, station_events)
        .trial("a_start_script_does_what_it_does_in_debians_switch", NEEDS, start_script)
        .trial("an_unknown_command_gets_vdes_own_code", &[], unknown_command)
}

/// One session's lines and those of them that ours answers otherwise, each with the reason.
struct Script {
    lines: &'static [&'static str],
    differences: &'static [(&'static str, &'static str)],
}

const ANOTHER_PROGRAM: &str = "names the program, its process, and a MAC address drawn at random";
const NO_SPANNING_TREE: &str = "there is none and it says so; cables make no loop";
const NO_NUMBER: &str = "what is no number is refused, where VDE's takes it for 0";
const NO_PERSISTENCE: &str = "a station that moves is heard at once, so the persistence is 0";

const EMPTY: Script = Script {
    lines: &[
        "help port",
        "help hash",
        "help x",
        "help vlan",
        "help",
        "showinfo",
        "ds/showinfo",
        "load",
        "load /nonexistent",
        "debug/list",
        "debug/list port",
        "debug/add nosuch",
        "debug/del port",
        "plugin/list",
        "plugin/add nosuch",
        "plugin/del nosuch",
        "port/showinfo",
        "port/print",
        "port/allprint",
        "port/create 3",
        "port/create 3",
        "port/allprint",
        "port/allocatable 3 1",
        "port/allocatable 3 2",
        "port/allocatable 9 1",
        "port/allprint 3",
        "port/print 3",
        "port/print 99",
        "port/print 0",
        "port/print x",
        "port/print -1",
        "port/setvlan 3 5",
        "vlan/create 5",
        "vlan/create 5",
        "port/setvlan 3 5",
        "vlan/allprint",
        "vlan/addport 0 3",
        "vlan/allprint 5",
        "vlan/delport 5 3",
        "vlan/delport 0 3",
        "vlan/remove 5",
        "port/setvlan 3 0",
        "vlan/remove 5",
        "vlan/remove 5",
        "vlan/print",
        "vlan/create 0",
        "vlan/create 4093",
        "vlan/create 4094",
        "vlan/create 4096",
        "vlan/create -1",
        "vlan/create x",
        "vlan/create",
        "vlan/addport 5 3",
        "vlan/addport 4093 99",
        "vlan/addport 4093 9",
        "vlan/addport 4093",
        "vlan/delport 4093 3",
        "vlan/print 4092",
        "port/setvlan 3 4095",
        "port/setvlan 3 4096",
        "port/setvlan 3 -1",
        "port/setvlan",
        "port/allprint 3",
        "port/setvlan 3 0",
        "vlan/remove 0",
        "port/create 0",
        "port/create -1",
        "port/create 100",
        "port/createauto",
        "port/remove 0",
        "port/remove 77",
        "port/setuser 3 root",
        "port/setgroup 3 daemon",
        "port/setuser 3 nosuchuser",
        "port/setgroup 3 nosuchgroup",
        "port/allprint 3",
        "port/setuser 3 1",
        "port/setuser 3 64999",
        "port/allprint 3",
        "port/setuser 3 NONE",
        "port/setgroup 3 ANY",
        "port/setuser 9 root",
        "port/allprint 3",
        "port/setnumports 2",
        "port/setnumports 0",
        "port/setnumports x",
        "port/setnumports 10",
        "port/epclose 3 1",
        "port/epclose 3",
        "port/epclose",
        "port/defqlen 4",
        "port/resetcounter",
        "port/resetcounter 3",
        "port/resetcounter 99",
        "port/remove 3",
        "port/remove 3",
        "port/sethub 1",
        "port/showinfo",
        "port/sethub x",
        "port/sethub 0",
        "hash/showinfo",
        "hash/setminper 2",
        "hash/setsize 100",
        "hash/setgcint 3",
        "hash/setexpire 50",
        "hash/showinfo ",
        "hash/print",
        "hash/find 02:00:00:00:00:01",
        "hash/find 02:00",
        "hash/find",
        "fstp/showinfo",
        "fstp/setfstp 0",
        "fstp/setfstp 1",
        "fstp/print",
        "fstp/print 9",
        "fstp/setedge",
        "fstp/setedge 9 1 1",
        "fstp/setedge 0 1 1",
        "fstp/bonus 0 99 100",
        "fstp/bonus 0 1 100",
        "nonsense",
        "version",
        "port",
        "PORT/SHOWINFO",
        "port/show",
        "  port/showinfo",
        "\tport/showinfo",
        "port/showinfo and more",
        "# a comment",
        "",
    ],
    differences: &[
        ("help vlan", "VDE's help says of vlan/delport that it adds a port"),
        ("help", "the same"),
        ("showinfo", ANOTHER_PROGRAM),
        ("plugin/add nosuch", "no code is loaded while it runs, and it says so"),
        ("port/print x", NO_NUMBER),
        ("vlan/remove 0", "VLAN 0 is always there; VDE's refuses only while it has ports"),
        ("port/sethub x", NO_NUMBER),
        ("hash/showinfo", NO_PERSISTENCE),
        ("fstp/showinfo", NO_SPANNING_TREE),
        ("fstp/setfstp 1", NO_SPANNING_TREE),
        ("fstp/print", NO_SPANNING_TREE),
        ("fstp/setedge 0 1 1", NO_SPANNING_TREE),
        ("fstp/bonus 0 1 100", NO_SPANNING_TREE),
    ],
};

const BUSY: Script = Script {
    lines: &[
        "port/print",
        "port/print 1",
        "port/print 0",
        "hash/print",
        "hash/find 02:00:00:00:00:0a",
        "hash/find 02:00:00:00:00:0a 1",
        "vlan/print",
        "vlan/print 3",
        "vlan/allprint 0",
        "port/setnumports 2",
        "port/remove 1",
        "port/create 1",
        "vlan/create 3",
        "vlan/addport 3 2",
        "vlan/print",
        "port/setvlan 1 3",
        "hash/print",
        "vlan/print",
        "vlan/remove 3",
        "port/epclose 1 9999",
        "port/setuser 1 daemon",
        "port/print 1 ",
        "port/setuser 1 NONE",
        "port/setgroup 1 daemon",
        "port/allocatable 1 0",
        "port/print 1",
        "port/resetcounter 1",
        "port/print",
        "port/resetcounter",
        "port/allprint",
        "hash/setsize 64",
        "hash/print",
    ],
    differences: &[
        ("hash/find 02:00:00:00:00:0a", "VDE's shows the number of the next port"),
        ("vlan/allprint 0", "VDE's does not know VLAN 0 by its number"),
        ("port/print 1 ", "VDE's shows the user of the plug in place of the one who may"),
    ],
};

const HUB: Script = Script {
    lines: &[
        "port/showinfo",
        "port/print",
        "hash/print",
        "fstp/setfstp 0",
        "vlan/print",
        "port/sethub 0",
        "port/showinfo",
    ],
    differences: &[
        ("fstp/setfstp 0", NO_SPANNING_TREE),
        ("vlan/print", "the ports keep their VLANs for the time when it is a switch"),
    ],
};

const RC: &str = "# a start script\n\
    port/setnumports 16\n\
    port/create 4\n\
    vlan/create 7\n\
      vlan/addport 7 4\n\
    port/create 5\n\
    port/setvlan 5 7\n\
    port/setuser 5 daemon\n\
    port/allocatable 5 1\n\
    nonsense\n\
    hash/setexpire 77\n\
    port/create 99";

impl Script {
    /// Gives every line to both switches and compares.
    fn run(&self, theirs: &Switch, ours: &Switch) -> Result<()> {
        let explained: BTreeSet<&str> = self.differences.iter().map(|(line, _)| *line).collect();
        let (expected, got) = (theirs.session(self.lines)?, ours.session(self.lines)?);
        for ((line, expected), got) in self.lines.iter().zip(&expected).zip(&got) {
            let (expected, got) = (comparable(expected), comparable(got));
            ensure!(
                (expected == got) != explained.contains(line),
                "{line:?} (explained: {}): Debian's answers {expected:?}, ours {got:?}",
                explained.contains(line)
            );
        }
        for (line, reason) in self.differences {
            ensure!(self.lines.contains(line), "nobody asks {line:?} ({reason})");
        }
        Ok(())
    }
}

/// An answer without what two switches cannot have in common: the scene's name for them, numbers of
/// plugs and hash buckets, ages.
fn comparable(answer: &str) -> String {
    let mut answer = answer.replace("theirs", "ours");
    for (before, after) in
        [("endpoint ID ", " "), ("FD ", "\n"), ("FD ", " "), ("Hash: ", " "), ("age ", " secs")]
    {
        answer = masked(&answer, before, after);
    }
    answer
}

/// The text with each number between `before` and `after` replaced.
fn masked(text: &str, before: &str, after: &str) -> String {
    let mut parts = text.split(before);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        masked.push_str(before);
        match part.split_once(after) {
            Some((number, rest)) if number.trim().bytes().all(|octet| octet.is_ascii_digit()) => {
                masked.push('N');
                masked.push_str(after);
                masked.push_str(rest);
            }
            _ => masked.push_str(part),
        }
    }
    masked
}

/// Debian's switch and ours, started alike.
fn both(scene: &Scene, flags: &[&str]) -> Result<[Switch; 2]> {
    let start = |name, maker| Switch::start(scene, name, maker, flags);
    Ok([start("theirs", Maker::Debian)?, start("ours", Maker::Project)?])
}

fn empty_switch(scene: &Scene) -> Result<()> {
    let [theirs, ours] = both(scene, &[])?;
    EMPTY.run(&theirs, &ours)
}

/// Two clients at ports 1 and 2 that have heard each other.
fn plug_two(scene: &Scene, switch: &Switch) -> Result<[Client; 2]> {
    let name = switch.socket().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let plug = |number: u32| -> Result<Client> {
        let path = scene.path(&format!("{name}-{number}"));
        let client = Client::plug_in_at(switch.socket(), &path, 0)?;
        switch.wait_plugs(number as usize)?;
        Ok(client)
    };
    let (one, two) = (plug(1)?, plug(2)?);
    one.send(&frame(BROADCAST, STATION_A, 60, 1))?;
    two.receive()?;
    two.send(&frame(STATION_A, STATION_B, 60, 2))?;
    one.receive()?;
    Ok([one, two])
}

fn busy_switch(scene: &Scene) -> Result<()> {
    let [theirs, ours] = both(scene, &[])?;
    let (_at_theirs, _at_ours) = (plug_two(scene, &theirs)?, plug_two(scene, &ours)?);
    BUSY.run(&theirs, &ours)
}

fn hub(scene: &Scene) -> Result<()> {
    let [theirs, ours] = both(scene, &["--hub"])?;
    let (_at_theirs, _at_ours) = (plug_two(scene, &theirs)?, plug_two(scene, &ours)?);
    HUB.run(&theirs, &ours)
}

fn events(scene: &Scene) -> Result<()> {
    let told = |name, maker| -> Result<Vec<String>> {
        let switch = Switch::start(scene, name, maker, &[])?;
        let mut watch = Console::open(switch.management())?;
        for line in ["debug/add port", "debug/del port/descr"] {
            ensure!(watch.ask(line)?.contains("1000 Success"), "{line} fails");
        }
        ensure!(switch.ask("debug/list")?.matches(" ON ").count() == 0, "another session watches");
        switch.order(&["port/create 3", "port/remove 3", "port/create 4"])?;
        let [one, two] = plug_two(scene, &switch)?;
        drop(one);
        let mut lines = watch.lines_until("3022 port/- 01")?;
        drop(two);
        lines.extend(watch.lines_until("3022 port/- 02")?);
        Ok(lines.iter().map(|line| comparable(&format!("{line}\n"))).collect())
    };
    let (theirs, ours) = (told("theirs", Maker::Debian)?, told("ours", Maker::Project)?);
    ensure!(theirs == ours, "Debian's tells {theirs:#?}, ours {ours:#?}");
    ensure!(ours.len() >= 8, "only this is told: {ours:#?}");
    Ok(())
}

fn station_events(scene: &Scene) -> Result<()> {
    let told = |name, maker| -> Result<Vec<String>> {
        let switch = Switch::start(scene, name, maker, &[])?;
        let mut watch = Console::open(switch.management())?;
        ensure!(watch.ask("debug/add hash")?.contains("1000 Success"), "hash has no events");
        // Each of the two says a word to the other.
        let _plugs = plug_two(scene, &switch)?;
        watch.lines_until("3011 hash/+ 02:00:00:00:00:0b VLAN 00:00 Port 2")
    };
    let (theirs, ours) = (told("theirs", Maker::Debian)?, told("ours", Maker::Project)?);
    ensure!(theirs == ours, "Debian's tells {theirs:#?}, ours {ours:#?}");
    Ok(())
}

fn start_script(scene: &Scene) -> Result<()> {
    let path = scene.path("start.rc");
    fs::write(&path, RC)?;
    let path = path.to_str().context("a path of a scene is text")?;
    // By the command line, and by the console of a switch without one.
    let [theirs, ours] = both(scene, &["-f", path])?;
    let lines = ["port/showinfo", "port/allprint", "vlan/allprint", "hash/print"];
    ensure!(ours.ask("vlan/allprint 7")?.contains("Port 0004 tagged=1"), "the script did nothing");
    let (expected, got) = (theirs.session(&lines)?, ours.session(&lines)?);
    ensure!(expected == got, "Debian's: {expected:#?}, ours: {got:#?}");
    ensure!(ours.ask("hash/showinfo")?.contains("GC expire 77"), "the script stopped at an error");
    drop((theirs, ours));

    let [theirs, ours] = both(scene, &[])?;
    let load = format!("load {path}");
    let lines = [&load, "port/showinfo", "port/allprint", "vlan/allprint"];
    let (expected, got) = (theirs.session(&lines)?, ours.session(&lines)?);
    ensure!(expected == got, "Debian's: {expected:#?}, ours: {got:#?}");
    Ok(())
}

fn unknown_command(scene: &Scene) -> Result<()> {
    let switch = Switch::ours(scene, "switch")?;
    for line in ["nonsense", "port", "vlan/", "rm -rf /", &"x".repeat(100), "\u{7f}\u{1b}[2J"] {
        let answer = switch.ask(line)?;
        ensure!(answer == "1038 Function not implemented\n", "{line:?} was answered {answer:?}");
    }
    // A session that sends many lines at once, without waiting for answers, gets them all.
    let mut console = Console::open(switch.management())?;
    let mut answers = console.ask(&["nonsense"; 50].join("\n"))?;
    wait_until("fifty answers", ANSWER, || {
        if answers.matches("1038 ").count() < 50 {
            answers.push_str(&console.next_answer()?);
            return Ok(false);
        }
        Ok(true)
    })
}
