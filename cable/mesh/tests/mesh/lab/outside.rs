//! What is outside: ports that somebody has joined, and the probes that go from one to the other.

use std::collections::BTreeSet;

use mesh::NodeKey;
use mesh::engine::{PortId, ProbeVerdict};

use super::{Lab, key, ms};

impl Lab {
    /// A probe leaves a port.
    pub(super) fn probe(&mut self, at: usize, port: PortId, frame: Vec<u8>) {
        for segment in &self.outside {
            if !segment.contains(&(at, port, true)) {
                continue;
            }
            for (node, other, _) in segment.iter().filter(|(n, p, _)| (*n, *p) != (at, port)) {
                self.counter += 1;
                let arrival = (self.now + ms(1), self.counter);
                self.outside_flying.insert(arrival, (*node, *other, frame.clone()));
            }
        }
        self.probes.push((at, port, frame));
    }

    /// One comes in.
    pub(super) fn probe_arrives(&mut self, at: usize, port: PortId, frame: &[u8]) {
        if self.nodes[at].is_none() {
            return;
        }
        let now = self.now;
        if self.mesh(at).handle_probe(port, frame, now) == ProbeVerdict::Relay {
            self.relay_probe(at, port, frame);
        }
        self.settle(at);
    }

    /// A probe of a node out of reach goes on, by all open ports of this one's mesh.
    fn relay_probe(&mut self, at: usize, port: PortId, frame: &[u8]) {
        let reached: Vec<NodeKey> = self
            .views(at)
            .iter()
            .filter(|view| view.is_own || view.route.is_some())
            .map(|view| view.key)
            .collect();
        let is_open = |end: &(usize, PortId)| !self.blocked.contains(end);
        let ends = self.outside.iter().flatten().map(|(node, port, _)| (*node, *port));
        let ends: BTreeSet<_> = ends.filter(|end| reached.contains(&key(end.0))).collect();
        if is_open(&(at, port)) {
            let onward: Vec<_> =
                ends.into_iter().filter(|end| *end != (at, port) && is_open(end)).collect();
            for (node, port) in onward {
                self.probe(node, port, frame.to_vec());
            }
        }
    }
}
