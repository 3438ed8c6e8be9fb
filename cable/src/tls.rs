//! TLS 1.3 with raw public keys (RFC 7250): each end shows its Ed25519 key and signs the handshake
//! with it, and each end looks the other's key up in its trust list. No certificate, no name, no
//! expiry, no 0-RTT (early data can be replayed).

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer,
    UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, CipherSuite, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
};

use crate::identity::{Identity, PublicKey};
use crate::trust::Trust;

/// The server name in every handshake. It says nothing about either node.
pub const SERVER_NAME: &str = "vdenode.invalid";

/// Where a handshake leaves the key that the peer showed, trusted or not.
pub type ShownKey = Arc<OnceLock<PublicKey>>;

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
    pub fn client(&self, shown: ShownKey) -> Result<rustls::ClientConfig, Error> {
        let resolver =
            rustls::client::AlwaysResolvesClientRawPublicKeys::new(self.certified.clone());
        let mut config = rustls::ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(shown))
            .with_client_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![mesh::message::ALPN.to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }

    /// The configuration of one incoming handshake.
    ///
    /// # Errors
    /// When the TLS library lacks TLS 1.3; it does not.
    pub fn server(&self, shown: ShownKey) -> Result<rustls::ServerConfig, Error> {
        let resolver =
            rustls::server::AlwaysResolvesServerRawPublicKeys::new(self.certified.clone());
        let mut config = rustls::ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(self.verifier(shown))
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![mesh::message::ALPN.to_vec()];
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

/// Accepts a peer whose raw key is Ed25519, on the trust list, and signed this very handshake.
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
        let _ = self.shown.set(key);
        if key == self.own || self.trust.contains(key) {
            Ok(())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
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
