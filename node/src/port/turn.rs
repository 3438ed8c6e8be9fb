//! Whose turn it is: a port brings one batch, and one that has more to bring lets the others go first.

use std::pin::pin;

/// Waits until a port is `readable`. One that is so already, because its last batch left something
/// behind, has its next turn after the other ports and the cables. One that has to wait lets them go
/// anyway, and a turn given to them on top of that would be a look at every descriptor for nothing.
pub(crate) async fn after_others<T>(readable: impl Future<Output = T>) -> T {
    let mut readable = pin!(readable);
    let mut waited = false;
    let result = std::future::poll_fn(|context| {
        let polled = readable.as_mut().poll(context);
        waited |= polled.is_pending();
        polled
    })
    .await;
    if !waited {
        tokio::task::yield_now().await;
    }
    result
}
