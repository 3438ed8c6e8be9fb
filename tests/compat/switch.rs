//! `vde_switch` as people start it: command lines, files, modes, ends. What its console answers is
//! `console`'s.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::process::{Signal, both, built_program, command, output, run};
use lab::switch::Daemon;
use lab::{Maker, Plug, Process, Scene, Suite, Switch, wait_until};

const SOON: Duration = Duration::from_secs(10);

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial("unixcmd_drives_the_switch", &["unixcmd", "vde_plug"], unixcmd)
        .trial("a_daemon_is_ready_when_the_command_returns", &["vde_plug"], daemon)
        .trial("a_port_that_is_not_allocatable_goes_only_to_who_asks", &["vde_plug"], reserved_port)
        .trial("a_killed_switch_leaves_nothing_that_stops_the_next", &[], after_kill)
        .trial("a_signal_in_the_middle_of_the_start_leaves_nothing", &[], early_signal)
        .trial("modes_are_those_of_vde", &["vde_switch"], modes)
        .trial("the_end_of_standard_input_ends_the_switch", &[], end_of_input)
        .trial("an_untagged_port_of_a_vlan_hears_its_frames_without_tag", &["vde_plug"], vlans)
}

fn unixcmd(scene: &Scene) -> Result<()> {
    let switch = Switch::ours(scene, "switch")?;
    let _plug = Plug::insert(scene, "plug", switch.socket())?;
    let ask = |words: &[&str]| {
        let mut unixcmd = Command::new("unixcmd");
        unixcmd.args(["-f", "/etc/vde2/vdecmd", "-s"]).arg(switch.management()).args(words);
        output(&mut unixcmd).map(|output| both(&output))
    };
    wait_until("the plug in port/print", SOON, || {
        Ok(ask(&["port/print"])?.contains("module unix prog   : plug user=") || {
            ask(&["port/print"])?.contains("endpoint ID")
        })
    })?;
    let shown = ask(&["showinfo"])?;
    ensure!(shown.contains("VDE switch V."), "showinfo says {shown}");
    // A plug thrown out by its number sees its switch go.
    let ports = switch.ask("port/print 1")?;
    let id = ports.split("endpoint ID ").nth(1).and_then(|rest| rest.split(' ').next());
    let id = id.with_context(|| format!("no endpoint in {ports}"))?;
    ask(&["port/epclose", "1", id])?;
    wait_until("an empty port", SOON, || Ok(!switch.ask("port/print")?.contains("endpoint ID")))
}

fn reserved_port(scene: &Scene) -> Result<()> {
    let switch = Switch::ours(scene, "switch")?;
    ensure!(switch.ask("port/create 1")?.contains("1000 Success"), "port 1 is not made");
    let has_plug =
        |port: u32| Ok(switch.ask(&format!("port/print {port}"))?.contains("endpoint ID"));
    let _anywhere = Plug::insert(scene, "anywhere", switch.socket())?;
    wait_until("a plug at port 2", SOON, || has_plug(2))?;
    ensure!(!has_plug(1)?, "port 1 was given to a plug that did not ask for it");
    let address = format!("{}[1]", switch.socket().display());
    let _asking = Plug::insert(scene, "asking", Path::new(&address))?;
    wait_until("the plug that asked at port 1", SOON, || has_plug(1))
}

fn daemon(scene: &Scene) -> Result<()> {
    let (socket, pidfile) = (scene.path("vde.ctl"), scene.path("switch.pid"));
    let management = scene.path("vde.mgmt");
    // The spelling of a Debian interfaces(5) file.
    let mut switch = command(built_program("vde_switch")?, None);
    switch.args(["--daemon", "--mod", "666", "--mgmtmode", "770", "--sock"]).arg(&socket);
    switch.arg("--mgmt").arg(&management).arg("--pidfile").arg(&pidfile);
    let _daemon = Daemon(&pidfile);
    run(&mut switch)?;
    // It has returned: everything is there.
    let pid: i32 = fs::read_to_string(&pidfile)?.trim().parse()?;
    let mode = |path: &Path| fs::metadata(path).map(|it| it.permissions().mode() & 0o7777);
    ensure!(mode(&socket.join("ctl"))? == 0o666, "ctl has mode {:o}", mode(&socket.join("ctl"))?);
    ensure!(mode(&management)? == 0o770, "mgmt has mode {:o}", mode(&management)?);
    let mut plug = Plug::insert(scene, "plug", &socket)?;
    run(Command::new("kill").arg(pid.to_string()))?;
    plug.wait_end().context("the plug must notice the end of its switch")?;
    wait_until("a clean end", SOON, || {
        Ok(!pidfile.exists() && !management.exists() && !socket.join("ctl").exists())
    })
}

fn after_kill(scene: &Scene) -> Result<()> {
    let (socket, pidfile) = (scene.path("vde.ctl"), scene.path("switch.pid"));
    let management = scene.path("vde.mgmt");
    let start = || {
        let mut switch = command(built_program("vde_switch")?, None);
        switch.arg("-daemon").arg("-sock").arg(&socket).arg("-pidfile").arg(&pidfile);
        run(switch.arg("-M").arg(&management))?;
        Ok::<_, anyhow::Error>(fs::read_to_string(&pidfile)?.trim().to_owned())
    };
    let _daemon = Daemon(&pidfile);
    let first = start()?;
    run(Command::new("kill").args(["-9", &first]))?;
    wait_until("the killed switch to be gone", SOON, || {
        Ok(fs::read_to_string(format!("/proc/{first}/comm"))
            .map_or(true, |name| !name.starts_with("vde_switch")))
    })?;
    let second = start().context("after kill -9")?;
    ensure!(first != second, "the pidfile is the old one");
    // A second switch in the same place says who is there.
    let mut third = command(built_program("vde_switch")?, None);
    let refused = output(third.arg("-daemon").arg("-sock").arg(&socket))?;
    let said = both(&refused);
    ensure!(!refused.status.success() && said.contains(&second), "it said {said}");
    run(Command::new("kill").arg(&second))?;
    wait_until("a clean end", SOON, || Ok(!pidfile.exists() && !socket.exists()))
}

/// The pidfile is the first that there is, and names whom to end.
fn early_signal(scene: &Scene) -> Result<()> {
    let (socket, pidfile) = (scene.path("vde.ctl"), scene.path("switch.pid"));
    let management = scene.path("vde.mgmt");
    for turn in 0..10 {
        let mut switch = command(built_program("vde_switch")?, None);
        switch.arg("--nostdin").arg("--sock").arg(&socket).arg("--pidfile").arg(&pidfile);
        let mut process = Process::spawn(
            scene,
            &format!("switch-{turn}"),
            switch.arg("--mgmt").arg(&management),
        )?;
        // At once, and not some milliseconds later, when all is in place.
        while !pidfile.exists() {
            process.check_running()?;
            std::thread::yield_now();
        }
        let status = process.terminate(SOON)?;
        ensure!(status.success(), "SIGTERM ended it with {status} in turn {turn}");
        for path in [&socket, &pidfile, &management] {
            ensure!(!path.exists(), "{} is left in turn {turn}", path.display());
        }
    }
    Ok(())
}

fn modes(scene: &Scene) -> Result<()> {
    for (number, flags) in
        [&[][..], &["-m", "660"], &["-dirmode", "0700"], &["-m", "0666", "--dirmode", "755"]]
            .into_iter()
            .enumerate()
    {
        let mut seen = Vec::new();
        for (name, maker) in [("theirs", Maker::Debian), ("ours", Maker::Project)] {
            let socket = scene.path(&format!("{name}-{number}"));
            let pidfile = scene.path(&format!("{name}-{number}.pid"));
            let mut switch = command(maker.program()?, None);
            switch.args(flags).arg("-d").arg("-s").arg(&socket).arg("-p").arg(&pidfile);
            let _daemon = Daemon(&pidfile);
            run(&mut switch)?;
            wait_until("the control socket", SOON, || Ok(socket.join("ctl").exists()))?;
            wait_until("the pidfile", SOON, || {
                Ok(fs::read_to_string(&pidfile).is_ok_and(|it| it.ends_with('\n')))
            })?;
            let mode = |path: &Path| fs::metadata(path).map(|it| it.permissions().mode() & 0o7777);
            seen.push((mode(&socket)?, mode(&socket.join("ctl"))?));
            run(Command::new("kill").arg(fs::read_to_string(&pidfile)?.trim()))?;
        }
        ensure!(
            seen[0] == seen[1],
            "{flags:?}: Debian's makes {:o} and {:o}, ours {:o} and {:o}",
            seen[0].0,
            seen[0].1,
            seen[1].0,
            seen[1].1
        );
    }
    Ok(())
}

fn end_of_input(scene: &Scene) -> Result<()> {
    let mut switch = command(built_program("vde_switch")?, None);
    switch.arg("-s").arg(scene.path("vde.ctl"));
    let (mut process, mut input, mut answers) = Process::spawn_piped(scene, "switch", &mut switch)?;
    input.write_all(b"port/showinfo\n")?;
    drop(input);
    let status = process.wait_end(SOON)?;
    ensure!(status.success(), "it ended with {status}");
    let mut said = String::new();
    answers.read_to_string(&mut said)?;
    ensure!(said.contains("Numports=32") && said.contains("1000 Success"), "it said {said:?}");
    ensure!(!scene.path("vde.ctl").exists(), "its directory is left");
    Ok(())
}

fn vlans(scene: &Scene) -> Result<()> {
    let mut switch = Switch::ours(scene, "switch")?;
    let plug = |name, port| {
        let address = format!("{}[{port}]", switch.socket().display());
        Plug::insert(scene, name, Path::new(&address))
    };
    let (mut tagged, mut untagged, mut other) =
        (plug("one", 1)?, plug("two", 2)?, plug("three", 3)?);
    wait_until("three ports", SOON, || {
        Ok(switch.ask("port/print")?.matches("endpoint ID").count() == 3)
    })?;
    for line in ["vlan/create 7", "vlan/addport 7 1", "port/setvlan 2 7"] {
        ensure!(switch.ask(line)?.contains("1000 Success"), "{line} failed");
    }
    let addresses = [[0xff; 6], [2, 0, 0, 0, 0, 1]].concat();
    let payload = [&[0x88, 0xb5][..], &[0x5a; 60]].concat();
    let with_tag = [&addresses[..], &[0x81, 0, 0xa0, 7], &payload].concat();
    let without = [&addresses[..], &payload].concat();
    tagged.send(&with_tag)?;
    untagged.expect(&without)?;
    untagged.send(&[&addresses[..6], &[2, 0, 0, 0, 0, 2], &payload].concat())?;
    tagged.expect(&[&addresses[..6], &[2, 0, 0, 0, 0, 2], &[0x81, 0, 0, 7], &payload].concat())?;
    ensure!(other.drain().is_empty(), "port 3 is not in VLAN 7 and heard its frames");
    switch.process().signal(Signal::TERM)?;
    Ok(())
}
