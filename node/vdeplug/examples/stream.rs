//! A byte stream joined to a VDE switch, as `vde_plug` does it.
//!
//! `cargo run -p vdeplug --example stream -- SWITCH` speaks VDE's stream form on standard input and
//! output: `dpipe stream /tmp/hub = vde_plug /tmp/other`.
//!
//! `cargo run -p vdeplug --example stream -- SWITCH SOCKET` listens on a unix socket for one
//! `qemu-system-x86_64 -netdev stream,id=n,server=off,addr.type=unix,addr.path=SOCKET …`.

use std::error::Error;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;

use vdeplug::mmsg::BATCH;
use vdeplug::stream::{Framing, RecvError, StreamConfig, StreamPort};
use vdeplug::{ClientOptions, Plug, RecvBatch};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stream: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let switch = arguments.next().ok_or("usage: stream SWITCH [SOCKET]")?;
    let port = match arguments.next() {
        None => StreamPort::stdio(StreamConfig::new(Framing::Vde))?,
        Some(path) => {
            let (stream, _) = UnixListener::bind(path)?.accept()?;
            StreamPort::new(stream, StreamConfig::new(Framing::Length32))?
        }
    };
    let plug = vdeplug::connect(Some(Path::new(&switch)), ClientOptions::new("stream")).await?;
    tokio::select! {
        end = inwards(&port, &plug) => match end {
            RecvError::Closed => Ok(()),
            error => Err(error.into()),
        },
        error = outwards(&plug, &port) => Err(error.into()),
        error = port.keep_flushing() => Err(error.into()),
        _ = plug.hung_up() => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// Frames of the stream, to the switch.
async fn inwards(port: &StreamPort, plug: &Plug) -> RecvError {
    let mut decoder = port.decoder();
    loop {
        if let Err(error) = port.readable(&decoder).await {
            return RecvError::Failed(error);
        }
        match port.try_recv_batch(&mut decoder) {
            Ok(_) => {
                let mut frames = [&[][..]; BATCH];
                let mut count = 0;
                for frame in decoder.frames() {
                    frames[count] = frame;
                    count += 1;
                }
                // What does not fit is dropped, as Ethernet does.
                plug.try_send_batch(&frames[..count]);
            }
            Err(RecvError::WouldBlock) => {}
            Err(error) => return error,
        }
        tokio::task::yield_now().await;
    }
}

/// Frames of the switch, into the stream.
async fn outwards(plug: &Plug, port: &StreamPort) -> std::io::Error {
    let mut batch = RecvBatch::new(9234);
    loop {
        if let Err(error) = plug.readable().await {
            return error;
        }
        if plug.try_recv_batch(&mut batch).is_ok() {
            let mut frames = [&[][..]; BATCH];
            let mut count = 0;
            for datagram in batch.iter().filter(|datagram| !datagram.truncated) {
                frames[count] = datagram.bytes;
                count += 1;
            }
            let mut rest = &frames[..count];
            while !rest.is_empty() {
                let outcome = port.try_send_batch(rest);
                // The frame that was not taken is dropped.
                rest = rest.get(outcome.sent + 1..).unwrap_or_default();
            }
        }
        tokio::task::yield_now().await;
    }
}
