//! What happens when QUIC's own code panics: it is caught, counted, and costs one endpoint for less
//! than a second, not the node.
//!
//! A panic within quinn leaves a lock poisoned, of its endpoint or of one connection, and whatever
//! touches that lock afterwards panics as well, even to drop it. So from the panic on nothing of that
//! endpoint is used any more: its tasks are not polled, a [`Connection`](crate::connection::Connection)
//! answers for itself, and what cannot even be dropped is left to the memory. A new endpoint takes
//! over the same socket.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use tokio::sync::Notify;

/// A task of quinn's.
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Whether an endpoint can be used.
pub struct Soundness {
    is_broken: AtomicBool,
    told: Notify,
    /// Told as well: who replaces endpoints.
    alarm: Arc<Notify>,
    /// The endpoint's own task, the first that it spawns. It must be dropped before the endpoint is.
    driver: Mutex<Option<Arc<Slot>>>,
}

impl fmt::Debug for Soundness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Soundness").field(&!self.is_broken()).finish()
    }
}

/// Where a task is, for as long as it may be polled.
#[derive(Default)]
struct Slot(Mutex<Option<Task>>);

impl Soundness {
    /// That of a new endpoint. `alarm` is told when it has failed.
    pub fn new(alarm: Arc<Notify>) -> Self {
        let (is_broken, told, driver) = Default::default();
        Self { is_broken, told, alarm, driver }
    }

    /// Whether nothing of the endpoint may be touched any more.
    pub fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    /// Completes when that is so.
    pub async fn broken(&self) {
        loop {
            let told = self.told.notified();
            if self.is_broken() {
                return;
            }
            told.await;
        }
    }

    /// Calls into quinn. None when that panicked, now or before.
    pub fn call<T>(&self, call: impl FnOnce() -> T) -> Option<T> {
        if self.is_broken() {
            return None;
        }
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(value) => Some(value),
            Err(panic) => {
                self.report(&*panic);
                None
            }
        }
    }

    /// Drops the endpoint's own task, which must be gone before the endpoint is.
    pub fn drop_driver(&self) {
        let driver = lock(&self.driver).take();
        if let Some(task) = driver.and_then(|slot| lock(&slot.0).take()) {
            drop_quietly(task);
        }
    }

    fn report(&self, panic: &(dyn Any + Send)) {
        let words = panic.downcast_ref::<&str>().copied();
        let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        self.give_up(words.unwrap_or("no words"));
    }

    /// Uses the endpoint no more.
    pub fn give_up(&self, words: &str) {
        if !self.is_broken.swap(true, Ordering::Relaxed) {
            tracing::error!(
                words,
                "the QUIC library failed; its endpoint is started anew and every cable dialled again. Please report this"
            );
            self.alarm.notify_one();
        }
        self.told.notify_waiters();
    }
}

/// Drops what may panic when it is dropped.
pub fn drop_quietly(value: impl Sized) {
    // What it says is a consequence of what was told before.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What these hold is whole at every moment: it is put in or taken out at once.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tokio, as quinn uses it, with every task of one endpoint watched.
#[derive(Debug)]
pub struct WatchedRuntime(pub Arc<Soundness>);

impl Runtime for WatchedRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Task) {
        let slot = Arc::new(Slot(Mutex::new(Some(future))));
        lock(&self.0.driver).get_or_insert_with(|| slot.clone());
        TokioRuntime.spawn(Box::pin(Watched { slot, soundness: self.0.clone() }));
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

/// A task of an endpoint, polled for as long as that is sound.
struct Watched {
    slot: Arc<Slot>,
    soundness: Arc<Soundness>,
}

impl Future for Watched {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut slot = lock(&self.slot.0);
        let Some(task) = slot.as_mut() else { return Poll::Ready(()) };
        match self.soundness.call(|| task.as_mut().poll(cx)) {
            Some(Poll::Pending) => Poll::Pending,
            Some(Poll::Ready(())) => {
                *slot = None;
                Poll::Ready(())
            }
            None => {
                drop_quietly(slot.take());
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // The runtime ends, and with it the task, though its endpoint may know it as well.
        let task = lock(&self.slot.0).take();
        if self.soundness.is_broken() {
            drop_quietly(task);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
