//! Debian's tools around a switch: terminals and one-shot commands for its console, plugs with
//! options, and what stands between two switches. Those that need an interface are in ring 4.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::frames::{STATION_A, STATION_B, frame};
use lab::plug::meet;
use lab::process::{command, output, run};
use lab::switch::Daemon;
use lab::terminal::Terminal;
use lab::{Maker, Plug, Process, Scene, Suite, Switch, wait_until};

const SOON: Duration = Duration::from_secs(10);
const MEETING: Duration = Duration::from_secs(20);

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial("vdeterm_completes_and_answers", &["vdeterm", "vde_switch"], vdeterm)
        .trial(
            "unixcmd_prints_what_it_prints_at_debians_switch",
            &["unixcmd", "vde_switch"],
            unixcmd,
        )
        .trial("every_spelling_of_a_port_leads_to_it", &["vde_plug"], spellings_of_a_port)
        .trial("groups_and_modes_of_a_plug_are_taken", &["vde_plug"], plug_options)
        .trial("vde_plug_joins_our_switch_and_debians", &["vde_plug", "vde_switch"], cable)
        .trial("dpipe_joins_our_switch_and_debians", &["dpipe", "vde_plug", "vde_switch"], dpipe)
        .trial(
            "debians_wirefilter_in_a_pipe_joins_two_switches",
            &["dpipe", "vde_plug", "wirefilter"],
            wirefilter,
        )
        .trial("tools_end_when_their_switch_does", &["vde_plug", "dpipe"], end_of_switch)
}

/// A person at a terminal: completion from the switch's own `help`, an answer, an event in between,
/// the end.
fn vdeterm(scene: &Scene) -> Result<()> {
    for (name, maker) in [("theirs", Maker::Debian), ("ours", Maker::Project)] {
        let switch = Switch::start(scene, name, maker, &[])?;
        let mut terminal = Terminal::open()?;
        let mut vdeterm = command("vdeterm", None);
        let ends = (terminal.end()?, terminal.end()?);
        let label = format!("{name}-vdeterm");
        let (mut process, _) =
            Process::spawn_on(scene, &label, vdeterm.arg(switch.management()), ends)?;
        let screen = terminal.record(scene, &format!("{name}-screen"))?;
        let prompt = "]: ";
        screen.take_until(prompt, SOON).context("the first prompt")?;
        terminal.type_in("port/allp\t")?;
        screen.take_until("port/allprint ", SOON).context("the completed command")?;
        terminal.type_in("\n")?;
        screen.take_until("Success\n", SOON).context("an answer")?;
        terminal.type_in("debug/add port\n")?;
        screen.take_until("Success\n", SOON).context("an answer to debug/add")?;
        switch.order(&["port/create 3"])?;
        screen.take_until("port/+ 03\n", SOON).context("an event")?;
        terminal.type_in("nonsense\n")?;
        screen.take_until("Function not implemented\n", SOON).context("an error")?;
        terminal.type_in("logout\n")?;
        process.wait_end(SOON).with_context(|| label.clone())?;
    }
    Ok(())
}

/// It prints the data of an answer alone. Its exit code is 255 whatever the answer, because of its
/// script in `/etc/vde2`, so both are compared with what they are at Debian's switch.
fn unixcmd(scene: &Scene) -> Result<()> {
    let theirs = Switch::start(scene, "theirs", Maker::Debian, &[])?;
    let ours = Switch::ours(scene, "ours")?;
    for line in [
        "port/showinfo",
        "vlan/create 7",
        "vlan/create 7",
        "vlan/print",
        "port/remove 9",
        "nonsense",
    ] {
        let ask = |switch: &Switch| {
            let mut unixcmd = command("unixcmd", None);
            unixcmd.args(["-f", "/etc/vde2/vdecmd", "-s"]).arg(switch.management());
            output(unixcmd.args(line.split(' ')))
        };
        let (expected, got) = (ask(&theirs)?, ask(&ours)?);
        ensure!(expected == got, "{line}: at Debian's {expected:?}, at ours {got:?}");
    }
    ensure!(ours.ask("vlan/print")?.contains("VLAN 0007"), "unixcmd did nothing");
    Ok(())
}

fn spellings_of_a_port(scene: &Scene) -> Result<()> {
    let switch = Switch::ours(scene, "switch")?;
    let directory = switch.socket().display();
    for (number, (port, options, address)) in [
        (5, &[][..], format!("{directory}[5]")),
        (6, &[], format!("vde://{directory}[6]")),
        (7, &[], format!("vde://{directory}[port=7]")),
        (8, &["--port", "8"], directory.to_string()),
        (1, &[], format!("vde://{directory}")),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("plug-{number}");
        let vde_plug = command("vde_plug", None);
        let plug = Plug::insert_by(scene, &name, vde_plug, options, Path::new(&address));
        // Kept until the next spelling had its turn, or port 1 would be free for all.
        let plug = plug?;
        let described = || Ok(switch.ask(&format!("port/print {port}"))?.contains(&name));
        wait_until(&format!("{address} {options:?} at port {port}"), SOON, described)?;
        std::mem::forget(plug);
    }
    Ok(())
}

fn plug_options(scene: &Scene) -> Result<()> {
    let switch = Switch::ours(scene, "switch")?;
    let group = run(command("id", None).arg("-gn"))?;
    let group = group.trim();
    let directory = switch.socket().display().to_string();
    let in_address = format!("vde://{directory}[9/group={group}/mode=0660]");
    let mut plain = Plug::insert(scene, "plain", switch.socket())?;
    for (name, options, address) in [
        ("mode", &["-m", "0600"][..], &directory),
        ("group", &["-g", group, "-m", "0660"], &directory),
        ("both", &[], &in_address),
    ] {
        let vde_plug = command("vde_plug", None);
        let mut plug = Plug::insert_by(scene, name, vde_plug, options, Path::new(address))?;
        meet((&mut plain, STATION_A), (&mut plug, STATION_B), MEETING)
            .with_context(|| format!("vde_plug {options:?} {address}"))?;
    }
    Ok(())
}

/// Our switch and Debian's with a program between them, and a plug in each.
fn joined(scene: &Scene, join: impl FnOnce(&Switch, &Switch) -> Result<Command>) -> Result<()> {
    let ours = Switch::ours(scene, "ours")?;
    let theirs = Switch::start(scene, "theirs", Maker::Debian, &[])?;
    let mut joint = join(&ours, &theirs)?;
    let (_joint, _input, _output) = Process::spawn_piped(scene, "joint", &mut joint)?;
    let mut a = Plug::insert(scene, "plug-a", ours.socket())?;
    let mut b = Plug::insert(scene, "plug-b", theirs.socket())?;
    exchange(&mut a, &mut b)
}

fn exchange(a: &mut Plug, b: &mut Plug) -> Result<()> {
    meet((a, STATION_A), (b, STATION_B), MEETING)?;
    for (seed, len) in (1..).zip([60, 61, 1000, 1514]) {
        let there = frame(STATION_B, STATION_A, len, seed);
        a.send(&there)?;
        b.expect(&there).with_context(|| format!("{len} octets from ours to theirs"))?;
        let back = frame(STATION_A, STATION_B, len, seed);
        b.send(&back)?;
        a.expect(&back).with_context(|| format!("{len} octets from theirs to ours"))?;
    }
    Ok(())
}

fn cable(scene: &Scene) -> Result<()> {
    let pidfile = scene.path("cable.pid");
    let _daemon = Daemon(&pidfile);
    joined(scene, |ours, theirs| {
        // As a daemon, which is how such cables are left to themselves.
        let mut vde_plug = command("vde_plug", None);
        vde_plug.args(["-d", "-p"]).arg(&pidfile).arg(ours.socket()).arg(theirs.socket());
        Ok(vde_plug)
    })
}

fn dpipe(scene: &Scene) -> Result<()> {
    joined(scene, |ours, theirs| {
        let mut dpipe = command("dpipe", None);
        dpipe.arg("vde_plug").arg(ours.socket()).args(["=", "vde_plug"]).arg(theirs.socket());
        Ok(dpipe)
    })
}

fn wirefilter(scene: &Scene) -> Result<()> {
    let (left, right) = (Switch::ours(scene, "left")?, Switch::ours(scene, "right")?);
    let mut dpipe = command("dpipe", None);
    dpipe.arg("vde_plug").arg(left.socket()).args(["=", "wirefilter", "-d", "1"]);
    dpipe.args(["=", "vde_plug"]).arg(right.socket());
    let (_joint, _input, _output) = Process::spawn_piped(scene, "joint", &mut dpipe)?;
    let mut a = Plug::insert(scene, "plug-a", left.socket())?;
    let mut b = Plug::insert(scene, "plug-b", right.socket())?;
    exchange(&mut a, &mut b)
}

fn end_of_switch(scene: &Scene) -> Result<()> {
    let (mut left, right) = (Switch::ours(scene, "left")?, Switch::ours(scene, "right")?);
    let mut dpipe = command("dpipe", None);
    dpipe.arg("vde_plug").arg(left.socket()).args(["=", "vde_plug"]).arg(right.socket());
    let (mut dpipe, _input, _output) = Process::spawn_piped(scene, "dpipe", &mut dpipe)?;
    let mut cable = command("vde_plug", None);
    cable.arg(left.socket()).arg(right.socket());
    let (mut cable, _input, _output) = Process::spawn_piped(scene, "cable", &mut cable)?;
    left.wait_plugs(2)?;
    right.wait_plugs(2)?;
    left.process().terminate(SOON)?;
    dpipe.wait_end(SOON).context("dpipe")?;
    cable.wait_end(SOON).context("the cable of vde_plug")?;
    right.wait_plugs(0)?;
    ensure!(fs::read_dir(right.socket())?.count() == 1, "more than the control socket is left");
    Ok(())
}
