//! How soon a thread gets a processor when others want it, too.

#![expect(unsafe_code, reason = "sched_setattr(2) has no safe wrapper")]

use std::io;

use libc::{c_long, sched_attr};

/// The slice that the scheduler (EEVDF, Linux 6.12) is asked for: its least, so that a thread that
/// becomes ready goes before those that may still run for their 3 ms. Older kernels take no notice.
const SLICE_NS: u64 = 100_000;

/// This thread in a hurry, until it is dropped by the same thread.
#[derive(Debug)]
pub(crate) struct Urgency {
    before: sched_attr,
}

impl Urgency {
    /// Asks for it. No right is needed: it gets no more of a processor, only sooner. Nothing for a thread
    /// that its administrator has put into a class of its own, or where the kernel does not want to.
    pub(crate) fn ask() -> Option<Self> {
        let before = attributes().ok()?;
        if ![libc::SCHED_OTHER, libc::SCHED_BATCH].contains(&before.sched_policy.cast_signed()) {
            return None;
        }
        set_attributes(&sched_attr { sched_runtime: SLICE_NS, ..before }).ok()?;
        Some(Self { before })
    }
}

impl Drop for Urgency {
    fn drop(&mut self) {
        // The kernel took the like before; should it not now, the thread stays in a hurry.
        let _ = set_attributes(&self.before);
    }
}

fn attributes() -> io::Result<sched_attr> {
    // SAFETY: all zeros are a valid value of this structure of integers.
    let mut attributes: sched_attr = unsafe { std::mem::zeroed() };
    let size = u32::try_from(size_of::<sched_attr>()).expect("some fifty octets");
    // SAFETY: the kernel writes at most `size` octets into a structure of that size; 0 is this thread.
    checked(unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) })?;
    Ok(attributes)
}

fn set_attributes(attributes: &sched_attr) -> io::Result<()> {
    // SAFETY: the kernel only reads from the structure, whose size is in it; 0 is this thread.
    checked(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const *attributes, 0) })
}

fn checked(result: c_long) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_in_a_hurry_until_it_no_longer_is() {
        // A thread of its own: others would inherit what this one has.
        let thread = std::thread::spawn(|| {
            let before = attributes().unwrap();
            let urgency = Urgency::ask().expect("tests run in the usual class");
            let now = attributes().unwrap();
            assert_eq!(now.sched_nice, before.sched_nice);
            drop(urgency);
            let after = attributes().unwrap();
            assert_eq!(
                (after.sched_policy, after.sched_nice),
                (before.sched_policy, before.sched_nice)
            );
            (before.sched_runtime, now.sched_runtime, after.sched_runtime)
        });
        let (before, now, after) = thread.join().unwrap();
        // Kernels before 6.12 say 0 throughout.
        if now != 0 {
            assert_eq!((now, after), (SLICE_NS, before));
        }
    }

    #[test]
    fn a_thread_of_another_class_is_left_alone() {
        std::thread::spawn(|| {
            let idle = sched_attr {
                sched_policy: libc::SCHED_IDLE.cast_unsigned(),
                ..attributes().unwrap()
            };
            set_attributes(&idle).unwrap();
            assert!(Urgency::ask().is_none());
            assert_eq!(attributes().unwrap().sched_policy, idle.sched_policy);
        })
        .join()
        .unwrap();
    }
}
