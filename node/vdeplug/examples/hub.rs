//! A hub: whatever one plug sends, every other plug receives.
//!
//! `cargo run -p vdeplug --example hub -- /tmp/hub`, then plug in anything that speaks VDE, for
//! instance `dpipe vde_plug /tmp/hub = vde_plug /tmp/other`. Ends on Ctrl-C.

use std::cell::RefCell;
use std::error::Error;
use std::process::ExitCode;
use std::rc::Rc;

use tokio::task::LocalSet;
use vdeplug::mmsg::BATCH;
use vdeplug::{Plug, RecvBatch, Server, ServerConfig};

type Plugs = Rc<RefCell<Vec<Rc<Plug>>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hub: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args_os().nth(1).ok_or("usage: hub DIRECTORY")?;
    let server = Server::bind(ServerConfig::new(directory))?;
    let plugs = Plugs::default();
    let hub = async {
        loop {
            match server.accept().await {
                // A task for each client, so that a silent one delays nobody.
                Ok(handshake) => {
                    let plugs = Rc::clone(&plugs);
                    tokio::task::spawn_local(async move {
                        let granted = async { handshake.read_request().await?.accept().await };
                        match granted.await {
                            Ok(plug) => serve(plug, plugs).await,
                            Err(refusal) => eprintln!("refused: {refusal}"),
                        }
                    });
                }
                Err(error) => eprintln!("accept: {error}"),
            }
        }
    };
    LocalSet::new()
        .run_until(async {
            tokio::select! { () = hub => {}, _ = tokio::signal::ctrl_c() => {} }
        })
        .await;
    Ok(())
}

async fn serve(plug: Plug, plugs: Plugs) {
    let plug = Rc::new(plug);
    println!("+ {} {:?}", plug.description(), plug.peer());
    plugs.borrow_mut().push(Rc::clone(&plug));
    let mut batch = RecvBatch::new(9234);
    let relay = async {
        while plug.readable().await.is_ok() {
            while plug.try_recv_batch(&mut batch).is_ok() {
                let mut frames = [&[][..]; BATCH];
                let mut count = 0;
                for datagram in batch.iter().filter(|d| !d.truncated) {
                    frames[count] = datagram.bytes;
                    count += 1;
                }
                for other in plugs.borrow().iter().filter(|other| !Rc::ptr_eq(other, &plug)) {
                    // What does not fit is dropped, as Ethernet does.
                    let _ = other.try_send_batch(&frames[..count]);
                }
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::select! { () = relay => {}, _ = plug.hung_up() => {} }
    println!("- {}", plug.description());
    plugs.borrow_mut().retain(|other| !Rc::ptr_eq(other, &plug));
}
