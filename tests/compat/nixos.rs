//! What the test driver of NixOS does with a switch (`test_driver/vlan.py`), in its present form and
//! in the form of before 2025. Its guests are in ring 5.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::frames::{BROADCAST, STATION_A, STATION_B, frame};
use lab::process::command;
use lab::terminal::Terminal;
use lab::transcript::Transcript;
use lab::{Client, Maker, Process, Scene, Suite};

/// How long the driver waits for a line.
const PATIENCE: Duration = Duration::from_secs(5);

const MAKERS: [(&str, Maker); 2] = [("ours", Maker::Project), ("theirs", Maker::Debian)];

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial("the_test_driver_of_nixos_starts_and_stops_a_switch", &["vde_switch"], driver)
        .trial("the_former_test_driver_of_nixos_starts_a_switch", &["vde_switch"], former_driver)
        .trial("tagged_frames_pass_a_hub_and_no_switch", &["vde_switch"], tagged_frames)
}

fn driver(scene: &Scene) -> Result<()> {
    for (name, maker) in MAKERS {
        let directory = scene.path(&format!("{name}-vde1.ctl"));
        let mut switch = command(maker.program()?, None);
        switch.arg("--sock").arg(&directory).args(["--dirmode", "0700", "--hub"]);
        let (mut process, mut input, output) = Process::spawn_piped(scene, name, &mut switch)?;
        let output = Transcript::record(scene, &format!("{name}-console"), output)?;
        input.write_all(b"showinfo\n")?;
        let said = output.take_until("1000 Success\n", PATIENCE)?;
        ensure!(said.starts_with("0000 DATA END WITH '.'\nVDE switch V."), "it said {said:?}");
        // By then, its sockets are there, as the driver asserts.
        ensure!(directory.join("ctl").exists(), "it has answered and has no control socket");
        let mode = fs::metadata(&directory)?.permissions().mode() & 0o7777;
        ensure!(mode == 0o700, "the directory has mode {mode:o}");
        // The driver closes the console and sends the signal in one breath.
        drop(input);
        let _ = process.signal(lab::process::Signal::TERM);
        let status = process.wait_end(PATIENCE)?;
        ensure!(status.success(), "{name} ended with {status}");
        ensure!(!directory.exists(), "the directory is left");
    }
    Ok(())
}

/// It typed at a pseudo terminal and read a pipe, and took the first line for a sign of life.
fn former_driver(scene: &Scene) -> Result<()> {
    for (name, maker) in MAKERS {
        let directory = scene.path(&format!("{name}-vde1.ctl"));
        let mut switch = command(maker.program()?, None);
        switch.arg("-s").arg(&directory).args(["--dirmode", "0700"]);
        let mut terminal = Terminal::open()?;
        let ends = (terminal.end()?, Stdio::piped());
        let (_process, output) = Process::spawn_on(scene, name, &mut switch, ends)?;
        let output = output.context("a pipe was asked for")?;
        let output = Transcript::record(scene, &format!("{name}-console"), output)?;
        terminal.type_in("version\n")?;
        let line = output.take_until("\n", PATIENCE)?;
        ensure!(line == "1038 Function not implemented\n", "{name} said {line:?}");
        ensure!(directory.join("ctl").exists(), "{name} has answered and has no control socket");
    }
    Ok(())
}

/// The driver's reason for `--hub`: guests with VLANs. A switch has each port in VLAN 0 alone.
fn tagged_frames(scene: &Scene) -> Result<()> {
    for (name, maker) in MAKERS {
        for (mode, flags) in [("switch", &[][..]), ("hub", &["--hub"])] {
            let label = format!("{name}-{mode}");
            let switch = lab::Switch::start(scene, &label, maker, flags)?;
            let plug = |role: &str| {
                Client::plug_in_at(switch.socket(), &scene.path(&format!("{label}-{role}")), 0)
            };
            let (a, b) = (plug("a")?, plug("b")?);
            switch.wait_plugs(2)?;
            let tagged = tagged(1, &frame(BROADCAST, STATION_A, 100, 1));
            let untagged = frame(BROADCAST, STATION_A, 100, 2);
            a.send(&tagged)?;
            a.send(&untagged)?;
            let expected = if mode == "hub" { vec![&tagged, &untagged] } else { vec![&untagged] };
            for frame in expected {
                let heard = b.receive()?;
                ensure!(heard == *frame, "{label}: heard {:02x?}", &heard[..20]);
            }
            b.send(&frame(STATION_A, STATION_B, 60, 3))?;
            a.receive().context(label)?;
        }
    }
    Ok(())
}

/// The frame with a tag of IEEE 802.1Q.
fn tagged(vlan: u16, frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &[0x81, 0x00], &vlan.to_be_bytes(), &frame[12..]].concat()
}
