//! The switch engine, and the two programs that are it: `vdenode`, and `vde_switch` with VDE's command
//! line and console.
//!
//! | I want to change… | Open |
//! |---|---|
//! | a flag of `vdenode` | `cli.rs`, then `config.rs` |
//! | how a frame gets from port to port | `plane/relay.rs` |
//! | what cables and the mesh do | `cabling.rs`, `plane/meshed.rs` |
//! | what is behind a port | `port.rs`, `port/` |
//! | the way out: interface, DHCP, names, masquerade | `gateway.rs`, `gateway/` |
//! | the loop that ties it together | `driver.rs` |
//! | what a request of `vdecable` does | `requests.rs` |
//! | what it shows | `readings.rs` on the data plane, `views.rs` off it; `status.rs` |
//! | which events are told | `reporter.rs`; who hears them, `journal.rs` |
//! | what a command of VDE's console does | `vde_switch/execute.rs` |
//! | what a wire does to frames | `wire.rs` |
//! | daemon, pidfile, management socket | `vde_switch/` |

mod accounts;
mod cabling;
mod cli;
mod config;
mod control_socket;
mod driver;
mod gateway;
mod journal;
mod local_socket;
mod logging;
mod membership;
mod plane;
mod port;
mod pressure;
mod readings;
mod refused;
mod reporter;
mod requests;
mod signals;
mod state;
mod status;
mod sys;
pub mod vde_switch;
pub mod vdenode;
mod views;
mod wire;
