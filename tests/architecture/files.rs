//! What every source file owes its reader: an opening, a length that fits a head, no unsafe code
//! outside its place, and in a core nothing that reaches outside.

use std::fs;
use std::path::{Path, PathBuf};

use crate::scanner::{code_only, names};
use crate::{CORES, root};

/// A file of the product is split beyond this.
const LONGEST_SOURCE: usize = 500;

/// A file of tests, which is a list, may be longer.
const LONGEST_TESTS: usize = 800;

/// What reaches outside. Cores get the time, their seed and their input as arguments.
const OUTSIDE: &[&str] = &[
    "tokio",
    "rustix",
    "libc",
    "socket2",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "UnixStream",
    "UnixListener",
    "UnixDatagram",
    "SystemTime",
    "OsRng",
    "SysRng",
    "ThreadRng",
    "thread_rng",
    "thread",
    "fs",
    "env",
    "process",
];

struct Source {
    /// Relative to the workspace's root.
    path: PathBuf,
    text: String,
}

impl Source {
    fn is_test(&self) -> bool {
        self.path.file_name().is_some_and(|name| name == "tests.rs")
            || self.path.components().any(|part| {
                ["tests", "benches", "examples"].iter().any(|folder| part.as_os_str() == *folder)
            })
    }
}

/// Every Rust file of the workspace, without what is built.
fn sources() -> Vec<Source> {
    let root = root();
    let mut sources = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace can be read") {
            let path = entry.expect("an entry of the workspace can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    open.push(path);
                }
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).expect("a source file is text");
                let path = path.strip_prefix(&root).expect("it lies in the root").to_path_buf();
                sources.push(Source { path, text });
            }
        }
    }
    assert!(sources.len() > 10, "only {} source files were found", sources.len());
    sources
}

/// Applies a rule to every file and fails with all that break it.
fn check(rule: impl Fn(&Source) -> Option<String>) {
    let wrong: Vec<String> = sources()
        .iter()
        .filter_map(|source| Some(format!("{}: {}", source.path.display(), rule(source)?)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_opens_with_what_it_owns() {
    check(|source| {
        let first = source.text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let opening = first.starts_with("//! ") && first.len() > "//! x".len();
        (!opening).then(|| "does not open with `//!` and a sentence".to_owned())
    });
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    check(|source| {
        let limit = if source.is_test() { LONGEST_TESTS } else { LONGEST_SOURCE };
        let lines = source.text.lines().count();
        (lines > limit).then(|| format!("has {lines} lines; split it at {limit}"))
    });
}

#[test]
fn unsafe_code_is_only_in_modules_called_sys() {
    check(|source| {
        let allowed = source.path.components().any(|part| {
            let part = part.as_os_str();
            part == "sys" || part == "sys.rs"
        });
        let found = names(&code_only(&source.text), "unsafe");
        (found && !allowed).then(|| "has unsafe code; it belongs in a module called sys".to_owned())
    });
}

#[test]
fn cores_forbid_unsafe_code() {
    check(|source| {
        let is_root_of_core =
            CORES.iter().any(|core| source.path == Path::new(core).join("src/lib.rs"));
        let forbids = source.text.contains("#![forbid(unsafe_code)]");
        (is_root_of_core && !forbids).then(|| "lacks #![forbid(unsafe_code)]".to_owned())
    });
}

#[test]
fn cores_name_nothing_that_reaches_outside() {
    check(|source| {
        let in_core = CORES.iter().any(|core| source.path.starts_with(core));
        if !in_core || source.is_test() {
            return None;
        }
        let code = code_only(&source.text);
        // Tests stand last in a file, by the house rules.
        let product = code.split("#[cfg(test)]").next().unwrap_or_default();
        let found: Vec<&str> = OUTSIDE
            .iter()
            .copied()
            .filter(|word| match *word {
                "fs" | "env" | "process" | "thread" => product.contains(&format!("std::{word}")),
                _ => names(product, word),
            })
            .collect();
        let paths = ["Instant::now", "rand::rng", "rand::random"];
        let paths = paths.into_iter().filter(|path| product.contains(path));
        let found: Vec<&str> = found.into_iter().chain(paths).collect();
        (!found.is_empty()).then(|| format!("a core may not name {}", found.join(", ")))
    });
}
