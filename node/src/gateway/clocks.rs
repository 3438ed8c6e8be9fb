//! The clocks that a lease depends on, and the boot that they belong to.

use std::time::{Duration, UNIX_EPOCH};

use gateway::time::{BootId, Now, UtcTime};

use crate::driver;

/// One reading of all of them.
#[expect(clippy::disallowed_methods, reason = "leases outlive a reboot by the date")]
pub(super) fn now() -> Now {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let since_boot = Duration::new(
        u64::try_from(boot.tv_sec).unwrap_or_default(),
        u32::try_from(boot.tv_nsec).unwrap_or_default(),
    );
    let utc = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
    Now { instant: driver::now(), since_boot, utc: UtcTime(utc.map_or(0, |utc| utc.as_secs())) }
}

/// The boot's identity as the kernel writes it.
pub(super) fn boot_text() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// The boot's identity.
pub(super) fn boot_id() -> BootId {
    let digits: Vec<u8> = boot_text().bytes().filter(u8::is_ascii_hexdigit).collect();
    let mut id = [0; 16];
    for (octet, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).unwrap_or_default();
        *octet = u8::from_str_radix(pair, 16).unwrap_or_default();
    }
    BootId(id)
}
