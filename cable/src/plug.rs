//! `vdecable plug`: standard input and output as a plug in a VDE switch, in VDE's stream form, so that
//! `dpipe`, ssh and `cmd://` can carry it.

use std::path::Path;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use vdeplug::stream::{Framing, RecvError, StreamConfig, StreamPort};
use vdeplug::{ClientOptions, Plug, RecvBatch};

/// Runs until either side ends. The switch may be followed by a port number in brackets.
pub(crate) fn run(switch: Option<&str>, description: &str, max_frame: usize) -> anyhow::Result<()> {
    let (switch, port) = switch.map_or(Ok((None, None)), |text| {
        split_port(text).map(|(path, port)| (Some(Path::new(path)), port))
    })?;
    let mut options = ClientOptions::new(description);
    options.port = port;
    let mut config = StreamConfig::new(Framing::Vde);
    config.max_sent = max_frame;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let plug = vdeplug::connect(switch, options).await.context("not plugged in")?;
        let pipe =
            StreamPort::stdio(config).context("standard input and output cannot carry frames")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
        tokio::select! {
            end = plug.hung_up() => anyhow::bail!("the switch has gone ({end:?})"),
            result = to_switch(&pipe, &plug) => result,
            result = from_switch(&plug, &pipe) => result,
            err = pipe.keep_flushing() => Err(err).context("standard output"),
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
        }
    })
}

fn split_port(text: &str) -> anyhow::Result<(&str, Option<u32>)> {
    let Some((path, rest)) = text.strip_suffix(']').and_then(|text| text.rsplit_once('[')) else {
        return Ok((text, None));
    };
    let port = rest.parse().with_context(|| format!("{rest:?} is no port number"))?;
    Ok((path, Some(port)))
}

async fn to_switch(pipe: &StreamPort, plug: &Plug) -> anyhow::Result<()> {
    let mut decoder = pipe.decoder();
    loop {
        pipe.readable(&decoder).await?;
        match pipe.try_recv_batch(&mut decoder) {
            Ok(_) => {
                let frames: Vec<&[u8]> = decoder.frames().collect();
                // A full switch drops, as Ethernet does.
                plug.try_send_batch(&frames);
            }
            Err(RecvError::WouldBlock) => {}
            Err(RecvError::Closed) => return Ok(()),
            Err(err) => return Err(err).context("standard input"),
        }
        tokio::task::yield_now().await;
    }
}

async fn from_switch(plug: &Plug, pipe: &StreamPort) -> anyhow::Result<()> {
    let mut batch = RecvBatch::new(Framing::Vde.max_received());
    loop {
        plug.readable().await?;
        if plug.try_recv_batch(&mut batch).is_ok() {
            let whole = batch.iter().filter(|datagram| !datagram.truncated);
            let frames: Vec<&[u8]> = whole.map(|datagram| datagram.bytes).collect();
            let mut rest = &frames[..];
            while !rest.is_empty() {
                let outcome = pipe.try_send_batch(rest);
                // One that does not fit is passed over; a reader that is slow loses the rest.
                let passed = outcome.sent + usize::from(outcome.stopped.is_some());
                rest = &rest[passed.min(rest.len())..];
            }
        }
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_in_brackets_is_the_port() {
        assert_eq!(split_port("/run/vde.ctl").unwrap(), ("/run/vde.ctl", None));
        assert_eq!(split_port("/run/vde.ctl[7]").unwrap(), ("/run/vde.ctl", Some(7)));
        assert!(split_port("/run/vde.ctl[x]").is_err());
    }
}
