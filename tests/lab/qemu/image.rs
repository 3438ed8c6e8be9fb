//! The kernel and the first file system of a guest, made from Debian's packages and cached.
//! Nothing is installed: the packages are fetched and unpacked into the cache.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context as _, Result, ensure};

use crate::process::run;

/// Names another directory for the cache. Default: `vdelab` in `XDG_CACHE_HOME` or `~/.cache`.
const CACHE_VARIABLE: &str = "VDE_GUEST_CACHE";

/// Depends on the newest kernel for virtual machines, which is small and boots fast.
const KERNEL_METAPACKAGE: &str = "linux-image-cloud-amd64";

/// One program without libraries that is the guest's shell and all its tools.
const SHELL_PACKAGE: &str = "busybox-static";

/// What the kernel does not have built in; the modules that these need come along.
const MODULES: [&str; 3] = ["virtio_pci", "virtio_net", "8021q"];

const INIT: &str = include_str!("init.sh");

/// What QEMU boots.
#[derive(Clone, Debug)]
pub(super) struct Image {
    /// The compressed kernel.
    pub(super) kernel: PathBuf,
    /// The archive that is its root.
    pub(super) initrd: PathBuf,
}

impl Image {
    /// The image of the packages that apt offers now, from the cache or newly made.
    pub(super) fn current() -> Result<Self> {
        // Trials that run side by side make it once.
        static MAKING: Mutex<()> = Mutex::new(());
        let _making = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);

        let kernel_package = dependency(KERNEL_METAPACKAGE)?;
        let kernel_version = candidate(&kernel_package)?;
        let shell_version = candidate(SHELL_PACKAGE)?;
        let mut hasher = DefaultHasher::new();
        (INIT, MODULES, &kernel_version, &shell_version).hash(&mut hasher);
        let key = format!("{kernel_package}-{:016x}", hasher.finish());

        let cache = cache_directory()?;
        let directory = cache.join(&key);
        let image = Self { kernel: directory.join("vmlinuz"), initrd: directory.join("initrd") };
        if image.initrd.is_file() {
            return Ok(image);
        }
        fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
        let workshop = tempfile::Builder::new()
            .prefix("making-")
            .tempdir_in(&cache)
            .context("cannot make a directory for the guest's image")?;
        make(workshop.path(), &kernel_package, &kernel_version, &shell_version)
            .context("cannot make the guest's image")?;
        // In one step, so that an image in the cache is whole. Another process may have been
        // faster; its image is as good.
        if fs::rename(workshop.path().join("image"), &directory).is_err() {
            ensure!(image.initrd.is_file(), "cannot move the image to {}", directory.display());
        }
        remove_older(&cache, &key);
        Ok(image)
    }
}

fn make(workshop: &Path, kernel: &str, kernel_version: &str, shell_version: &str) -> Result<()> {
    let unpacked = workshop.join("packages");
    unpack(workshop, kernel, kernel_version, &unpacked)?;
    unpack(workshop, SHELL_PACKAGE, shell_version, &unpacked)?;

    let image = workshop.join("image");
    fs::create_dir(&image)?;
    let release = only_entry(&unpacked.join("lib/modules"))?;
    fs::copy(unpacked.join(format!("boot/vmlinuz-{release}")), image.join("vmlinuz"))
        .context("the kernel's package holds no kernel")?;

    let root = workshop.join("root");
    for directory in ["bin", "dev", "modules", "proc", "root", "sys", "tmp"] {
        fs::create_dir_all(root.join(directory))?;
    }
    let shell = ["bin/busybox", "usr/bin/busybox"].map(|path| unpacked.join(path));
    let shell = shell.iter().find(|path| path.is_file()).context("no busybox in its package")?;
    fs::copy(shell, root.join("bin/busybox"))?;
    fs::write(root.join("init"), INIT)?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
    copy_modules(&unpacked, &release, &root.join("modules"))?;
    archive(&root, &image.join("initrd"))
}

fn unpack(workshop: &Path, package: &str, version: &str, into: &Path) -> Result<()> {
    // As root, apt would fetch as a user that may not write here, and say so.
    run(Command::new("apt-get")
        .args(["--option", "APT::Sandbox::User=root", "download"])
        .arg(format!("{package}={version}"))
        .current_dir(workshop))
    .with_context(|| format!("cannot fetch {package}; `apt-get update` may help"))?;
    let archive = fs::read_dir(workshop)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get fetched no package for {package}"))?;
    run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(into))?;
    fs::remove_file(&archive).context("cannot remove an unpacked package")
}

/// Copies the modules and what they depend on, unpacked, with the order to load them in.
fn copy_modules(unpacked: &Path, release: &str, into: &Path) -> Result<()> {
    run(Command::new("depmod").arg("--basedir").arg(unpacked).arg(release))?;
    let mut order = Vec::new();
    let mut copied = BTreeSet::new();
    for module in MODULES {
        // One line for each module: insmod PATH.
        let lines = run(Command::new("modprobe").arg("--dirname").arg(unpacked).args([
            "--set-version",
            release,
            "--show-depends",
            module,
        ]))?;
        for path in lines.lines().filter_map(|line| line.trim().strip_prefix("insmod ")) {
            let path = Path::new(path);
            let file = path.file_name().context("a module without a name")?.to_string_lossy();
            let name = file.split_once(".ko").map_or(&*file, |(name, _)| name).to_owned();
            if copied.insert(name.clone()) {
                decompress(path, &into.join(format!("{name}.ko")))?;
                order.push(format!("{name}.ko\n"));
            }
        }
    }
    fs::write(into.join("order"), order.concat()).context("cannot write the modules' order")
}

/// Debian compresses modules from version 13 on.
fn decompress(from: &Path, to: &Path) -> Result<()> {
    let program = match from.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return fs::copy(from, to).map(drop).context("cannot copy a module"),
    };
    let output = fs::File::create(to).context("cannot write a module")?;
    let status = Command::new(program).args(["-d", "-c"]).arg(from).stdout(output).status();
    let status = status.with_context(|| format!("cannot start {program}"))?;
    ensure!(status.success(), "{program} cannot decompress {}", from.display());
    Ok(())
}

/// Packs a directory as the kernel reads it. Uncompressed: what the emulated processor need not
/// unpack is the faster boot.
fn archive(root: &Path, to: &Path) -> Result<()> {
    let output = fs::File::create(to).context("cannot write the archive")?;
    let status = Command::new("sh")
        .args(["-c", "find . | cpio --create --quiet --format newc --owner 0:0"])
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(output)
        .status()
        .context("cannot start cpio")?;
    ensure!(status.success(), "cpio failed ({status})");
    Ok(())
}

/// The package that a metapackage depends on, as apt knows it now.
fn dependency(metapackage: &str) -> Result<String> {
    let listing = run(Command::new("apt-cache").args(["depends", metapackage]))?;
    listing
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .map(str::to_owned)
        .with_context(|| {
            format!(
                "apt knows no package {metapackage}; `apt-get update` on Debian (amd64) may help"
            )
        })
}

/// The version that apt would fetch.
fn candidate(package: &str) -> Result<String> {
    let policy = run(Command::new("apt-cache").args(["policy", package]))?;
    policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))
        .filter(|version| *version != "(none)")
        .map(str::to_owned)
        .with_context(|| format!("apt offers no {package}; `apt-get update` may help"))
}

fn cache_directory() -> Result<PathBuf> {
    if let Some(directory) = env::var_os(CACHE_VARIABLE) {
        return Ok(PathBuf::from(directory));
    }
    let caches = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let caches = caches.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    let caches = caches.with_context(|| format!("neither HOME nor {CACHE_VARIABLE} is set"))?;
    Ok(caches.join("vdelab"))
}

/// Images of older packages or scripts are of no use to anybody. A failure is harmless.
fn remove_older(cache: &Path, key: &str) {
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let image = name.to_string_lossy().starts_with("linux-image-");
        if image && name != key {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn only_entry(directory: &Path) -> Result<String> {
    let mut entries = fs::read_dir(directory)
        .with_context(|| format!("cannot read {}", directory.display()))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let entry = entries.next().with_context(|| format!("{} is empty", directory.display()))?;
    ensure!(entries.next().is_none(), "{} holds more than one kernel", directory.display());
    Ok(entry)
}
