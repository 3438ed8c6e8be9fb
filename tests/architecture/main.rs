//! The rules that the compiler does not check: which package may know which (`arrows`), and what
//! every source file owes its reader (`files`, with `scanner`).

mod arrows;
mod files;
mod scanner;

use std::path::{Path, PathBuf};

/// The packages without sockets, clocks and chance, by folder.
const CORES: [&str; 6] = [
    "node/ether",
    "node/fabric",
    "node/gateway",
    "node/segment",
    "cable/mesh",
    "wirefilter/emulator",
];

/// The workspace's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests' folder lies in the workspace")
        .to_path_buf()
}
