//! TLS 1.3 with raw public keys (RFC 7250): each end shows its Ed25519 key and signs the handshake
//! with it, and each end asks [`crate::trust`] about the other's. No certificate, no name, no
//! expiry, no 0-RTT (early data can be replayed).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer,
    UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, CipherSuite, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
};

use mesh::message::{ALPN, JOIN_ALPN};

use crate::identity::{Identity, PublicKey};
use crate::trust::{Trust, Verdict};

/// The server name in every handshake. It says nothing about either node.
pub const SERVER_NAME: &str = "vdenode.invalid";

/// What a handshake is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A cable: both keys must be trusted.
    Cable,
    /// A stranger asks to be let in. It proves its key, whatever that is, and is told nothing before
    /// it has proved an invitation.
    Join,
}

/// Where a handshake leaves the key that the peer showed, trusted or not, and what it is for.
pub type ShownKey = Arc<Shown>;

/// See [`ShownKey`].
#[derive(Debug, Default)]
pub struct Shown {
    key: OnceLock<PublicKey>,
    is_stranger: AtomicBool,
}

impl Shown {
    /// The key, once it was shown.
    pub fn get(&self) -> Option<&PublicKey> {
        self.key.get()
    }

    /// What the handshake is for.
    pub fn purpose(&self) -> Purpose {
        if self.is_stranger.load(Ordering::Relaxed) { Purpose::Join } else { Purpose::Cable }
    }

    fn set_purpose(&self, purpose: Purpose) {
        self.is_stranger.store(purpose == Purpose::Join, Ordering::Relaxed);
    }
}

/// What every handshake of a node shares.
#[derive(Debug, Clone)]
pub struct Tls {
    provider: Arc<CryptoProvider>,
    certified: Arc<CertifiedKey>,
    own: PublicKey,
    trust: Trust,
}

impl Tls {
    /// Prepares handshakes as `identity` with those that `trust` lists.
    ///
    /// # Errors
    /// When the TLS library does not take the key.
    pub fn new(identity: &Identity, trust: Trust) -> Result<Self, Error> {
        let provider = Arc::new(provider());
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.pkcs8()));
        let signing = provider.key_provider.load_private_key(der.clone_key())?;
        let shown = vec![CertificateDer::from(identity.public().to_spki())];
        Ok(Self {
            provider,
            certified: Arc::new(CertifiedKey::new(shown, signing)),
            own: identity.public(),
            trust,
        })
    }

    /// The configuration of one outgoing handshake.
    ///
    /// # Errors
    /// When the TLS library lacks TLS 1.3; it does not.
    pub fn client(&self, shown: ShownKey, purpose: Purpose) -> Result<rustls::ClientConfig, Error> {
        shown.set_purpose(purpose);
        let resolver =
            rustls::client::AlwaysResolvesClientRawPublicKeys::new(self.certified.clone());
        let mut config = rustls::ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(shown))
            .with_client_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![match purpose {
            Purpose::Cable => ALPN.to_vec(),
            Purpose::Join => JOIN_ALPN.to_vec(),
        }];
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }

    /// The configuration of one incoming handshake.
    ///
    /// # Errors
    /// When the TLS library lacks TLS 1.3; it does not.
    pub fn server(&self, shown: ShownKey) -> Result<rustls::ServerConfig, Error> {
        let resolver = Resolver { certified: self.certified.clone(), shown: shown.clone() };
        let mut config = rustls::ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(self.verifier(shown))
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![ALPN.to_vec(), JOIN_ALPN.to_vec()];
        config.ignore_client_order = true;
        // No session is resumed: a resumed one would not ask the trust list again.
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    fn verifier(&self, shown: ShownKey) -> Arc<Verifier> {
        Arc::new(Verifier {
            provider: self.provider.clone(),
            own: self.own,
            trust: self.trust.clone(),
            shown,
        })
    }
}

/// Shows the node's key, and notes what the client wants before the client shows its own: one that
/// offers nothing but [`JOIN_ALPN`] can only get that.
#[derive(Debug)]
struct Resolver {
    certified: Arc<CertifiedKey>,
    shown: ShownKey,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut offered = hello.alpn().into_iter().flatten().peekable();
        let is_stranger = offered.peek().is_some() && offered.all(|name| name == JOIN_ALPN);
        self.shown.set_purpose(if is_stranger { Purpose::Join } else { Purpose::Cable });
        Some(self.certified.clone())
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }
}

/// The suites of TLS 1.3, AES-128-GCM first where the processor has AES instructions (fastest there,
/// and no weaker than the 128-bit security of the key exchange), ChaCha20-Poly1305 first elsewhere.
fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| suite.tls13().is_some());
    let preference = |suite: CipherSuite| match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 if has_aes() => 0,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => 1,
        CipherSuite::TLS13_AES_128_GCM_SHA256 => 2,
        _ => 3,
    };
    provider.cipher_suites.sort_by_key(|suite| preference(suite.suite()));
    provider
}

#[cfg(target_arch = "x86_64")]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}

/// Accepts a peer whose raw key is Ed25519, trusted, and signed this very handshake; one that only
/// asks to be let in need not be trusted.
///
/// The node's own key passes, too: whoever has it needs no more trust, and the node can then say
/// that it has dialled itself.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    own: PublicKey,
    trust: Trust,
    shown: ShownKey,
}

impl Verifier {
    fn check(&self, shown: &CertificateDer<'_>, chain: &[CertificateDer<'_>]) -> Result<(), Error> {
        let key = PublicKey::from_spki(shown)
            .filter(|_| chain.is_empty())
            .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        // One verifier serves one handshake, which shows one key.
        let _ = self.shown.key.set(key);
        if key == self.own || self.shown.purpose() == Purpose::Join {
            return Ok(());
        }
        // Each has an alert of its own (RFC 8446 section 6.2), so that the peer knows why.
        Err(Error::InvalidCertificate(match self.trust.verdict(key) {
            Verdict::Trusted | Verdict::Waiting => return Ok(()),
            Verdict::Revoked => CertificateError::Revoked,
            Verdict::Expired => CertificateError::Expired,
            Verdict::Unknown => CertificateError::ApplicationVerificationFailure,
        }))
    }

    fn check_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(shown.as_ref()),
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }
}

/// TLS 1.2 is not offered, so nobody can ask for one of its signatures.
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("TLS 1.2 is not spoken here".into()))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
