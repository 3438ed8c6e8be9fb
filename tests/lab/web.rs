//! A web server in a namespace: one page, under every name.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use rustix::net::{Shutdown, shutdown};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::netns::Netns;

/// How long a visitor may take for a line, or for what is sent to him.
const PATIENCE: Duration = Duration::from_secs(30);

/// The server; it ends when it is dropped.
#[derive(Debug)]
pub struct WebServer {
    listener: Arc<TcpListener>,
    serving: Option<JoinHandle<()>>,
}

impl WebServer {
    /// Shows `page` at port 80 of every address of a namespace.
    ///
    /// # Errors
    ///
    /// When the port is taken.
    ///
    /// # Panics
    ///
    /// When no thread can be started.
    pub fn start(netns: &Netns, page: Vec<u8>) -> Result<Self> {
        let path = format!("/run/netns/{}", netns.name());
        // Only a thread of its own may live in another namespace.
        let listening = std::thread::spawn(move || -> Result<TcpListener> {
            let namespace = File::open(&path).with_context(|| format!("no namespace {path}"))?;
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .context("cannot enter a namespace")?;
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80)).context("port 80 is taken")
        });
        let listener =
            listening.join().map_err(|_| anyhow!("a web server's thread panicked"))??;
        let listener = Arc::new(listener);
        let shared = listener.clone();
        let serving = std::thread::spawn(move || {
            while let Ok((visitor, _)) = shared.accept() {
                // Who leaves early is his own affair.
                let _ = serve(visitor, &page);
            }
        });
        Ok(Self { listener, serving: Some(serving) })
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        // This ends `accept`; a failure would leave a thread that the test's end ends.
        if shutdown(&*self.listener, Shutdown::Both).is_ok()
            && let Some(serving) = self.serving.take()
        {
            let _ = serving.join();
        }
    }
}

fn serve(mut visitor: TcpStream, page: &[u8]) -> io::Result<()> {
    visitor.set_read_timeout(Some(PATIENCE))?;
    visitor.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(&visitor).lines();
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let header = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: application/octet-stream\r\n\
         Connection: close\r\n\r\n",
        page.len()
    );
    visitor.write_all(header.as_bytes())?;
    visitor.write_all(page)
}
