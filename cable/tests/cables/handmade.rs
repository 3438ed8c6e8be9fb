//! A peer made by hand from quinn and rustls, to say what a node never says.

use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use cable::PublicKey;
use cable::tls::SERVER_NAME;
use mesh::Nick;
use mesh::message::{Capabilities, Hello, Message, Name, VersionRange, encode};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, RecvStream, SendStream};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};

/// DER of a `SubjectPublicKeyInfo` for Ed25519 up to the key itself (RFC 8410 section 4).
const SPKI_PREFIX: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// A key pair that belongs to no node.
pub(crate) struct Pair {
    pub(crate) key: PublicKey,
    pub(crate) signing: Arc<dyn SigningKey>,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let spki = [SPKI_PREFIX, pair.public_key().as_ref()].concat();
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.as_ref().to_vec()));
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        Self {
            key: PublicKey::from_spki(&spki).unwrap(),
            signing: provider.key_provider.load_private_key(der).unwrap(),
        }
    }

    /// What it shows and signs with.
    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        certified(self.key, self.signing.clone())
    }
}

/// Shows one key and signs with that or another.
pub(crate) fn certified(shown: PublicKey, signing: Arc<dyn SigningKey>) -> Arc<CertifiedKey> {
    certified_octets(shown.to_spki(), signing)
}

/// Shows anything and signs with a key.
pub(crate) fn certified_octets(shown: Vec<u8>, signing: Arc<dyn SigningKey>) -> Arc<CertifiedKey> {
    let shown = CertificateDer::from(shown);
    Arc::new(CertifiedKey::new(vec![shown], signing))
}

/// How a handmade client proves who it is.
#[derive(Debug)]
pub(crate) enum Proof {
    /// By a raw key.
    RawKey(Arc<CertifiedKey>),
    /// By a certificate, as browsers and servers do.
    Certificate(Arc<CertifiedKey>),
    /// Not at all, though it knows raw keys.
    Nothing,
    /// Not at all.
    None,
}

/// Believes whatever it is shown.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        unreachable!("QUIC has TLS 1.3 only")
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Credulous {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        unreachable!("QUIC has TLS 1.3 only")
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct Nothing;

impl ResolvesClientCert for Nothing {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct CertificateOf(Arc<CertifiedKey>);

impl ResolvesClientCert for CertificateOf {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn versions() -> Vec<&'static rustls::SupportedProtocolVersion> {
    vec![&rustls::version::TLS13]
}

/// A client endpoint.
pub(crate) struct Client {
    endpoint: quinn::Endpoint,
}

impl Client {
    pub(crate) fn new(proof: Proof, alpn: &[u8]) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions())
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Credulous));
        let mut tls = match proof {
            Proof::RawKey(key) => builder
                .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(key))),
            Proof::Certificate(key) => {
                builder.with_client_cert_resolver(Arc::new(CertificateOf(key)))
            }
            Proof::Nothing => builder.with_client_cert_resolver(Arc::new(Nothing)),
            Proof::None => builder.with_no_client_auth(),
        };
        tls.alpn_protocols = vec![alpn.to_vec()];
        let crypto = QuicClientConfig::try_from(tls).unwrap();
        let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
        Self { endpoint }
    }

    /// A client with a key that proves itself and speaks the right version.
    pub(crate) fn honest(pair: &Pair) -> Self {
        Self::new(Proof::RawKey(pair.certified()), mesh::message::ALPN)
    }

    /// Begins a handshake.
    pub(crate) fn knock(&self, at: SocketAddr) -> quinn::Connecting {
        self.endpoint.connect(at, SERVER_NAME).unwrap()
    }

    /// Connects, and waits until the server has said what it thinks of the client's key: a client
    /// is done with the handshake before that.
    pub(crate) async fn connect(&self, at: SocketAddr) -> Connection {
        self.knock(at).await.unwrap()
    }

    /// Connects and introduces itself.
    pub(crate) async fn introduce(&self, at: SocketAddr) -> (Connection, SendStream, RecvStream) {
        let connection = self.connect(at).await;
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(&hello(1, 1)).await.unwrap();
        let mut length = [0; 4];
        recv.read_exact(&mut length).await.unwrap();
        let mut theirs = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        recv.read_exact(&mut theirs).await.unwrap();
        (connection, send, recv)
    }
}

/// A server endpoint that trusts everyone.
pub(crate) fn server(pair: &Pair, alpn: &[u8]) -> quinn::Endpoint {
    server_that_shows(pair.certified(), alpn)
}

/// The same with a proof of any kind.
pub(crate) fn server_that_shows(proof: Arc<CertifiedKey>, alpn: &[u8]) -> quinn::Endpoint {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions())
        .unwrap()
        .with_client_cert_verifier(Arc::new(Credulous))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(proof)));
    tls.alpn_protocols = vec![alpn.to_vec()];
    let crypto = QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap()
}

/// A Hello with these versions.
pub(crate) fn hello(min: u16, max: u16) -> Vec<u8> {
    encode(&Message::Hello(Hello {
        versions: VersionRange { min, max },
        node_name: Name::new("handmade").unwrap(),
        nick: Nick::new(9).unwrap(),
        software: Name::default(),
        max_frame: 1514,
        capabilities: Capabilities::default(),
        cable: 1,
    }))
}
