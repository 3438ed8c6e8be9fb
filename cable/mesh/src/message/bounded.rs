//! Lists and octets whose length is checked before anything is allocated for them.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A list of at most `MAX` items.
///
/// Memory grows with the items that really come, whatever length was announced.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Bounded<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> Bounded<T, MAX> {
    /// The list, cut to `MAX` items.
    pub fn truncated(mut items: Vec<T>) -> Self {
        items.truncate(MAX);
        Self(items)
    }

    /// The items.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T, const MAX: usize> Default for Bounded<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MAX: usize> Deref for Bounded<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Bounded<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T, const MAX: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Items<T, MAX> {
            type Value = Bounded<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX} items")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<Self::Value, S::Error> {
                if let Some(len) = items.size_hint()
                    && len > MAX
                {
                    return Err(S::Error::invalid_length(len, &self));
                }
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    if list.len() == MAX {
                        return Err(S::Error::invalid_length(MAX + 1, &self));
                    }
                    list.push(item);
                }
                Ok(Bounded(list))
            }
        }

        deserializer.deserialize_seq(Items(PhantomData))
    }
}

/// At most `MAX` octets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Octets<const MAX: usize>(Vec<u8>);

impl<const MAX: usize> Octets<MAX> {
    /// The octets; `None` when they are more than `MAX`.
    pub fn new(octets: Vec<u8>) -> Option<Self> {
        (octets.len() <= MAX).then_some(Self(octets))
    }
}

impl<const MAX: usize> Deref for Octets<MAX> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const MAX: usize> fmt::Debug for Octets<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} octets", self.0.len())
    }
}

impl<const MAX: usize> Serialize for Octets<MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Octets<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Raw<const MAX: usize>;

        impl<const MAX: usize> Visitor<'_> for Raw<MAX> {
            type Value = Octets<MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX} octets")
            }

            fn visit_bytes<E: Error>(self, octets: &[u8]) -> Result<Self::Value, E> {
                if octets.len() > MAX {
                    return Err(E::invalid_length(octets.len(), &self));
                }
                Ok(Octets(octets.to_vec()))
            }
        }

        deserializer.deserialize_bytes(Raw)
    }
}
