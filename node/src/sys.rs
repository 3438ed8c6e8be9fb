//! What only unsafe code can ask of the kernel.

pub(crate) mod tap;
pub(crate) mod urgency;
pub(crate) mod watch;
