//! Two hosts, each with a node and a tap, and what lies between them.

use anyhow::Result;
use lab::netns::veth;
use lab::node::{CABLE_UP, Setup, trust_each_other};
use lab::traffic::{Iperf, Ping};
use lab::{Netns, Node, Scene};

/// The tap's name, the same on every host.
pub(crate) const TAP: &str = "tap0";

/// A host's interface on the outer path.
pub(crate) const WIRE: &str = "wire";

/// Addresses on the taps: what guests see.
pub(crate) const INNER: [&str; 2] = ["10.99.0.1", "10.99.0.2"];

/// What kind of tap a node has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tap {
    /// With virtio-net headers and super-frames.
    Offloading,
    /// With finished frames only.
    Plain,
}

/// One host.
#[derive(Debug)]
pub(crate) struct Host {
    // Before the namespace: a node ends before its devices are taken from it.
    pub(crate) node: Node,
    pub(crate) netns: Netns,
    inner: &'static str,
    mtu: u16,
}

impl Host {
    fn start(scene: &Scene, name: &str, netns: Netns, number: usize, tap: Tap) -> Result<Self> {
        let setup = Setup::inside(name, &netns).tap(TAP);
        let setup = match tap {
            Tap::Offloading => setup,
            Tap::Plain => setup.argument("--no-offload"),
        };
        let node = setup.start(scene)?;
        let host = Self { node, netns, inner: INNER[number], mtu: 1500 };
        host.configure_tap()?;
        Ok(host)
    }

    /// Gives the tap its address, MTU and carrier, as an administrator does; again after each
    /// start of the node, since a tap goes with the node that made it. Its MAC address is the same
    /// at each start, or neighbours would believe the old one for half a minute.
    pub(crate) fn configure_tap(&self) -> Result<()> {
        self.netns.flush_addresses(TAP)?;
        self.netns.set_mtu(TAP, self.mtu)?;
        self.netns.add_address(TAP, &format!("{}/24", self.inner))?;
        self.netns.set_up(TAP)
    }

    /// Gives the tap another MTU.
    pub(crate) fn set_tap_mtu(&mut self, mtu: u16) -> Result<()> {
        self.mtu = mtu;
        self.netns.set_mtu(TAP, mtu)
    }

    /// Starts the node again after its end, and configures its new tap.
    pub(crate) fn start_again(&mut self, scene: &Scene) -> Result<()> {
        self.node.start(scene)?;
        self.configure_tap()
    }
}

/// Two hosts whose nodes run; there is no cable yet.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) a: Host,
    pub(crate) b: Host,
    /// Where `b` is reached from `a` on the outer path.
    pub(crate) address_of_b: &'static str,
    /// What is between them and must live as long.
    _router: Option<Netns>,
}

impl Pair {
    /// Two hosts on one wire.
    pub(crate) fn on_a_wire(scene: &Scene) -> Result<Self> {
        Self::on_a_wire_with(scene, ["10.77.0.1", "10.77.0.2"], 24, Tap::Offloading)
    }

    /// Two hosts on one wire; the second one's tap takes finished frames only.
    pub(crate) fn with_a_plain_tap(scene: &Scene) -> Result<Self> {
        Self::on_a_wire_with(scene, ["10.77.0.1", "10.77.0.2"], 24, Tap::Plain)
    }

    /// Two hosts on one wire without any IPv4 outside.
    pub(crate) fn on_an_ipv6_wire(scene: &Scene) -> Result<Self> {
        Self::on_a_wire_with(scene, ["fd77::1", "fd77::2"], 64, Tap::Offloading)
    }

    fn on_a_wire_with(
        scene: &Scene,
        outer: [&'static str; 2],
        prefix: u8,
        second: Tap,
    ) -> Result<Self> {
        let (a, b) = (Netns::new("a")?, Netns::new("b")?);
        veth(&a, WIRE, &b, WIRE)?;
        a.add_address(WIRE, &format!("{}/{prefix}", outer[0]))?;
        b.add_address(WIRE, &format!("{}/{prefix}", outer[1]))?;
        Self::start(scene, [a, b], outer[1], None, second)
    }

    /// Two hosts with a router between them. Only the router knows that its second link has a
    /// small MTU, and it says so to nobody: the path is a black hole for longer packets.
    pub(crate) fn behind_a_silent_router(scene: &Scene, mtu: u16) -> Result<Self> {
        let (a, b, router) = (Netns::new("a")?, Netns::new("b")?, Netns::new("router")?);
        veth(&a, WIRE, &router, "to-a")?;
        veth(&b, WIRE, &router, "to-b")?;
        router.set_mtu("to-b", mtu)?;
        b.set_mtu(WIRE, mtu)?;
        for (netns, interface, address) in [
            (&a, WIRE, "10.77.1.2/24"),
            (&router, "to-a", "10.77.1.1/24"),
            (&b, WIRE, "10.77.2.2/24"),
            (&router, "to-b", "10.77.2.1/24"),
        ] {
            netns.add_address(interface, address)?;
        }
        a.set_default_route("10.77.1.1")?;
        b.set_default_route("10.77.2.1")?;
        router.enable_forwarding()?;
        router.drop_icmp()?;
        Self::start(scene, [a, b], "10.77.2.2", Some(router), Tap::Offloading)
    }

    fn start(
        scene: &Scene,
        [a, b]: [Netns; 2],
        address_of_b: &'static str,
        router: Option<Netns>,
        second: Tap,
    ) -> Result<Self> {
        let a = Host::start(scene, "a", a, 0, Tap::Offloading)?;
        let b = Host::start(scene, "b", b, 1, second)?;
        Ok(Self { a, b, address_of_b, _router: router })
    }

    /// Makes both nodes trust each other, plugs a cable and waits until both ends call it up.
    pub(crate) fn plug_cable(&self) -> Result<()> {
        trust_each_other(&self.a.node, &self.b.node)?;
        self.a.node.connect(self.address_of_b)?;
        self.wait_cable_up()
    }

    /// Waits until both ends call the cable up.
    pub(crate) fn wait_cable_up(&self) -> Result<()> {
        self.a.node.wait_cable_up(CABLE_UP)?;
        self.b.node.wait_cable_up(CABLE_UP)
    }

    /// Every one of some packets of `size` octets of payload is answered, in both directions.
    pub(crate) fn ping_both_ways(&self, size: u32) -> Result<()> {
        Ping::to(INNER[1]).size(size).all_answered(&self.a.netns)?;
        Ping::to(INNER[0]).size(size).all_answered(&self.b.netns)
    }

    /// Runs a transfer between the taps. `make` starts from one stream to `b`.
    pub(crate) fn transfer(
        &self,
        scene: &Scene,
        make: impl FnOnce(Iperf<'static>) -> Iperf<'static>,
    ) -> Result<f64> {
        make(Iperf::to(INNER[1])).run(scene, &self.b.netns, &self.a.netns)
    }
}
