//! Who a node is: an Ed25519 key made at its first start (RFC 8032), never sent anywhere.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use aws_lc_rs::hkdf;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use ether::MacAddr;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::store::{self, StoreError};

/// DER of a `SubjectPublicKeyInfo` for Ed25519 up to the key itself (RFC 8410 section 4).
const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The public half of a node's key. Text form: 52 lower-case letters and digits (base32 of
/// RFC 4648 without padding), which a double click selects whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key itself (RFC 8032).
    pub fn octets(self) -> [u8; 32] {
        self.0
    }

    /// Length of the text form.
    pub const TEXT_LEN: usize = 52;

    /// The DER `SubjectPublicKeyInfo`, as raw public keys travel in TLS (RFC 7250).
    pub fn to_spki(self) -> Vec<u8> {
        [&SPKI_PREFIX[..], &self.0].concat()
    }

    /// Reads a DER `SubjectPublicKeyInfo`; none when it is not an Ed25519 key.
    pub fn from_spki(der: &[u8]) -> Option<Self> {
        der.strip_prefix(&SPKI_PREFIX)?.try_into().ok().map(Self)
    }

    /// The first eight characters: enough to tell keys apart in a log, not to trust one.
    pub fn short(self) -> String {
        let mut text = self.to_string();
        text.truncate(8);
        text
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a node's key: {why}")]
pub struct ParseKeyError {
    text: String,
    why: &'static str,
}

impl FromStr for PublicKey {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = |why| ParseKeyError { text: text.chars().take(80).collect(), why };
        if text.len() != Self::TEXT_LEN {
            return Err(refused("a key has 52 letters and digits"));
        }
        let bytes = data_encoding::BASE32_NOPAD
            .decode(text.to_ascii_uppercase().as_bytes())
            .map_err(|_| refused("a key has only the letters a to z and the digits 2 to 7"))?;
        bytes.try_into().map(Self).map_err(|_| refused("a key has 52 letters and digits"))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a node has no identity to start with.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The state directory cannot be made or used.
    #[error("cannot use the state directory {path}: {source}; choose another with --state")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Someone else could read the secret key.
    #[error(
        "{path} can be read by others (mode {mode:03o}): its key may be known to them; \
         make a new one (delete the file) or, if you are sure, chmod 600 it"
    )]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file is there but not a key.
    #[error("{path} is not an Ed25519 key; restore it, or delete it to become a new node")]
    Damaged {
        /// The key file.
        path: PathBuf,
    },
    /// The key file cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gave no random numbers.
    #[error("the system has no random numbers for a new key")]
    Random,
}

/// A node's key pair. The secret half is wiped from memory when this is dropped.
pub struct Identity {
    pkcs8: Zeroizing<Vec<u8>>,
    public: PublicKey,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Identity {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`IdentityError::Random`].
    pub fn generate() -> Result<Self, IdentityError> {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let document =
            Ed25519KeyPair::generate_pkcs8(&random).map_err(|_| IdentityError::Random)?;
        Self::from_pkcs8(document.as_ref()).ok_or(IdentityError::Random)
    }

    /// Loads the key of a state directory (`identity.key`, mode 0600), or makes it.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn load_or_generate(directory: &Path) -> Result<Self, IdentityError> {
        let path = directory.join("identity.key");
        let in_directory = |source| IdentityError::Directory { path: directory.to_owned(), source };
        match fs::metadata(&path) {
            Ok(metadata) => {
                let mode = metadata.permissions().mode() & 0o777;
                if mode & 0o077 != 0 {
                    return Err(IdentityError::Exposed { path, mode });
                }
                let pkcs8 = fs::read(&path)
                    .map(Zeroizing::new)
                    .map_err(|source| StoreError::Read { path: path.clone(), source })?;
                Self::from_pkcs8(&pkcs8).ok_or(IdentityError::Damaged { path })
            }
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                let identity = Self::generate()?;
                store::replace(&path, &identity.pkcs8)?;
                Ok(identity)
            }
            Err(source) => Err(in_directory(source)),
        }
    }

    fn from_pkcs8(pkcs8: &[u8]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).ok()?;
        let public = PublicKey(pair.public_key().as_ref().try_into().ok()?);
        Some(Self { pkcs8: Zeroizing::new(pkcs8.to_vec()), public })
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The secret half as PKCS#8, for the TLS library alone.
    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// A MAC address for an interface of this node: locally administered, and the same at every
    /// start, so that neighbours need not learn a restarted host anew.
    pub fn interface_mac(&self, interface: &str) -> MacAddr {
        let secret = self.derive(&format!("MAC address of {interface}"));
        let [a, b, c, d, e, f, ..] = *secret;
        MacAddr([(a & !0x01) | 0x02, b, c, d, e, f])
    }

    /// A secret derived from the key for one other purpose (HKDF, RFC 5869). It is the same at
    /// every start of the node.
    pub(crate) fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        struct Length;
        impl hkdf::KeyType for Length {
            fn len(&self) -> usize {
                32
            }
        }
        let mut secret = Zeroizing::new([0; 32]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"vdecable")
            .extract(&self.pkcs8)
            .expand(&[purpose.as_bytes()], Length)
            .and_then(|key| key.fill(&mut *secret))
            .expect("32 octets are within what HKDF-SHA256 yields");
        secret
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = Identity::load_or_generate(dir.path()).unwrap();
        let mode = fs::metadata(dir.path().join("identity.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = Identity::load_or_generate(dir.path()).unwrap();
        assert_eq!(first.public(), second.public());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Identity::load_or_generate(dir.path()).unwrap();
        let path = dir.path().join("identity.key");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let err = Identity::load_or_generate(dir.path()).unwrap_err();
        assert!(matches!(err, IdentityError::Exposed { mode: 0o640, .. }), "{err}");
    }

    #[test]
    fn a_damaged_key_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        store::replace(&dir.path().join("identity.key"), b"not a key").unwrap();
        let err = Identity::load_or_generate(dir.path()).unwrap_err();
        assert!(matches!(err, IdentityError::Damaged { .. }), "{err}");
    }

    #[test]
    fn the_text_form_round_trips_and_typos_are_refused() {
        let key = Identity::generate().unwrap().public();
        let text = key.to_string();
        assert_eq!(text.len(), PublicKey::TEXT_LEN);
        assert_eq!(text.parse(), Ok(key));
        assert_eq!(text.to_ascii_uppercase().parse(), Ok(key));
        assert!(text[1..].parse::<PublicKey>().is_err());
        assert!(format!("1{}", &text[1..]).parse::<PublicKey>().is_err());
        assert_eq!(PublicKey::from_spki(&key.to_spki()), Some(key));
        assert_eq!(PublicKey::from_spki(&key.to_spki()[..43]), None);
    }

    #[test]
    fn an_interface_has_its_own_mac_address_that_stays() {
        let identity = Identity::generate().unwrap();
        let mac = identity.interface_mac("tap0");
        assert!(mac.is_local() && !mac.is_group());
        assert_eq!(identity.interface_mac("tap0"), mac);
        assert_ne!(identity.interface_mac("tap1"), mac);
        assert_ne!(Identity::generate().unwrap().interface_mac("tap0"), mac);
    }

    #[test]
    fn nothing_printed_of_an_identity_holds_the_secret() {
        let identity = Identity::generate().unwrap();
        let printed = format!("{identity:?}");
        assert!(printed.len() < 120, "only the public key is shown: {printed}");
    }
}
