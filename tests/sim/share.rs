//! Where one frame leaves.

use ether::TagAction;
use fabric::{Change, DropReason, PortId};
use segment::Outlet;

/// Ports and cables, and what is done to the frame's tag at each.
#[derive(Debug, Default)]
pub(crate) struct Share(pub(crate) Vec<(u32, TagAction)>);

impl Outlet for Share {
    fn hand(&mut self, egress: PortId, tag: TagAction) {
        self.0.push((egress.0, tag));
    }

    fn tell(&mut self, _: Change) {}

    fn lose(&mut self, _: PortId, _: DropReason) {}
}
