//! A connection as the rest of this package sees it: quinn's, for as long as its endpoint is sound,
//! and afterwards one that has ended. See [`crate::soundness`].

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use quinn::{ConnectionError, ConnectionStats, RecvStream, SendDatagramError, SendStream, VarInt};

use crate::soundness::{Soundness, drop_quietly};

/// A connection that both ends have proved. Clones are the same connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// There until this is dropped.
    quinn: Option<quinn::Connection>,
    /// Another reference. Should the connection's own task panic, it is dropped at once, and takes the
    /// lock that it has just poisoned unless more than one reference besides its own is left.
    spare: Option<quinn::Connection>,
    soundness: Arc<Soundness>,
    /// Where it led at first.
    remote: SocketAddr,
}

/// How a connection ends whose endpoint has failed.
const ENDED: ConnectionError = ConnectionError::LocallyClosed;

impl Drop for Connection {
    fn drop(&mut self) {
        if self.soundness.is_broken() {
            drop_quietly(self.spare.take());
            drop_quietly(self.quinn.take());
        }
    }
}

impl Connection {
    /// Takes over a new connection of an endpoint that is known to be sound, or not, by `soundness`.
    pub(crate) fn new(quinn: quinn::Connection, soundness: Arc<Soundness>) -> Self {
        let remote = quinn.remote_address();
        Self { spare: Some(quinn.clone()), quinn: Some(quinn), soundness, remote }
    }

    fn sound(&self) -> Option<&quinn::Connection> {
        if self.soundness.is_broken() { None } else { self.quinn.as_ref() }
    }

    /// Whether its endpoint can still be used.
    pub fn soundness(&self) -> &Arc<Soundness> {
        &self.soundness
    }

    /// Whether not even its parts can be dropped: it was the one that failed.
    pub(crate) fn is_poisoned(&self) -> bool {
        let touch = |connection: &quinn::Connection| {
            let touch = std::panic::AssertUnwindSafe(|| connection.rtt());
            std::panic::catch_unwind(touch).is_err()
        };
        self.soundness.is_broken() && self.quinn.as_ref().is_some_and(touch)
    }

    /// Polls a future of quinn's for as long as that may be done.
    async fn guard<T>(&self, future: impl Future<Output = T>, ended: impl Fn() -> T) -> T {
        let mut future = pin!(future);
        poll_fn(|cx| match self.sound() {
            Some(_) => future.as_mut().poll(cx),
            None => Poll::Ready(ended()),
        })
        .await
    }

    /// Runs what uses the connection and its streams to its end, or until the endpoint fails: none
    /// then.
    pub(crate) async fn run<T>(&self, session: impl Future<Output = T>) -> Option<T> {
        let mut session = Box::pin(session);
        tokio::select! {
            biased;
            () = self.soundness.broken() => {
                if self.is_poisoned() {
                    // Its streams would panic one after the other, which ends the process.
                    std::mem::forget(session);
                }
                None
            }
            value = &mut session => Some(value),
        }
    }

    /// The peer's address, as of now.
    pub fn remote_address(&self) -> SocketAddr {
        self.sound().map_or(self.remote, quinn::Connection::remote_address)
    }

    /// Smoothed round-trip time.
    pub fn rtt(&self) -> Duration {
        self.sound().map(quinn::Connection::rtt).unwrap_or_default()
    }

    /// What quinn counts.
    pub fn stats(&self) -> ConnectionStats {
        self.sound().map(quinn::Connection::stats).unwrap_or_default()
    }

    /// The congestion window in octets.
    pub fn window(&self) -> u64 {
        self.sound().map_or(0, |connection| connection.congestion_state().window())
    }

    /// Why it has ended, if it has.
    pub fn close_reason(&self) -> Option<ConnectionError> {
        match self.sound() {
            Some(connection) => connection.close_reason(),
            None => Some(ENDED),
        }
    }

    /// Ends it at once, and tells the peer.
    pub fn close(&self, code: VarInt, reason: &[u8]) {
        if let Some(connection) = self.sound() {
            connection.close(code, reason);
        }
    }

    /// Waits for its end.
    pub async fn closed(&self) -> ConnectionError {
        let Some(connection) = self.sound() else { return ENDED };
        tokio::select! {
            biased;
            () = self.soundness.broken() => ENDED,
            reason = self.guard(connection.closed(), || ENDED) => reason,
        }
    }

    /// Draws octets from the TLS session that both ends can draw, and nobody else (RFC 8446 section
    /// 7.5); none when it has ended.
    pub(crate) fn export(&self, label: &[u8]) -> Option<[u8; 32]> {
        let mut octets = [0; 32];
        self.sound()?.export_keying_material(&mut octets, label, b"").ok()?;
        Some(octets)
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn open_bi(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        let connection = self.sound().ok_or(ENDED)?;
        self.guard(connection.open_bi(), || Err(ENDED)).await
    }

    /// Waits for the peer to open a stream.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn accept_bi(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        let connection = self.sound().ok_or(ENDED)?;
        self.guard(connection.accept_bi(), || Err(ENDED)).await
    }

    /// Waits for a datagram.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn read_datagram(&self) -> Result<Bytes, ConnectionError> {
        let connection = self.sound().ok_or(ENDED)?;
        self.guard(connection.read_datagram(), || Err(ENDED)).await
    }

    /// Queues a datagram; where there is no room the oldest gives way.
    ///
    /// # Errors
    /// The connection has ended, or the path carries no such length.
    pub fn send_datagram(&self, datagram: Bytes) -> Result<(), SendDatagramError> {
        let connection = self.sound().ok_or(SendDatagramError::ConnectionLost(ENDED))?;
        connection.send_datagram(datagram)
    }

    /// Queues a datagram as soon as there is room.
    ///
    /// # Errors
    /// The connection has ended, or the path carries no such length.
    pub async fn send_datagram_wait(&self, datagram: Bytes) -> Result<(), SendDatagramError> {
        let ended = || SendDatagramError::ConnectionLost(ENDED);
        let connection = self.sound().ok_or_else(ended)?;
        self.guard(connection.send_datagram_wait(datagram), || Err(ended())).await
    }

    /// Octets for which quinn's queue of datagrams has room.
    pub fn datagram_send_buffer_space(&self) -> usize {
        self.sound().map_or(0, quinn::Connection::datagram_send_buffer_space)
    }

    /// The longest datagram that the path carries now.
    pub fn max_datagram_size(&self) -> Option<usize> {
        self.sound()?.max_datagram_size()
    }
}
