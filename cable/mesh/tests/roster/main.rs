//! Who belongs to the mesh, whoever said so in whatever order, and who does not.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod bounds;
mod forgeries;
mod histories;
mod keys;
mod lab;
mod members;
mod rogues;
