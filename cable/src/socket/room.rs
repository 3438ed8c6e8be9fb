//! Waits until packets can be sent: for the thread's queue, and for the socket.

use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use quinn::UdpPoller;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::CableSocket;
use crate::sys;

/// The room of one connection.
#[derive(Debug)]
pub(super) struct Room {
    socket: Arc<CableSocket>,
    /// Another descriptor of the socket, while the socket is full.
    waiting: Option<AsyncFd<UdpSocket>>,
}

impl Room {
    pub(super) fn new(socket: Arc<CableSocket>) -> Self {
        Self { socket, waiting: None }
    }

    fn poll_socket(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.socket.is_full.load(Ordering::Acquire) {
            if self.waiting.is_none() {
                let again = self.socket.watched.get_ref().try_clone()?;
                self.waiting = Some(sys::watch(again, Interest::WRITABLE)?);
            }
            if let Some(waiting) = &self.waiting {
                ready!(waiting.poll_write_ready(cx))?.retain_ready();
            }
            self.socket.is_full.store(false, Ordering::Release);
        }
        self.waiting = None;
        Poll::Ready(Ok(()))
    }
}

impl UdpPoller for Room {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(sender) = &self.socket.sender {
            ready!(sender.poll_room(cx));
        }
        self.poll_socket(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;
    use crate::endpoint::Doorkeeper;

    #[tokio::test]
    async fn who_found_no_room_goes_on_when_there_is_some() {
        let socket = crate::socket::bind("127.0.0.1:0".parse().unwrap()).unwrap().socket;
        let (socket, _) = CableSocket::new(socket, Arc::new(Doorkeeper::new(1))).unwrap();
        let mut room = Box::pin(Room::new(socket.clone()));
        socket.is_full.store(true, Ordering::Relaxed);
        let wait = poll_fn(|cx| room.as_mut().poll_writable(cx));
        tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap().unwrap();
        assert!(!socket.is_full.load(Ordering::Relaxed));
        assert!(room.waiting.is_none(), "nobody hears of room while there is some");
    }
}
