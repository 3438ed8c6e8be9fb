//! Ring 4: nodes in network namespaces, with taps and cables between them. Nothing here measures
//! speed; what must arrive arrives, and what must come back comes back.

mod cable;
mod dhcp_clients;
mod dhcp_crowd;
mod dhcp_faults;
mod dhcp_load;
mod faults;
mod gateway;
mod gateway_abuse;
mod gateway_firewalls;
mod gateway_guards;
mod gateway_host;
mod gateway_ipv6;
mod gateway_missing;
mod gateway_offers;
mod gateway_path;
mod gateway_role;
mod hosts;
mod intruders;
mod loops;
mod mesh;
mod mesh_faults;
mod moves;
mod seed;
mod strangers;
mod taps;
mod tools;
mod trust;
mod users;
mod wire;
mod world;

use std::process::ExitCode;

use lab::{Ring, Suite};

fn main() -> ExitCode {
    let suite = Suite::new(Ring::Netns).needs(&["ip", "nft", "ping", "sh"]);
    let areas = [
        cable::trials,
        faults::trials,
        strangers::trials,
        intruders::trials,
        users::trials,
        tools::trials,
        taps::trials,
        seed::trials,
        wire::trials,
        gateway::trials,
        mesh::trials,
        mesh_faults::trials,
        gateway_path::trials,
        dhcp_clients::trials,
        dhcp_load::trials,
        dhcp_faults::trials,
        gateway_role::trials,
        gateway_guards::trials,
        gateway_abuse::trials,
        gateway_host::trials,
        gateway_firewalls::trials,
        gateway_ipv6::trials,
        gateway_missing::trials,
        gateway_offers::trials,
        loops::trials,
        moves::trials,
        trust::trials,
    ];
    areas.into_iter().fold(suite, |suite, trials| trials(suite)).run()
}
