//! Buffers for what readable ports have to say. A port has one for as long as it takes to relay what is
//! in it, which is one turn but for broadcasts to many; so a few serve all ports.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use ether::limits::MAX_FRAME;
use tokio::sync::{Semaphore, SemaphorePermit};
use vdeplug::mmsg::RecvBatch;

/// Ports that may be in the middle of a batch at once; others wait with theirs in the kernel. With
/// frames of full size in all of them these are 9 MiB; of memory that was never written the system
/// gives none.
const LENT: usize = 16;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Batches {
    idle: RefCell<Vec<RecvBatch>>,
    places: Semaphore,
}

/// A buffer that goes back when it is dropped.
#[derive(Debug)]
pub(super) struct Lent<'a> {
    from: &'a Batches,
    batch: Option<RecvBatch>,
    _place: Option<SemaphorePermit<'a>>,
}

impl Batches {
    pub(crate) fn new() -> Self {
        Self { idle: RefCell::default(), places: Semaphore::new(LENT) }
    }

    /// A buffer, whatever is in it.
    pub(super) async fn lend(&self) -> Lent<'_> {
        // It is never closed.
        let place = self.places.acquire().await.ok();
        let idle = self.idle.borrow_mut().pop();
        let batch = idle.unwrap_or_else(|| RecvBatch::new(MAX_FRAME));
        Lent { from: self, batch: Some(batch), _place: place }
    }
}

impl Deref for Lent<'_> {
    type Target = RecvBatch;

    fn deref(&self) -> &RecvBatch {
        self.batch.as_ref().expect("it is here until it is dropped")
    }
}

impl DerefMut for Lent<'_> {
    fn deref_mut(&mut self) -> &mut RecvBatch {
        self.batch.as_mut().expect("it is here until it is dropped")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.from.idle.borrow_mut().extend(self.batch.take());
    }
}
