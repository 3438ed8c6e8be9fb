//! The loop: frames from the plug into the TCP/IP stack, the command's step, frames back out,
//! then wait for whatever comes first. The only place that reads the clock.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use anyhow::Context;
use ether::MacAddr;
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, Ipv4Cidr};
use tokio::signal::unix::{Signal, SignalKind, signal};
use vdeplug::Plug;

use crate::wire::Wire;

/// A host: its plug, its TCP/IP stack and its sockets.
pub(crate) struct Station {
    pub(crate) interface: Interface,
    pub(crate) sockets: SocketSet<'static>,
    wire: Wire,
}

/// What a command does with the sockets, driven by [`Station::run`].
pub(crate) trait Command {
    /// Looks at the sockets and acts. Called after every batch of frames, and at the latest when
    /// the last answer's time has come.
    fn step(&mut self, station: &mut Station, now: Instant) -> anyhow::Result<Step>;
}

/// What a command wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Frames, or this moment.
    Wait(Option<Instant>),
    /// The end.
    Done,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The command was through.
    Done,
    /// Ctrl-C or SIGTERM.
    Interrupted,
}

#[expect(clippy::disallowed_methods, reason = "the driver reads the clock for everyone else")]
fn now() -> Instant {
    Instant::now()
}

impl Station {
    /// A host with one address, not yet running.
    pub(crate) fn new(plug: Plug, mac: MacAddr, ip: Ipv4Cidr) -> Self {
        let mut wire = Wire::new(plug);
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac.0)));
        config.random_seed = RandomState::new().hash_one(mac.0);
        let mut interface = Interface::new(config, &mut wire, smoltcp::time::Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::Ipv4(ip)).expect("a new interface has room for an address");
        });
        Self { interface, sockets: SocketSet::new(Vec::new()), wire }
    }

    /// Runs a command to its end, or until Ctrl-C or SIGTERM.
    pub(crate) async fn run(&mut self, command: &mut impl Command) -> anyhow::Result<Ended> {
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
        let start = now();
        loop {
            let moment = now();
            let stack_time = stack_time(start, moment);
            self.wire.refill()?;
            self.interface.poll(stack_time, &mut self.wire, &mut self.sockets);
            let step = command.step(self, moment)?;
            // The step may have queued something, and its last words must still go out.
            self.interface.poll(stack_time, &mut self.wire, &mut self.sockets);
            self.wire.flush()?;
            let deadline = match step {
                Step::Done => return Ok(Ended::Done),
                Step::Wait(deadline) => deadline.map(|at| at.saturating_duration_since(moment)),
            };
            let stack_delay = self.interface.poll_delay(stack_time, &self.sockets);
            // A stack that could not send all it wanted says "at once" until the queue has room.
            let stack_delay = stack_delay.filter(|_| !self.wire.is_full()).map(Duration::from);
            let delay = [deadline, stack_delay].into_iter().flatten().min();
            if let Some(ended) = self.wait(delay, &mut interrupt, &mut terminate).await? {
                return Ok(ended);
            }
        }
    }

    async fn wait(
        &self,
        delay: Option<Duration>,
        interrupt: &mut Signal,
        terminate: &mut Signal,
    ) -> anyhow::Result<Option<Ended>> {
        let sleep = async {
            match delay {
                // Not even a timer's tick: one round of the others, then on.
                Some(Duration::ZERO) => tokio::task::yield_now().await,
                Some(delay) => tokio::time::sleep(delay).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Endings first: frames and timers may be ready for ever.
            biased;
            _ = interrupt.recv() => Ok(Some(Ended::Interrupted)),
            _ = terminate.recv() => Ok(Some(Ended::Interrupted)),
            _ = self.wire.hung_up() => anyhow::bail!("the switch has closed the plug"),
            ready = self.wire.readable() => Ok(ready.map(|()| None)?),
            ready = self.wire.writable(), if !self.wire.is_flushed() => Ok(ready.map(|()| None)?),
            () = sleep => Ok(None),
        }
    }
}

fn stack_time(start: Instant, moment: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::ZERO + smoltcp::time::Duration::from(moment - start)
}
