//! Who a node is: an Ed25519 key made at its first start (RFC 8032), never sent anywhere.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use aws_lc_rs::hkdf;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use ether::MacAddr;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::geteuid;
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

    /// The key of these octets.
    pub(crate) const fn from_octets(octets: [u8; 32]) -> Self {
        Self(octets)
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

/// The file of the key that is to follow.
const NEXT: &str = "identity.next";

/// The file from which addresses of interfaces come after a change of keys.
const INTERFACES: &str = "interfaces.seed";

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
    /// The key file belongs to somebody else, who could have made it or could read it.
    #[error(
        "{path} belongs to user {owner}, and this node runs as user {own}: its key would not be its own alone; chown {own} {path}, or choose another directory with --state"
    )]
    Foreign {
        /// The key file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who this node runs as.
        own: u32,
    },
    /// The key file is a link or no file at all.
    #[error(
        "{path} is not a plain file; put the key itself there, or remove it to become a new node"
    )]
    NotAFile {
        /// What should be the key file.
        path: PathBuf,
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
    /// What addresses of interfaces come from, when the node has had another key before.
    interfaces: Option<Zeroizing<[u8; 32]>>,
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
        let mut identity = Self::load_or_generate_key(directory)?;
        identity.load_interfaces(directory)?;
        Ok(identity)
    }

    fn load_or_generate_key(directory: &Path) -> Result<Self, IdentityError> {
        let path = directory.join("identity.key");
        match read_secret(&path) {
            Ok(pkcs8) => Self::from_pkcs8(&pkcs8).ok_or(IdentityError::Damaged { path }),
            Err(IdentityError::Directory { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                let identity = Self::generate()?;
                store::replace(&path, &identity.pkcs8)?;
                Ok(identity)
            }
            Err(IdentityError::Directory { source, .. }) => {
                Err(IdentityError::Directory { path: directory.to_owned(), source })
            }
            Err(err) => Err(err),
        }
    }

    /// Makes the key that is to follow, and keeps it beside the present one (`identity.next`).
    pub(crate) fn make_next(&self, directory: &Path) -> Result<Self, IdentityError> {
        let next = Self::generate()?;
        // Neighbours would not know the host's interfaces for half a minute.
        store::replace(&directory.join(INTERFACES), &*self.interface_secret())?;
        store::replace(&directory.join(NEXT), &next.pkcs8)?;
        Ok(next)
    }

    fn load_interfaces(&mut self, directory: &Path) -> Result<(), IdentityError> {
        let path = directory.join(INTERFACES);
        if let Some(secret) = read_if_there(&path)? {
            let secret: [u8; 32] =
                secret[..].try_into().map_err(|_| IdentityError::Damaged { path })?;
            self.interfaces = Some(Zeroizing::new(secret));
        }
        Ok(())
    }

    fn interface_secret(&self) -> Zeroizing<[u8; 32]> {
        self.interfaces.clone().unwrap_or_else(|| self.derive("interfaces"))
    }

    /// The key that is to follow, if one was made.
    pub(crate) fn load_next(directory: &Path) -> Result<Option<Self>, IdentityError> {
        let path = directory.join(NEXT);
        let Some(pkcs8) = read_if_there(&path)? else { return Ok(None) };
        let mut next = Self::from_pkcs8(&pkcs8).ok_or(IdentityError::Damaged { path })?;
        next.load_interfaces(directory)?;
        Ok(Some(next))
    }

    /// Puts the key that is to follow in the place of the present one, which is gone then.
    pub(crate) fn promote_next(directory: &Path) -> Result<(), IdentityError> {
        store::rename(&directory.join(NEXT), &directory.join("identity.key"))?;
        Ok(())
    }

    /// Forgets the key that was to follow.
    pub(crate) fn drop_next(directory: &Path) -> Result<(), IdentityError> {
        let path = directory.join(NEXT);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::Write { path, source }.into())
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn from_pkcs8(pkcs8: &[u8]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).ok()?;
        let public = PublicKey(pair.public_key().as_ref().try_into().ok()?);
        Some(Self { pkcs8: Zeroizing::new(pkcs8.to_vec()), public, interfaces: None })
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
        let secret = expand(&*self.interface_secret(), &format!("MAC address of {interface}"));
        let [a, b, c, d, e, f, ..] = *secret;
        MacAddr([(a & !0x01) | 0x02, b, c, d, e, f])
    }

    /// A secret derived from the key for one other purpose (HKDF, RFC 5869). It is the same at
    /// every start of the node.
    pub(crate) fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        expand(&self.pkcs8, purpose)
    }
}

/// The longest file that could be a key; a PKCS#8 document of an Ed25519 key has 83 octets.
const MAX_KEY_FILE: u64 = 4096;

/// The same, of a file that need not be there.
fn read_if_there(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, IdentityError> {
    match read_secret(path) {
        Err(IdentityError::Directory { source, .. })
            if source.kind() == io::ErrorKind::NotFound =>
        {
            Ok(None)
        }
        read => read.map(Some),
    }
}

/// Reads a file that only its owner may read, who must be this process's user. What is checked is what
/// is read, whatever its name means meanwhile.
fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).expect("flags of open(2) are an int"))
        .open(path);
    let file = opened.map_err(|source| match source.raw_os_error() {
        Some(code) if code == Errno::LOOP.raw_os_error() => {
            IdentityError::NotAFile { path: path.to_owned() }
        }
        _ => IdentityError::Directory { path: path.to_owned(), source },
    })?;
    let unreadable = |source| StoreError::Read { path: path.to_owned(), source };
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(IdentityError::NotAFile { path: path.to_owned() });
    }
    let (owner, own) = (metadata.uid(), geteuid().as_raw());
    if owner != own {
        return Err(IdentityError::Foreign { path: path.to_owned(), owner, own });
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::Exposed { path: path.to_owned(), mode });
    }
    // All at once: a buffer that grows would leave copies behind.
    let mut octets = Zeroizing::new(Vec::with_capacity(4096));
    file.take(MAX_KEY_FILE).read_to_end(&mut octets).map_err(unreadable)?;
    Ok(octets)
}

/// A secret for one purpose out of another one (HKDF, RFC 5869).
pub(crate) fn expand(secret: &[u8], purpose: &str) -> Zeroizing<[u8; 32]> {
    struct Length;
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            32
        }
    }
    let mut derived = Zeroizing::new([0; 32]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"vdecable")
        .extract(secret)
        .expand(&[purpose.as_bytes()], Length)
        .and_then(|key| key.fill(&mut *derived))
        .expect("32 octets are within what HKDF-SHA256 yields");
    derived
}

#[cfg(test)]
mod tests {
    use std::fs;

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
    fn a_key_that_is_somebody_elses_or_elsewhere_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Identity::load_or_generate(dir.path()).unwrap();
        let path = dir.path().join("identity.key");
        fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        let err = Identity::load_or_generate(dir.path()).unwrap_err();
        assert!(matches!(err, IdentityError::NotAFile { .. }), "{err}");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let err = Identity::load_or_generate(dir.path()).unwrap_err();
        assert!(matches!(err, IdentityError::NotAFile { .. }), "{err}");
        fs::remove_dir(&path).unwrap();
        fs::rename(dir.path().join("elsewhere"), &path).unwrap();
        // Only root can give a file away.
        if geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(60001), None).unwrap();
            let err = Identity::load_or_generate(dir.path()).unwrap_err();
            assert!(matches!(err, IdentityError::Foreign { owner: 60001, .. }), "{err}");
            assert!(err.to_string().contains("chown 0 "), "{err}");
        }
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
