//! The lab in which the built programs are tested: processes, network namespaces, nodes, raw
//! VDE plugs and guests. Rings 3 to 5 are written with it; it holds no test of its own product.
//!
//! Everything a trial starts hangs on a [`Scene`] or on a value that ends it when dropped, and
//! dies with the test program even when that one is killed.
//!
//! | I want… | Open |
//! |---|---|
//! | a trial, and what it needs to run | [`suite`], [`requirements`] |
//! | to wait for something | [`wait`] |
//! | a program and its log | [`process`] |
//! | to talk to a program, at a terminal | [`transcript`], [`terminal`] |
//! | a node and what `vdecable` says of it | [`node`] |
//! | a host of its own, wires, packet filters, ping, iperf3, a web server | [`netns`], [`traffic`], [`web`] |
//! | a raw VDE plug, a frame | [`plug`], [`frames`] |
//! | a plug in a stream socket, a DHCP client's messages | [`stream`], [`dhcp`] |
//! | a client by hand, its request octet by octet | [`client`] |
//! | a `vde_switch`, ours or Debian's, and its console | [`switch`] |
//! | a gateway, a cable, machines behind it, an internet | [`lan`] |
//! | usual places, other users | [`machine`], [`users`] |
//! | a guest that boots | [`qemu`] |

pub mod client;
pub mod dhcp;
pub mod frames;
pub mod lan;
pub mod machine;
pub mod netns;
pub mod node;
pub mod plug;
pub mod process;
pub mod qemu;
pub mod requirements;
pub mod stream;
pub mod suite;
pub mod switch;
pub mod terminal;
pub mod traffic;
pub mod transcript;
pub mod users;
pub mod wait;
pub mod web;

pub use client::Client;
pub use machine::Machine;
pub use netns::Netns;
pub use node::Node;
pub use plug::Plug;
pub use process::Process;
pub use qemu::Guest;
pub use requirements::Ring;
pub use stream::StreamPlug;
pub use suite::{Scene, Suite};
pub use switch::{Maker, Switch};
pub use wait::{wait_for, wait_until};
pub use web::WebServer;
