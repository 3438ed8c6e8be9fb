//! Several users on one machine: what modes, groups and access lists promise, with our switch and
//! with Debian's, and what one user might try against another.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::client::{self, address_of, path_octets, request};
use lab::frames::{BROADCAST, STATION_A, STATION_B, frame};
use lab::machine::Mount;
use lab::plug::meet;
use lab::users::{self, LAB, User};
use lab::{Client, Machine, Maker, Plug, Scene, Suite, Switch};

const MEETING: Duration = Duration::from_secs(20);

pub(crate) fn trials(suite: Suite) -> Suite {
    const NEEDS: &[&str] = &["vde_plug", "vde_switch", "nsenter"];
    suite
        .trial("a_switch_without_modes_is_closed_to_other_users", NEEDS, default_modes)
        .trial("a_group_may_plug_in_and_nobody_else", NEEDS, group)
        .trial("a_switch_that_is_open_joins_users", NEEDS, open_switch)
        .trial("a_users_own_switch_joins_users", NEEDS, own_switch)
        .trial("the_management_socket_is_its_groups", NEEDS, management)
        .trial("access_lists_of_ports_hold", NEEDS, access_lists)
        .trial("a_port_in_use_is_its_users", NEEDS, foreign_port)
        .trial("a_plug_is_out_of_reach_of_other_users", NEEDS, hijack)
}

/// A machine with Alice and Bob, and our switch's program where all of them may run it.
struct Place<'a> {
    scene: &'a Scene,
    machine: Machine,
    ours: PathBuf,
}

impl<'a> Place<'a> {
    fn new(scene: &'a Scene) -> Result<Self> {
        scene.admit_everyone()?;
        let ours = scene.path("bin-vde_switch");
        fs::write(&ours, "")?;
        let [users, groups] = users::databases(scene)?;
        let program = Mount::new(&Maker::Project.program()?, &ours.to_string_lossy());
        let machine = Machine::new(scene, "users", &[users, groups, program])?;
        Ok(Self { scene, machine, ours })
    }

    fn program(&self, maker: Maker) -> Result<String> {
        Ok(match maker {
            Maker::Project => self.ours.to_string_lossy().into_owned(),
            Maker::Debian => maker.program()?.to_string_lossy().into_owned(),
        })
    }

    /// A switch of root.
    fn switch(&self, name: &str, maker: Maker, flags: &[&str]) -> Result<Switch> {
        let command = self.machine.command(&self.program(maker)?);
        Switch::start_by(self.scene, name, command, flags)
    }

    fn vde_plug(&self, user: Option<User>) -> Command {
        match user {
            Some(user) => self.machine.command_as(user, "vde_plug"),
            None => self.machine.command("vde_plug"),
        }
    }

    /// A plug of a user, or of root.
    fn plug(&self, user: Option<User>, name: &str, switch: &Path) -> Result<Plug> {
        Plug::insert_by(self.scene, name, self.vde_plug(user), &[], switch)
    }

    /// The same at a port.
    fn plug_at(&self, user: Option<User>, name: &str, switch: &Switch, port: u32) -> Result<Plug> {
        let address = format!("{}[{port}]", switch.socket().display());
        self.plug(user, name, Path::new(&address))
    }

    /// A user, or root, must not get a plug.
    fn refused(&self, user: User, name: &str, switch: &Path) -> Result<()> {
        let mut plug = self.plug(Some(user), name, switch)?;
        plug.wait_refusal().with_context(|| format!("{} got a plug ({name})", user.name()))
    }
}

const MAKERS: [(&str, Maker); 2] = [("ours", Maker::Project), ("theirs", Maker::Debian)];

fn default_modes(scene: &Scene) -> Result<()> {
    let place = Place::new(scene)?;
    for (name, maker) in MAKERS {
        let switch = place.switch(name, maker, &[])?;
        place.refused(User::Alice, &format!("{name}-alice"), switch.socket())?;
        let mut one = place.plug(None, &format!("{name}-one"), switch.socket())?;
        let mut two = place.plug(None, &format!("{name}-two"), switch.socket())?;
        meet((&mut one, STATION_A), (&mut two, STATION_B), MEETING)?;
    }
    Ok(())
}

fn group(scene: &Scene) -> Result<()> {
    let place = Place::new(scene)?;
    for (name, maker) in MAKERS {
        let switch = place.switch(name, maker, &["-m", "660", "-g", LAB])?;
        place.refused(User::Bob, &format!("{name}-bob"), switch.socket())?;
        let mut alice = place.plug(Some(User::Alice), &format!("{name}-alice"), switch.socket())?;
        let mut root = place.plug(None, &format!("{name}-root"), switch.socket())?;
        meet((&mut alice, STATION_A), (&mut root, STATION_B), MEETING).context(name)?;
    }
    Ok(())
}

fn open_switch(scene: &Scene) -> Result<()> {
    let place = Place::new(scene)?;
    for (name, maker) in MAKERS {
        let switch = place.switch(name, maker, &["-m", "666"])?;
        let mut alice = place.plug(Some(User::Alice), &format!("{name}-alice"), switch.socket())?;
        let mut bob = place.plug(Some(User::Bob), &format!("{name}-bob"), switch.socket())?;
        meet((&mut alice, STATION_A), (&mut bob, STATION_B), MEETING).context(name)?;
        let shown = switch.ask("port/print")?;
        for user in [User::Alice, User::Bob] {
            let line = format!("Current User: {} ", user.name());
            ensure!(shown.contains(&line), "{name}: {} has no port in {shown}", user.name());
        }
    }
    Ok(())
}

/// A switch that is not root's reaches a client's socket only if the client lets it, and a client
/// the switch's only if the switch does.
fn own_switch(scene: &Scene) -> Result<()> {
    let place = Place::new(scene)?;
    let home = scene.path("home");
    fs::create_dir(&home)?;
    std::os::unix::fs::chown(&home, Some(User::Alice.id()), Some(User::Alice.id()))?;
    for (name, maker) in MAKERS {
        let command = place.machine.command_as(User::Alice, &place.program(maker)?);
        let switch = Switch::start_by(scene, &format!("home/{name}"), command, &["-m", "666"])?;
        let mut bob = place.plug(Some(User::Bob), &format!("{name}-bob"), switch.socket())?;
        let mut alice = place.plug(Some(User::Alice), &format!("{name}-alice"), switch.socket())?;
        meet((&mut alice, STATION_A), (&mut bob, STATION_B), MEETING).context(name)?;
        let mut root = place.plug(None, &format!("{name}-root"), switch.socket())?;
        meet((&mut root, STATION_A), (&mut bob, STATION_B), MEETING).context(name)?;
    }
    Ok(())
}

fn management(scene: &Scene) -> Result<()> {
    let place = Place::new(scene)?;
    for (name, maker) in MAKERS {
        for (mode, flags, admitted) in [
            ("closed", &["-m", "666"][..], [false, false]),
            ("group", &["--mgmtmode", "660", "--mgmtgroup", LAB], [true, false]),
            ("open", &["--mgmtmode", "666"], [true, true]),
        ] {
            let switch = place.switch(&format!("{name}-{mode}"), maker, flags)?;
            for (user, admitted) in [User::Alice, User::Bob].into_iter().zip(admitted) {
                let connects = user.run(|| Ok(UnixStream::connect(switch.management()).is_ok()))?;
                ensure!(
                    connects == admitted,
                    "{name}, {mode}: {} connects: {connects}",
                    user.name()
                );
            }
        }
    }
    Ok(())
}

fn access_lists(scene: &Scene) -> Result<()> {
    let place = Place::new(scene)?;
    for (name, maker) in MAKERS {
        let switch = place.switch(name, maker, &["-m", "666"])?;
        let label = |what: &str| format!("{name}-{what}");
        switch.order(&["port/create 3", "port/setuser 3 alice"])?;
        switch.order(&["port/create 4", &format!("port/setgroup 4 {LAB}")])?;
        for port in [3, 4] {
            let mut alice = place.plug_at(Some(User::Alice), &label("alice"), &switch, port)?;
            let mut bob = place.plug(Some(User::Bob), &label("bob"), switch.socket())?;
            meet((&mut alice, STATION_A), (&mut bob, STATION_B), MEETING)
                .with_context(|| format!("{name}: Alice at port {port}"))?;
            drop((alice, bob));
            switch.wait_plugs(0)?;
            if maker == Maker::Debian {
                // It neither answers nor closes, and who is refused waits for ever.
                continue;
            }
            let address = format!("{}[{port}]", switch.socket().display());
            place.refused(User::Bob, &label(&format!("bob-at-{port}")), Path::new(&address))?;
            let _root = place.plug_at(None, &label("root"), &switch, port)?;
            switch.wait_plugs(1).with_context(|| format!("root at port {port}"))?;
        }
        // A list that is taken back lets everybody in again.
        switch.wait_plugs(0)?;
        switch.order(&["port/setuser 3 NONE"])?;
        let _bob = place.plug_at(Some(User::Bob), &label("bob-later"), &switch, 3)?;
        switch.wait_plugs(1).context("Bob at a port that is open again")?;
    }
    Ok(())
}

/// As long as it has plugs a port is theirs who plugged in first; not even root joins them.
fn foreign_port(scene: &Scene) -> Result<()> {
    let place = Place::new(scene)?;
    let switch = place.switch("switch", Maker::Project, &["-m", "666"])?;
    let mut one = place.plug_at(Some(User::Alice), "one", &switch, 5)?;
    switch.wait_plugs(1)?;
    let address = format!("{}[5]", switch.socket().display());
    place.refused(User::Bob, "bob", Path::new(&address))?;
    let mut two = place.plug_at(Some(User::Alice), "two", &switch, 5)?;
    switch.wait_plugs(2)?;
    let mut other = place.plug(Some(User::Bob), "other", switch.socket())?;
    meet((&mut one, STATION_A), (&mut other, STATION_B), MEETING)?;
    let call = frame(BROADCAST, STATION_B, 60, 77);
    drop(two.drain());
    other.send(&call)?;
    while two.receive()? != call {}
    Ok(())
}

fn hijack(scene: &Scene) -> Result<()> {
    let place = Place::new(scene)?;
    let switch = place.switch("switch", Maker::Project, &["-m", "666"])?;
    let directory = scene.path("sockets");
    fs::create_dir(&directory)?;
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777))?;

    // Alice's socket takes frames from everybody: nothing but the switch keeps Bob from her.
    let hers = directory.join("alice");
    let alice = User::Alice.run(|| {
        let client = Client::plug_in_at(switch.socket(), &hers, 0)?;
        fs::set_permissions(&hers, fs::Permissions::from_mode(0o666))?;
        Ok(client)
    })?;
    let plug = fs::metadata(alice.switch_socket())?;
    ensure!(plug.uid() == User::Alice.id(), "Alice's plug belongs to {}", plug.uid());
    ensure!(plug.mode() & 0o077 == 0, "Alice's plug is open to others: {:o}", plug.mode());

    // Bob wants frames sent to her socket, in her name.
    let theft = User::Bob.run(|| {
        let octets = request(&[client::MAGIC, 3, 0], &address_of(path_octets(&hers)), b"alice");
        client::dialogue(switch.socket(), &octets)
    })?;
    ensure!(theft.is_empty(), "Bob plugged in with Alice's socket: {theft:02x?}");

    // And by a link, which is his own.
    let link = directory.join("link");
    let by_link = User::Bob.run(|| {
        std::os::unix::fs::symlink(&hers, &link)?;
        let octets = request(&[client::MAGIC, 3, 0], &address_of(path_octets(&link)), b"alice");
        client::dialogue(switch.socket(), &octets)
    })?;
    ensure!(by_link.is_empty(), "Bob plugged in with a link to Alice's socket: {by_link:02x?}");

    // He wants to speak through her plug, which is open to him for the sake of the trial.
    fs::set_permissions(alice.switch_socket(), fs::Permissions::from_mode(0o777))?;
    let forged = frame(BROADCAST, STATION_A, 60, 66);
    let sent = User::Bob.run(|| {
        let socket = UnixDatagram::unbound()?;
        Ok(socket.send_to(&forged, alice.switch_socket()).is_ok())
    })?;
    ensure!(!sent, "Alice's plug took a frame from Bob");
    ensure!(switch.plugs()? == 1, "Bob has a plug");
    alice.send(&frame(BROADCAST, STATION_A, 60, 1)).context("Alice's plug suffered")
}
