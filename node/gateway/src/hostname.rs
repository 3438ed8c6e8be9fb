//! Names of machines and of the domain they live in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest label of a name, in octets (RFC 1035 2.3.4).
const MAX_LABEL: usize = 63;

/// The longest name in text form (RFC 1035 2.3.4: 255 octets on the wire).
const MAX_NAME: usize = 253;

/// One label of letters, digits and inner hyphens, lower case, 1 to 63 octets (RFC 1123 2.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hostname(String);

/// One or more labels joined by dots, lower case, at most 253 octets, without the final dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainName(String);

/// The text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a name; a label has 1 to 63 letters, digits and hyphens, and no hyphen at its ends"
)]
pub struct NameError(String);

impl Hostname {
    /// Reads what a client calls itself: trailing NULs are dropped, a domain is cut off, the rest
    /// must be a label. A name of digits alone would look like an address and is refused.
    pub fn from_client(octets: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(octets).ok()?.trim_end_matches('\0');
        let label = text.split('.').next()?;
        let number = label.bytes().all(|b| b.is_ascii_digit());
        if number { None } else { label.parse().ok() }
    }

    /// The same name with `-number` behind it, shortened where it would be too long.
    pub fn numbered(&self, number: u32) -> Self {
        let suffix = format!("-{number}");
        let stem = &self.0[..self.0.len().min(MAX_LABEL - suffix.len())];
        Self(format!("{}{suffix}", stem.trim_end_matches('-')))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl DomainName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels, leftmost first.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn refused(text: &str) -> NameError {
    NameError(text.chars().take(80).collect())
}

impl FromStr for Hostname {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_label(text) { Ok(Self(text.to_ascii_lowercase())) } else { Err(refused(text)) }
    }
}

impl FromStr for DomainName {
    type Err = NameError;

    /// A final dot is taken and dropped.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.len() <= MAX_NAME && name.split('.').all(is_label) {
            Ok(Self(name.to_ascii_lowercase()))
        } else {
            Err(refused(text))
        }
    }
}

macro_rules! text_form {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    )*};
}

text_form!(Hostname, DomainName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_end_its_name_with_nul_and_append_its_domain() {
        for (sent, name) in [
            (&b"vm1"[..], Some("vm1")),
            (b"VM1\0", Some("vm1")),
            (b"vm1.example.org", Some("vm1")),
            (b"vm-1\0\0", Some("vm-1")),
            (b"", None),
            (b"\0", None),
            (b"-vm", None),
            (b"vm_1", None),
            (b"v m", None),
            (b"10", None),
            (b"vm1\0x", None),
            (b"\xff\xfe", None),
            (&[b'a'; 64], None),
        ] {
            let read = Hostname::from_client(sent);
            assert_eq!(read.as_ref().map(Hostname::as_str), name, "{sent:?}");
        }
    }

    #[test]
    fn a_numbered_name_is_still_a_label() {
        let long = Hostname("a".repeat(63)).numbered(17);
        assert!(is_label(long.as_str()) && long.as_str().ends_with("a-17"));
        assert_eq!(Hostname(format!("{}-b", "a".repeat(60))).numbered(2).as_str().len(), 62);
    }

    #[test]
    fn a_domain_is_labels_joined_by_dots() {
        assert_eq!("Mesh.Internal.".parse::<DomainName>().unwrap().as_str(), "mesh.internal");
        for text in ["", ".", "a..b", "-a.b", "a b"] {
            assert!(text.parse::<DomainName>().is_err(), "{text:?} was accepted");
        }
        assert!(vec!["a"; 127].join(".").parse::<DomainName>().is_ok());
        assert!(vec!["a"; 128].join(".").parse::<DomainName>().is_err());
    }
}
