//! The recipes that people have used since 2008, command by command: a switch by hand, and a switch
//! with an interface, DHCP and masquerade from `interfaces(5)`. On a machine whose `/usr/bin/vde_switch`
//! is ours, since a drop-in is one only under the old name, with the old tools around it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::machine::Mount;
use lab::netns::veth;
use lab::process::{Signal, run};
use lab::traffic::Ping;
use lab::users::{self, User};
use lab::{Machine, Maker, Netns, Plug, Process, Scene, Suite, wait_until};

const SOON: Duration = Duration::from_secs(20);

/// The stanza of the recipe. Of the address, the range and the name server only the options' names
/// have come down to us; these values are ours, and so is `--interface`.
const INTERFACES: &str = "
auto vm
iface vm inet static
    address 10.66.0.1
    netmask 255.255.255.0
    pre-up /usr/bin/vde_switch --tap ${IFACE} --daemon --group vde2-net \\
        --sock /var/run/vde2_${IFACE}.ctl --mod 666 --mgmtmode 770 \\
        --mgmt /var/run/vde2_${IFACE}.mgmt --pidfile /var/run/vde2_${IFACE}.pid
    pre-up chmod o+t /var/run/vde2_${IFACE}.ctl
    pre-up sleep 1
    post-up sleep 1
    post-up dnsmasq --no-hosts -x /var/run/vde2_${IFACE} \\
        --port 0 --listen-address 10.66.0.1 --bind-interfaces --interface ${IFACE} \\
        --dhcp-range 10.66.0.100,10.66.0.150,12h --dhcp-option option:dns-server,198.51.100.1 \\
        -R --server 198.51.100.1
    pre-down kill -s TERM `cat /var/run/vde2_${IFACE}` || true
    post-down kill -s TERM `cat /var/run/vde2_${IFACE}.pid`
";

/// The stanza that Debian's package offers, done by its own script: on a tap that exists before the
/// switch and after it, and with a pipe to another switch.
const PACKAGED: &str = "
iface tap0 inet static
    address 10.66.2.1
    netmask 255.255.255.0
    vde2-switch -
    vde2-plug vde_plug /tmp/other.ctl
";

/// What `udhcpc` runs: the interface gets what was offered.
const LEASE_SCRIPT: &str = "#!/bin/sh
case $1 in bound|renew)
    ip address add $ip/$mask dev $interface
    ip route add default via $router
    echo \"got $ip mask $mask router $router dns $dns\" ;;
esac
";

/// What takes the place of `vde_tunctl` beside the package's stanza. Its script sends the switch a signal
/// and goes on to delete the tap at once, which the kernel refuses for as long as the switch has not let
/// go of it: with Debian's own switch, too, the tap is left where that end takes longer than the start of
/// `vde_tunctl`. Tried again, it tells whether the switch lets go of the tap at all.
const PATIENT_TUNCTL: &str = "#!/bin/sh
for attempt in $(seq 100); do
    /tmp/vde_tunctl \"$@\" && exit
    sleep 0.1
done
exit 1
";

pub(crate) fn trials(suite: Suite) -> Suite {
    // Debian's switch is what ours takes the place of.
    const BY_HAND: &[&str] = &["nsenter", "vde_switch", "vde_plug", "vde_plug2tap"];
    suite
        .trial("a_switch_by_hand_is_found_without_being_named", BY_HAND, by_hand)
        .trial("a_switch_by_hand_makes_an_interface", BY_HAND, by_hand_with_tap)
        .trial(
            "the_interfaces_recipe_brings_guests_to_the_world",
            &[
                "nsenter",
                "vde_switch",
                "vde_plug",
                "vde_plug2tap",
                "unixcmd",
                "ifup",
                "dnsmasq",
                "iptables",
                "udhcpc",
            ],
            recipe,
        )
        .trial(
            "the_stanza_of_debians_package_works",
            &[
                "nsenter",
                "vde_switch",
                "vde_plug2tap",
                "vde_tunctl",
                "ifup",
                "start-stop-daemon",
                "slirpvde",
            ],
            packaged,
        )
}

/// A machine on which our switch is `vde_switch`, and whose places for sockets are empty.
fn machine(scene: &Scene) -> Result<Machine> {
    machine_with(scene, &[])
}

/// The same, with some more in it.
fn machine_with(scene: &Scene, more: &[Mount]) -> Result<Machine> {
    scene.admit_everyone()?;
    let [passwd, group] = users::databases(scene)?;
    let interfaces = scene.path("interfaces");
    fs::write(&interfaces, format!("{INTERFACES}{PACKAGED}"))?;
    let mut mounts = vec![
        passwd,
        group,
        Mount::new(&Maker::Project.program()?, "/usr/bin/vde_switch"),
        Mount::empty(scene, "/run")?,
        Mount::empty(scene, "/var/lib/misc")?,
        Mount::new(&interfaces, "/etc/network/interfaces"),
    ];
    mounts.extend_from_slice(more);
    // Last, because what is shown in other places lies in this one.
    mounts.push(Mount::empty(scene, "/tmp")?);
    Machine::new(scene, "host", &mounts)
}

/// Starts a switch in the foreground as these words, with an open console.
fn switch(scene: &Scene, machine: &Machine, name: &str, words: &str) -> Result<Foreground> {
    let mut command = machine.command("sh");
    command.args(["-c", &format!("exec {words}")]);
    let (process, input, _output) = Process::spawn_piped(scene, name, &mut command)?;
    Ok(Foreground { process, _input: input })
}

/// A switch and the console that its end would end.
struct Foreground {
    process: Process,
    _input: std::process::ChildStdin,
}

fn exists(machine: &Machine, path: &str) -> Result<bool> {
    Ok(machine.shell(&format!("if [ -e {path} ]; then echo yes; fi"))?.contains("yes"))
}

fn by_hand(scene: &Scene) -> Result<()> {
    let machine = machine(scene)?;
    // As the recipe has it, then with nothing said at all: where clients look by themselves, as root
    // and as a user.
    for (name, words, user, directory) in [
        ("named", "vde_switch --sock /tmp/vde.ctl", None, "/tmp/vde.ctl"),
        ("roots", "vde_switch", None, "/run/vde.ctl"),
        ("users", "vde_switch -m 666", Some(User::Alice), "/tmp/vde.ctl"),
    ] {
        let words = match user {
            Some(user) => {
                format!("setpriv --reuid={0} --regid={0} --clear-groups -- {words}", user.id())
            }
            None => words.to_owned(),
        };
        let mut switch = switch(scene, &machine, name, &words)?;
        let control = format!("{directory}/ctl");
        wait_until(&format!("{control} of {words:?}"), SOON, || {
            switch.process.check_running()?;
            exists(&machine, &control)
        })?;
        let plug = |plug: &str, address: &str| {
            let vde_plug = machine.command("vde_plug");
            Plug::insert_by(scene, &format!("{name}-{plug}"), vde_plug, &[], Path::new(address))
        };
        // An empty name is the default switch.
        let mut unnamed = plug("unnamed", "")?;
        let mut by_name = plug("by-name", directory)?;
        lab::plug::meet(
            (&mut unnamed, lab::frames::STATION_A),
            (&mut by_name, lab::frames::STATION_B),
            SOON,
        )
        .with_context(|| words.clone())?;
        ensure!(switch.process.terminate(SOON)?.success(), "{words:?} did not end well");
        ensure!(!exists(&machine, directory)?, "{directory} is left");
    }
    Ok(())
}

fn by_hand_with_tap(scene: &Scene) -> Result<()> {
    let machine = machine(scene)?;
    let mut switch = switch(scene, &machine, "switch", "vde_switch -sock /tmp/vde.ctl -tap vde")?;
    let host = machine.netns();
    wait_until("the switch's interface", SOON, || {
        switch.process.check_running()?;
        host.has_interface("vde")
    })?;
    // It still has to be configured, says the recipe.
    host.add_address("vde", "10.66.1.1/24")?;
    host.set_up("vde")?;
    let guest = Guest::plug_in(scene, &machine, "/tmp/vde.ctl")?;
    guest.netns.add_address("eth0", "10.66.1.2/24")?;
    guest.netns.set_up("eth0")?;
    Ping::to("10.66.1.1").all_answered(&guest.netns)?;
    switch.process.signal(Signal::INT)?;
    ensure!(switch.process.wait_end(SOON)?.success(), "Ctrl-C does not end it well");
    ensure!(!host.has_interface("vde")?, "its interface is left");
    Ok(())
}

/// A guest of a machine: a namespace with a plug for its interface.
struct Guest {
    _plug: Process,
    netns: Netns,
}

impl Guest {
    fn plug_in(scene: &Scene, machine: &Machine, switch: &str) -> Result<Self> {
        let netns = Netns::new("guest")?;
        let mut plug = machine.guest_command(&netns, "vde_plug2tap");
        let mut plug = Process::spawn(scene, "guest", plug.args(["-s", switch, "eth0"]))?;
        wait_until("the guest's interface", SOON, || {
            plug.check_running()?;
            netns.has_interface("eth0")
        })?;
        Ok(Self { _plug: plug, netns })
    }

    /// Asks for an address, and returns what the client's script said.
    fn lease(&self, scene: &Scene) -> Result<String> {
        let script = scene.path("lease.sh");
        fs::write(&script, LEASE_SCRIPT)?;
        run(std::process::Command::new("chmod").arg("+x").arg(&script))?;
        self.netns.set_up("eth0")?;
        let mut udhcpc = self.netns.command("udhcpc");
        udhcpc.args(["-i", "eth0", "-f", "-q", "-n", "-t", "10", "-T", "1", "-s"]).arg(&script);
        run(&mut udhcpc)
    }
}

fn recipe(scene: &Scene) -> Result<()> {
    let machine = machine(scene)?;
    let host = machine.netns();
    let world = Netns::new("world")?;
    veth(host, "eth0", &world, "wire")?;
    host.add_address("eth0", "198.51.100.2/24")?;
    world.add_address("wire", "198.51.100.1/24")?;

    machine.shell("ifup vm")?;
    machine.shell("echo 1 > /proc/sys/net/ipv4/ip_forward")?;
    machine.shell("iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE")?;

    let modes = machine.shell(
        "stat -c '%a %G' /var/run/vde2_vm.ctl /var/run/vde2_vm.ctl/ctl /var/run/vde2_vm.mgmt",
    )?;
    ensure!(
        modes.lines().eq(["3777 vde2-net", "666 vde2-net", "770 root"]),
        "modes and groups are {modes}"
    );
    let shown =
        machine.shell("unixcmd -f /etc/vde2/vdecmd -s /var/run/vde2_vm.mgmt port/print || true")?;
    ensure!(shown.contains("module tuntap      : vm"), "the tap is not in {shown}");

    // A guest of an ordinary user reaches the switch, …
    let mut plug = Plug::insert_by(
        scene,
        "alice",
        machine.command_as(User::Alice, "vde_plug"),
        &[],
        Path::new("/var/run/vde2_vm.ctl"),
    )?;
    // … hears what the host broadcasts, and finds its way out.
    let guest = Guest::plug_in(scene, &machine, "/var/run/vde2_vm.ctl")?;
    let said = guest.lease(scene)?;
    ensure!(
        said.contains("got 10.66.0.1") && said.contains("router 10.66.0.1 dns 198.51.100.1"),
        "the DHCP client says {said}"
    );
    plug.receive().context("a plug of another user hears nothing")?;
    Ping::to("10.66.0.1").size(1472).all_answered(&guest.netns)?;
    // The world knows no way back to 10.66.0.0/24: it answers the host.
    Ping::to("198.51.100.1").size(1472).all_answered(&guest.netns)?;

    let switch = machine.shell("cat /var/run/vde2_vm.pid")?;
    machine.shell("ifdown vm")?;
    wait_until("the end of the switch", SOON, || {
        Ok(!Path::new(&format!("/proc/{}", switch.trim())).exists() && !host.has_interface("vm")?)
    })?;
    plug.wait_end().context("a plug outlives its switch")?;
    let left = machine.shell("ls -d /var/run/vde2_* || true")?;
    ensure!(left.trim().is_empty(), "these are left: {left}");

    // What came up once comes up again.
    machine.shell("ifup vm")?;
    let guest = Guest::plug_in(scene, &machine, "/var/run/vde2_vm.ctl")?;
    guest.netns.add_address("eth0", "10.66.0.2/24")?;
    guest.netns.set_up("eth0")?;
    Ping::to("10.66.0.1").all_answered(&guest.netns).context("after ifdown and ifup")?;
    machine.shell("ifdown vm").map(drop)
}

fn packaged(scene: &Scene) -> Result<()> {
    const TUNCTL: &str = "/usr/sbin/vde_tunctl";
    let patient = scene.path("patient-tunctl");
    fs::write(&patient, PATIENT_TUNCTL)?;
    fs::set_permissions(&patient, fs::Permissions::from_mode(0o755))?;
    let machine = machine_with(scene, &[Mount::new(&patient, TUNCTL)])?;
    fs::copy(TUNCTL, scene.path("mount-tmp/vde_tunctl"))?;
    let host = machine.netns();
    let _other =
        switch(scene, &machine, "other", "vde_switch -m 660 -g vde2-net -s /tmp/other.ctl")?;
    wait_until("the other switch", SOON, || exists(&machine, "/tmp/other.ctl/ctl"))?;
    machine.shell("ifup tap0")?;
    ensure!(host.has_interface("tap0")?, "there is no interface");
    let modes =
        machine.shell("stat -c '%a %G' /var/run/vde2/tap0.ctl/ctl /var/run/vde2/tap0.mgmt")?;
    // The management socket's group is the directory's, which is set-group-ID.
    ensure!(modes.lines().eq(["660 vde2-net"; 2]), "modes and groups are {modes}");

    // By the pipe: the guest is on the other switch.
    let guest = Guest::plug_in(scene, &machine, "/tmp/other.ctl")?;
    guest.netns.add_address("eth0", "10.66.2.2/24")?;
    guest.netns.set_up("eth0")?;
    Ping::to("10.66.2.1").size(1472).all_answered(&guest.netns)?;

    let switch = machine.shell("cat /var/run/vde2/tap0.pid")?;
    machine.shell("ifdown tap0")?;
    wait_until("the end of the switch", SOON, || {
        Ok(!Path::new(&format!("/proc/{}", switch.trim())).exists())
    })?;
    ensure!(!host.has_interface("tap0")?, "the interface is left");
    let left = machine.shell("ls /var/run/vde2")?;
    ensure!(left.trim().is_empty(), "these are left: {left}");
    Ok(())
}
