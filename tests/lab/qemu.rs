//! Guests: a Debian kernel and busybox under QEMU's software emulation, commanded over the
//! serial console. What they boot is made in `image`; their first process is `init.sh`.

mod image;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ChildStdin;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use self::image::Image;
use crate::process::{Process, Signal, command};
use crate::suite::Scene;
use crate::transcript::Transcript;

/// Programs that a guest needs on the host.
///
/// All but the first are for making what it boots; their Debian packages are apt, dpkg, kmod and
/// cpio.
pub const PROGRAMS: &[&str] =
    &["qemu-system-x86_64", "apt-get", "apt-cache", "dpkg-deb", "depmod", "modprobe", "cpio"];

/// How long a guest may take from QEMU's start to its shell. Four to eight seconds are usual;
/// the rest is for a machine that has other work.
const BOOT: Duration = Duration::from_secs(90);

/// What the guest says when it takes commands.
const READY: &str = "guest ready\n";

/// Where a guest's only network interface ends.
#[derive(Clone, Debug)]
pub enum Wire {
    /// In a VDE switch with this socket directory (`-netdev vde`).
    Vde(PathBuf),
    /// In a listening stream socket at this path (`-netdev stream`).
    Stream(PathBuf),
    /// In a stream socket at this path on which QEMU itself listens, for one client after the other.
    Awaited(PathBuf),
    /// In a socket for datagrams (`-netdev dgram`).
    Dgram {
        /// The guest's, which QEMU binds.
        own: PathBuf,
        /// The switch's.
        switch: PathBuf,
    },
}

/// A guest that is to be started.
#[derive(Clone, Debug)]
pub struct GuestSetup {
    name: String,
    wire: Wire,
    mac: String,
    address: Option<String>,
    mtu: Option<u16>,
}

impl GuestSetup {
    /// A guest with one interface. `number`, 0 to 255, makes its MAC address unique.
    #[must_use]
    pub fn new(name: &str, number: u8, wire: Wire) -> Self {
        // QEMU's own prefix, locally administered.
        let mac = format!("52:54:00:12:34:{number:02x}");
        Self { name: name.to_owned(), wire, mac, address: None, mtu: None }
    }

    /// Gives it an address such as `10.0.0.1/24`.
    #[must_use]
    pub fn address(self, address: &str) -> Self {
        Self { address: Some(address.to_owned()), ..self }
    }

    /// Gives its interface another MTU, up to 9216 octets.
    #[must_use]
    pub fn mtu(self, mtu: u16) -> Self {
        Self { mtu: Some(mtu), ..self }
    }

    /// Starts QEMU without waiting: two guests boot side by side. See [`Guest::wait_ready`].
    ///
    /// # Errors
    ///
    /// When the image cannot be made or QEMU cannot be started.
    pub fn start(self, scene: &Scene) -> Result<Guest> {
        let image = Image::current()?;
        let (process, input, output) =
            Process::spawn_piped(scene, &format!("{}-qemu", self.name), &mut self.qemu(&image))?;
        let console = Transcript::record(scene, &format!("{}-console", self.name), output)?;
        Ok(Guest { name: self.name, process, input, console, commands: 0 })
    }

    /// Starts QEMU with nothing to boot but the network: the card's own ROM, iPXE, looks for an
    /// address and for a file. What it says is on the console.
    ///
    /// # Errors
    ///
    /// When QEMU cannot be started.
    pub fn start_from_network(self, scene: &Scene) -> Result<Guest> {
        let mut command = command("qemu-system-x86_64", None);
        command
            .args(["-accel", "tcg", "-machine", "pc,graphics=off", "-m", "64", "-nodefaults"])
            .args(["-no-reboot", "-display", "none", "-serial", "stdio", "-boot", "order=n"])
            .args(["-netdev", &self.netdev()])
            .args(["-device", &format!("virtio-net-pci,netdev=wire,mac={}", self.mac)]);
        let (process, input, output) =
            Process::spawn_piped(scene, &format!("{}-qemu", self.name), &mut command)?;
        let console = Transcript::record(scene, &format!("{}-console", self.name), output)?;
        Ok(Guest { name: self.name, process, input, console, commands: 0 })
    }

    fn qemu(&self, image: &Image) -> std::process::Command {
        let mut append = "console=ttyS0 quiet loglevel=1 panic=-1 mitigations=off".to_owned();
        if let Some(mtu) = self.mtu {
            append.push_str(&format!(" vde.mtu={mtu}"));
        }
        if let Some(address) = &self.address {
            append.push_str(&format!(" vde.ip={address}"));
        }
        // The boot ROM of the card would only cost time. The MTU a device offers bounds what the
        // guest may set.
        let mut device = format!("virtio-net-pci,netdev=wire,mac={},romfile=", self.mac);
        if let Some(mtu) = self.mtu {
            device.push_str(&format!(",host_mtu={mtu}"));
        }
        let mut command = command("qemu-system-x86_64", None);
        command
            .args(["-accel", "tcg", "-machine", "pc", "-m", "128", "-nodefaults", "-no-reboot"])
            .args(["-display", "none", "-serial", "stdio"])
            .arg("-kernel")
            .arg(&image.kernel)
            .arg("-initrd")
            .arg(&image.initrd)
            .args(["-append", &append, "-netdev", &self.netdev(), "-device", &device]);
        command
    }

    fn netdev(&self) -> String {
        match &self.wire {
            Wire::Vde(switch) => format!("vde,id=wire,sock={}", switch.display()),
            Wire::Stream(path) => {
                format!("stream,id=wire,server=off,addr.type=unix,addr.path={}", path.display())
            }
            Wire::Awaited(path) => {
                format!("stream,id=wire,server=on,addr.type=unix,addr.path={}", path.display())
            }
            Wire::Dgram { own, switch } => format!(
                "dgram,id=wire,local.type=unix,local.path={},remote.type=unix,remote.path={}",
                own.display(),
                switch.display()
            ),
        }
    }
}

/// A running guest; QEMU is killed when it is dropped.
#[derive(Debug)]
pub struct Guest {
    name: String,
    process: Process,
    input: ChildStdin,
    console: Transcript,
    commands: u32,
}

impl Guest {
    /// A guest on a VDE switch, booted.
    ///
    /// # Errors
    ///
    /// When it does not boot.
    pub fn boot(
        scene: &Scene,
        name: &str,
        number: u8,
        switch: &Path,
        address: &str,
    ) -> Result<Self> {
        let wire = Wire::Vde(switch.to_path_buf());
        let mut guest = GuestSetup::new(name, number, wire).address(address).start(scene)?;
        guest.wait_ready()?;
        Ok(guest)
    }

    /// Waits until the guest takes commands.
    ///
    /// # Errors
    ///
    /// When it does not within a minute and a half.
    pub fn wait_ready(&mut self) -> Result<()> {
        self.expect(READY, BOOT).map(drop)
    }

    /// Waits until the console has shown `text`, and takes everything up to its end.
    ///
    /// # Errors
    ///
    /// When it does not within `within`, or the guest ends.
    pub fn expect(&mut self, text: &str, within: Duration) -> Result<String> {
        self.console.take_until(text, within).with_context(|| format!("guest {}", self.name))
    }

    /// Runs a shell command in the guest and returns what it printed on both its outputs.
    ///
    /// # Errors
    ///
    /// When it fails, or takes longer than `within`.
    pub fn run(&mut self, shell_command: &str, within: Duration) -> Result<String> {
        self.commands += 1;
        // What the guest prints differs from what it is told, so an echo could not end the wait.
        let marker = format!("end-of-command-{}", self.commands);
        let line = format!("{{ {shell_command}; }} </dev/null 2>&1; echo \"\" \"{marker}\" $?\n");
        ensure!(!shell_command.contains('\n'), "a command is one line");
        self.input.write_all(line.as_bytes()).context("the guest's console is closed")?;
        let what = || format!("{shell_command:?} in guest {}", self.name);
        let mut printed =
            self.console.take_until(&format!(" {marker} "), within).with_context(what)?;
        let status = self.console.take_until("\n", within).with_context(what)?;
        printed.truncate(printed.len() - marker.len() - 2);
        ensure!(status.trim() == "0", "{} failed with {}: {printed}", what(), status.trim());
        Ok(printed)
    }

    /// Sends a signal to QEMU: STOP freezes the guest.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }
}
