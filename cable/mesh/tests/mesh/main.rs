//! Worlds of several nodes in fake time, joined by cables that delay, fall silent and end.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod anything;
mod chaos;
mod echo;
mod faults;
mod gateways;
mod graph;
mod identity;
mod lab;
mod loops;
mod observer;
mod routes;
mod stations;
