//! The rest of what the test driver of NixOS does: guests on its hub, with VLANs between them
//! (`nixos/tests/networkd-and-scripted.nix`). How it starts and stops the hub is in ring 3.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::process::{built_program, command};
use lab::qemu::Wire;
use lab::transcript::Transcript;
use lab::{Process, Scene, Suite};

use crate::guests::{COMMAND, boot, ping};

/// How long the driver waits for its switch.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn trials(suite: Suite) -> Suite {
    suite.trial("guests_of_the_test_driver_of_nixos_ping_within_a_vlan", &[], vlan)
}

fn vlan(scene: &Scene) -> Result<()> {
    let directory = scene.path("vde1.ctl");
    let mut switch = command(built_program("vde_switch")?, None);
    switch.arg("--sock").arg(&directory).args(["--dirmode", "0700", "--hub"]);
    let (_switch, mut input, output) = Process::spawn_piped(scene, "switch", &mut switch)?;
    let output = Transcript::record(scene, "switch-console", output)?;
    input.write_all(b"showinfo\n")?;
    output.take_until("1000 Success\n", PATIENCE)?;
    ensure!(directory.join("ctl").exists(), "the switch has answered and has no control socket");

    let [mut a, mut b] = boot(scene, [Wire::Vde(directory.clone()), Wire::Vde(directory)])?;
    for (number, guest) in [(1, &mut a), (2, &mut b)] {
        guest.run("vconfig add eth0 1", COMMAND)?;
        guest.run(&format!("ip address add 192.168.1.{number}/24 dev eth0.1"), COMMAND)?;
        guest.run("ip link set eth0.1 up", COMMAND)?;
    }
    // With the tag, a full packet makes a frame of 1518 octets.
    ping(&mut a, "192.168.1.2")?;
    ping(&mut b, "192.168.1.1")?;
    ping(&mut a, "10.0.0.2")
}
