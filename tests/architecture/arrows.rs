//! The arrows between packages: programs → I/O libraries → pure cores → `ether`. The table is
//! compared with what cargo knows; a package that is not in the table is an error, so that each
//! new one is thought about.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

use crate::{CORES, root};

/// What a package may use.
struct Arrow {
    package: &'static str,
    /// Packages of this workspace.
    ours: &'static [&'static str],
    /// Foreign packages that are reserved and that this one may name.
    reserved: &'static [&'static str],
}

/// One row a package; the tests and examples may use everything.
const ARROWS: &[Arrow] = &[
    // The vocabulary.
    Arrow { package: "ether", ours: &[], reserved: &[] },
    // Pure cores. They know the vocabulary and not each other.
    Arrow { package: "fabric", ours: &["ether"], reserved: &[] },
    Arrow { package: "gateway", ours: &["ether"], reserved: &[] },
    Arrow { package: "mesh", ours: &["ether"], reserved: &[] },
    Arrow { package: "emulator", ours: &["ether"], reserved: &[] },
    Arrow { package: "console", ours: &["ether"], reserved: &[] },
    // Joins two of them, and is as pure.
    Arrow { package: "segment", ours: &["ether", "fabric", "mesh"], reserved: &[] },
    // I/O libraries.
    Arrow { package: "vdeplug", ours: &[], reserved: IO },
    Arrow { package: "control", ours: &[], reserved: IO },
    // Programs. `vdecable` is the library `cable` too.
    Arrow {
        package: "vdenode",
        ours: &[
            "ether", "fabric", "gateway", "emulator", "console", "vdeplug", "control", "vdecable",
            "mesh", "segment",
        ],
        reserved: NODE,
    },
    Arrow { package: "vdecable", ours: &["ether", "mesh", "vdeplug", "control"], reserved: CABLE },
    Arrow { package: "wirefilter", ours: &["emulator", "console", "vdeplug"], reserved: PROGRAM },
];

/// A runtime and sockets.
const IO: &[&str] = &["tokio", "libc", "rustix", "socket2"];

/// The same, and what only a program should decide: its command line and its last words.
const PROGRAM: &[&str] =
    &["tokio", "libc", "rustix", "socket2", "clap", "anyhow", "tracing-subscriber"];

/// The only package that makes taps, asks the kernel for addresses and routes, and looks users up.
const NODE: &[&str] = &[
    "tokio",
    "libc",
    "rustix",
    "socket2",
    "clap",
    "anyhow",
    "tracing-subscriber",
    "tun-tap",
    "rtnetlink",
    "nix",
];

/// The only package that speaks QUIC and TLS.
const CABLE: &[&str] = &[
    "tokio",
    "libc",
    "rustix",
    "socket2",
    "clap",
    "anyhow",
    "tracing-subscriber",
    "quinn",
    "quinn-proto",
    "quinn-udp",
    "rustls",
    "aws-lc-rs",
];

/// Foreign packages that only a row which names them may use.
const RESERVED: &[&str] = &[
    "tokio",
    "async-std",
    "smol",
    "mio",
    "io-uring",
    "libc",
    "nix",
    "rustix",
    "socket2",
    "clap",
    "anyhow",
    "getrandom",
    "tracing-subscriber",
    "tun-tap",
    "tokio-tun",
    "rtnetlink",
    "quinn",
    "quinn-proto",
    "quinn-udp",
    "rustls",
    "aws-lc-rs",
    "ring",
];

/// What a core may not reach even through another package. (`libc` and `getrandom` are missing:
/// harmless packages name them for platforms and features that are not ours.)
const NEVER_BELOW_A_CORE: &[&str] =
    &["tokio", "mio", "rustix", "socket2", "quinn", "quinn-proto", "rustls", "nix", "async-std"];

fn metadata(command: &mut MetadataCommand) -> Metadata {
    command
        .manifest_path(root().join("Cargo.toml"))
        .exec()
        .expect("cargo can describe the workspace it is testing")
}

/// Dependencies for building the package, not those of its tests.
fn used_by(package: &Package) -> BTreeSet<&str> {
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind != DependencyKind::Development)
        .map(|dependency| dependency.name.as_str())
        .collect()
}

#[test]
fn packages_use_only_what_their_row_allows() {
    let metadata = metadata(MetadataCommand::new().no_deps());
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|package| &**package.name).collect();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let name: &str = &package.name;
        if ["system-tests", "examples"].contains(&name) {
            continue;
        }
        let Some(arrow) = ARROWS.iter().find(|arrow| arrow.package == name) else {
            wrong.push(format!("{name} has no row in the table of arrows"));
            continue;
        };
        for used in used_by(package) {
            if ours.contains(used) && !arrow.ours.contains(&used) {
                wrong.push(format!("{name} may not depend on {used}"));
            }
            if RESERVED.contains(&used) && !arrow.reserved.contains(&used) {
                wrong.push(format!("{name} may not name the foreign package {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_core_reaches_a_runtime_or_a_socket_through_others() {
    let host = host_triple();
    let metadata =
        metadata(MetadataCommand::new().other_options(["--filter-platform".to_owned(), host]));
    let resolve = metadata.resolve.as_ref().expect("cargo resolves the dependencies");
    let edges: BTreeMap<_, Vec<_>> = resolve
        .nodes
        .iter()
        .map(|node| {
            let needed = node.deps.iter().filter(|dependency| {
                dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
            });
            (&node.id, needed.map(|dependency| &dependency.pkg).collect())
        })
        .collect();
    let name_of: BTreeMap<_, &str> =
        metadata.packages.iter().map(|package| (&package.id, &**package.name)).collect();

    let mut wrong = Vec::new();
    for core in metadata.packages.iter().filter(|package| is_core(package)) {
        let mut seen = BTreeSet::new();
        let mut open = vec![&core.id];
        while let Some(package) = open.pop() {
            if seen.insert(package) {
                open.extend(edges.get(package).into_iter().flatten().copied());
            }
        }
        for package in seen {
            if NEVER_BELOW_A_CORE.contains(&name_of[package]) {
                wrong.push(format!("{} reaches {}", core.name, name_of[package]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn is_core(package: &Package) -> bool {
    let folder = package.manifest_path.parent().expect("a manifest lies in a folder");
    CORES.iter().any(|core| folder.ends_with(core))
}

fn host_triple() -> String {
    let output = std::process::Command::new("rustc")
        .arg("-vV")
        .output()
        .expect("the compiler that built this test can be asked");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("rustc names its host")
        .to_owned()
}

#[test]
fn every_row_of_the_table_names_packages_of_the_table() {
    for arrow in ARROWS {
        for ours in arrow.ours {
            assert!(
                ARROWS.iter().any(|other| other.package == *ours),
                "{} names {ours}, which has no row",
                arrow.package
            );
        }
        for reserved in arrow.reserved {
            assert!(RESERVED.contains(reserved), "{reserved} is allowed but not reserved");
        }
    }
}
