//! DNS on the gateway's address: names of machines from their leases, all others from the host's own
//! resolvers, over UDP and TCP (RFC 1035 4.2, RFC 7766).

mod shares;
mod upstream;

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gateway::dhcp::Server;
use gateway::names::{Answer, Names, Transport};
use gateway::{DomainName, Subnet};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::GatewayConfig;
use super::ipv6::Ipv6;
use shares::Shares;
use upstream::Upstreams;

/// IANA, Service Names: `domain`.
const PORT: u16 = 53;

/// The longest query over UDP: no client sends more than one name and a few options.
const MAX_QUERY: usize = 4096;

/// Queries that may wait for the host's resolvers. Full: a new one is dropped, and asked again.
const FORWARDED: usize = 512;

/// How many of them one machine may have, so that one that asks for what nobody answers does not keep
/// the others from being answered. Full: the same.
const FORWARDED_OF_CLIENT: usize = 64;

/// TCP connections at once. Full: more wait in the kernel.
const CONNECTIONS: usize = 128;

/// How many of them one machine may have. Full: a new one is closed.
const CONNECTIONS_OF_CLIENT: usize = 16;

/// How long a TCP client may be silent (RFC 7766 6.2.3 asks for seconds).
const IDLE: Duration = Duration::from_secs(10);

/// How long to leave a socket alone that fails.
const PAUSE: Duration = Duration::from_millis(100);

/// Whose leases the names come from.
type Leases = Rc<RefCell<Server>>;

/// The forwarder.
#[derive(Debug)]
pub(super) struct Resolver {
    names: Names,
    subnet: Subnet,
    ipv6: Option<Ipv6>,
    leases: Leases,
    upstreams: Upstreams,
    forwarded: Arc<Semaphore>,
    forwarded_of: Shares,
    connections_of: Shares,
}

/// The zones of a gateway.
fn names(config: &GatewayConfig) -> Names {
    let domain: DomainName = config.domain.clone();
    let gateway_name = "gateway".parse().expect("it is a label");
    let (gateway, subnet) = (config.address, config.subnet);
    Names { domain: Some(domain), gateway_name, gateway, subnet }
}

async fn listen(
    address: SocketAddr,
    config: &GatewayConfig,
) -> anyhow::Result<(UdpSocket, TcpListener)> {
    let failed = |err: io::Error| match err.kind() {
        io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "cannot answer DNS on {address}: another name server of this host listens on every address; let it leave out {} (dnsmasq: bind-interfaces; unbound, bind9: list its addresses)",
            config.interface
        ),
        _ => anyhow::Error::new(err).context(format!("cannot answer DNS on {address}")),
    };
    let udp = UdpSocket::bind(address).await.map_err(failed)?;
    let tcp = TcpListener::bind(address).await.map_err(failed)?;
    Ok((udp, tcp))
}

impl Resolver {
    /// Answers from now on.
    pub(super) async fn start(
        config: &GatewayConfig,
        ipv6: Option<Ipv6>,
        leases: Leases,
        tasks: &mut JoinSet<()>,
    ) -> anyhow::Result<Rc<Self>> {
        let own = [Some(IpAddr::V4(config.address)), ipv6.map(|ipv6| ipv6.address().into())];
        let resolver = Rc::new(Self {
            names: names(config),
            subnet: config.subnet,
            ipv6,
            leases,
            upstreams: Upstreams::new(own.into_iter().flatten().collect()),
            forwarded: Arc::new(Semaphore::new(FORWARDED)),
            forwarded_of: Shares::new(FORWARDED_OF_CLIENT),
            connections_of: Shares::new(CONNECTIONS_OF_CLIENT),
        });
        for address in own.into_iter().flatten() {
            let (udp, tcp) = listen(SocketAddr::from((address, PORT)), config).await?;
            tasks.spawn_local(resolver.clone().serve_udp(Rc::new(udp)));
            tasks.spawn_local(resolver.clone().serve_tcp(tcp));
        }
        Ok(resolver)
    }

    /// The host's resolvers, as they are now.
    pub(super) fn upstreams(&self) -> Vec<SocketAddr> {
        self.upstreams.list()
    }

    /// Only machines are answered: whoever reaches this address from outside is not one.
    fn is_machine(&self, address: SocketAddr) -> bool {
        match address.ip().to_canonical() {
            IpAddr::V4(address) => self.subnet.contains(address),
            IpAddr::V6(address) => self.ipv6.is_some_and(|ipv6| ipv6.prefix.contains(address)),
        }
    }

    fn answer(&self, query: &[u8], transport: Transport) -> Answer {
        self.names.answer(query, transport, &*self.leases.borrow())
    }

    async fn serve_udp(self: Rc<Self>, socket: Rc<UdpSocket>) {
        let mut buffer = vec![0; MAX_QUERY];
        // They end with the services, and with them the last hold on the socket.
        let mut asked = JoinSet::new();
        loop {
            while asked.try_join_next().is_some() {}
            let (len, client) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(err) => {
                    tracing::debug!(%err, "no DNS query");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            if !self.is_machine(client) {
                continue;
            }
            match self.answer(&buffer[..len], Transport::Udp) {
                Answer::Drop => {}
                Answer::Reply(reply) => drop(socket.try_send_to(&reply, client)),
                Answer::Forward => {
                    let Some(share) = self.forwarded_of.take(client.ip()) else { continue };
                    let Ok(permit) = self.forwarded.clone().try_acquire_owned() else {
                        continue;
                    };
                    let (query, socket, this) =
                        (buffer[..len].to_vec(), socket.clone(), self.clone());
                    asked.spawn_local(async move {
                        let reply = this.upstreams.ask_udp(&query).await;
                        let _ = socket.try_send_to(&reply, client);
                        drop((permit, share));
                    });
                }
            }
        }
    }

    async fn serve_tcp(self: Rc<Self>, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut clients = JoinSet::new();
        loop {
            while clients.try_join_next().is_some() {}
            let place = places.clone().acquire_owned().await.expect("it is never closed");
            match listener.accept().await {
                Ok((stream, client)) if self.is_machine(client) => {
                    let Some(share) = self.connections_of.take(client.ip()) else { continue };
                    let this = self.clone();
                    clients.spawn_local(async move {
                        if let Err(err) = this.serve_client(stream).await {
                            tracing::debug!(%client, %err, "DNS client lost");
                        }
                        drop((place, share));
                    });
                }
                Ok(_) => {}
                Err(err) => {
                    tracing::debug!(%err, "no DNS client");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Answers one query after the other until the client leaves or says nothing.
    async fn serve_client(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let query = tokio::time::timeout(IDLE, read_message(&mut stream)).await;
            let Ok(Ok(query)) = query else { return Ok(()) };
            let reply = match self.answer(&query, Transport::Tcp) {
                Answer::Drop => return Ok(()),
                Answer::Reply(reply) => reply,
                Answer::Forward => self.upstreams.ask_tcp(&query).await,
            };
            tokio::time::timeout(IDLE, write_message(&mut stream, &reply)).await??;
        }
    }
}

/// RFC 1035 4.2.2: a message is preceded by its length.
async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let len = stream.read_u16().await?;
    let mut message = vec![0; len.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let len = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut octets = len.to_be_bytes().to_vec();
    octets.extend(message);
    stream.write_all(&octets).await
}
