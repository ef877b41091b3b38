//! A JSON object whose keys are names chosen by users.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde::{Serialize, Serializer};

/// Values by name, written sorted by the bytes of the name. Names are case-sensitive; a repeated name is an
/// error, `null` is no names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<T>(pub BTreeMap<String, T>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> FromIterator<(String, T)> for Named<T> {
    fn from_iter<I: IntoIterator<Item = (String, T)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl<T: Serialize> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NamedVisitor(PhantomData))
    }
}

struct NamedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for NamedVisitor<T> {
    type Value = Named<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with names as keys, or null")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(Named::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut named = BTreeMap::new();
        while let Some(name) = entries.next_key::<String>()? {
            if named.contains_key(&name) {
                return Err(A::Error::custom(format_args!("duplicate name {name:?}")));
            }
            let value = entries.next_value()?;
            named.insert(name, value);
        }
        Ok(Named(named))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_case_sensitive() {
        let read = |json: &str| serde_json::from_str::<Named<u8>>(json);
        assert_eq!(read(r#"{"b":1,"B":2}"#).unwrap().0.len(), 2);
        assert_eq!(read("null").unwrap(), Named::default());
        let error = read(r#"{"b":1,"b":2}"#).unwrap_err().to_string();
        assert!(error.contains(r#"duplicate name "b""#), "{error}");
        assert!(
            read("[]")
                .unwrap_err()
                .to_string()
                .contains("an object with names as keys")
        );
    }
}
