//! Reading bodies as forgiving clients write them.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::CowStrDeserializer;
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, Error as _, Expected, MapAccess, SeqAccess, Unexpected,
    Visitor,
};
use serde::forward_to_deserialize_any;

/// A body that is not what was expected: the place, what stands there (its kind, never its value: it may be a
/// secret) and what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyError(String);

impl BodyError {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for BodyError {}

/// Reads a JSON body: names of fields match ignoring ASCII case, unknown fields are ignored, a repeated field
/// (in whatever spelling) is an error, as is anything behind the value.
///
/// `T` is a structure, a map or a list of such; enumerations have no place in request bodies.
///
/// # Errors
/// See [`BodyError`].
pub fn read_body<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, BodyError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(Folding(&mut json)).map_err(|error| {
        let path = error.path().to_string();
        // `?`: it broke off before there was a name.
        if path == "." || path == "?" {
            BodyError(error.inner().to_string())
        } else {
            BodyError(format!("{path}: {}", error.inner()))
        }
    })?;
    json.end().map_err(|error| BodyError(error.to_string()))?;
    Ok(value)
}

/// For fields that clients send as `null` when they have nothing to say.
pub(super) fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Passes everything through, but spells the keys of structures as the structure does.
struct Folding<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Folding<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(FoldingVisitor {
            inner: visitor,
            fields: None,
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(FoldingVisitor {
            inner: visitor,
            fields: Some(fields),
        })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_option(FoldingVisitor {
            inner: visitor,
            fields: None,
        })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_ignored_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map enum identifier
    }
}

struct FoldingVisitor<V> {
    inner: V,
    /// The fields of the structure that is read; `None`: something else.
    fields: Option<&'static [&'static str]>,
}

/// Scalars meet the visitor under an error type that drops them, see [`Redacted`]; a structure takes none.
macro_rules! scalars {
    ($($method:ident($type:ty): $kind:literal,)*) => {$(
        fn $method<E: de::Error>(self, value: $type) -> Result<Self::Value, E> {
            if self.fields.is_some() {
                return Err(E::custom(concat!("invalid type: ", $kind, ", expected an object")));
            }
            self.inner.$method::<Redacted>(value).map_err(Redacted::into)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for FoldingVisitor<V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.fields.is_some() {
            formatter.write_str("an object")
        } else {
            self.inner.expecting(formatter)
        }
    }

    scalars! {
        visit_bool(bool): "a boolean",
        visit_i64(i64): "an integer",
        visit_u64(u64): "an integer",
        visit_f64(f64): "a number that is no integer",
        visit_str(&str): "a string",
        visit_string(String): "a string",
        visit_borrowed_str(&'de str): "a string",
        visit_bytes(&[u8]): "a string",
        visit_borrowed_bytes(&'de [u8]): "a string",
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        if self.fields.is_some() {
            return Err(E::custom("invalid type: null, expected an object"));
        }
        self.inner.visit_unit::<Redacted>().map_err(Redacted::into)
    }

    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
        self.inner.visit_none::<Redacted>().map_err(Redacted::into)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        self.inner.visit_some(Folding(deserializer))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<Self::Value, A::Error> {
        if self.fields.is_some() {
            // Derived structures would take a list field by field.
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        }
        self.inner.visit_seq(FoldingElements(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        self.inner.visit_map(FoldingEntries {
            entries,
            fields: self.fields,
        })
    }
}

struct FoldingElements<A>(A);

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for FoldingElements<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(FoldingSeed(seed))
    }
}

struct FoldingEntries<A> {
    entries: A,
    fields: Option<&'static [&'static str]>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for FoldingEntries<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let Some(fields) = self.fields else {
            return self.entries.next_key_seed(seed);
        };
        let Some(key) = self.entries.next_key::<Cow<'de, str>>()? else {
            return Ok(None);
        };
        let key = match fields.iter().find(|field| field.eq_ignore_ascii_case(&key)) {
            Some(field) => Cow::Borrowed(*field),
            None => key,
        };
        seed.deserialize(CowStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.entries.next_value_seed(FoldingSeed(seed))
    }
}

struct FoldingSeed<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for FoldingSeed<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Folding(deserializer))
    }
}

/// An error without the value that caused it: serde's own texts quote strings and numbers.
#[derive(Debug)]
struct Redacted(String);

impl Redacted {
    fn into<E: de::Error>(self) -> E {
        E::custom(self.0)
    }
}

impl fmt::Display for Redacted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Redacted {}

impl de::Error for Redacted {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(format!("invalid type: {}, expected {expected}", kind(unexpected)))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(format!(
            "invalid value: {}, expected {expected}",
            kind(unexpected)
        ))
    }
}

fn kind(unexpected: Unexpected<'_>) -> &'static str {
    match unexpected {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
        Unexpected::Float(_) => "a number that is no integer",
        Unexpected::Char(_) | Unexpected::Str(_) | Unexpected::Bytes(_) => "a string",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "an array",
        Unexpected::Map => "an object",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::super::{Base64Bytes, Base64Secret, Named};
    use super::*;

    #[derive(Deserialize, Debug, Default, PartialEq)]
    #[serde(default, rename_all = "camelCase")]
    struct Inner {
        some_value: u64,
        bytes: Option<Base64Bytes>,
    }

    #[derive(Deserialize, Debug, Default, PartialEq)]
    #[serde(default, rename_all = "camelCase")]
    struct Outer {
        manifest: Base64Bytes,
        inner: Named<Inner>,
        list: Vec<Inner>,
        #[serde(deserialize_with = "null_is_default")]
        count: u64,
    }

    fn error(body: &str) -> String {
        read_body::<Outer>(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn names_match_ignoring_case_at_any_depth() {
        let outer: Outer = read_body(
            br#"{"MANIFEST":"aGk=","more":{"a":[1]},"Inner":{"Name":{"SOMEVALUE":7,"Bytes":null}},"LIST":[{"somevalue":8}],"count":null}"#,
        )
        .unwrap();
        assert_eq!(outer.manifest.0, b"hi");
        assert_eq!(
            outer.inner.0.get("Name"),
            Some(&Inner {
                some_value: 7,
                bytes: None
            })
        );
        assert_eq!(
            outer.list,
            [Inner {
                some_value: 8,
                bytes: None
            }]
        );
        assert_eq!(read_body::<Outer>(b" {} ").unwrap(), Outer::default());
    }

    #[test]
    fn escaped_keys_are_the_same_keys() {
        let outer: Outer = read_body(br#"{"\u004danifest":"aGk="}"#).unwrap();
        assert_eq!(outer.manifest.0, b"hi");
    }

    #[test]
    fn repeated_fields_are_named() {
        assert!(error(r#"{"manifest":"","Manifest":""}"#).contains("duplicate field `manifest`"));
        assert!(
            error(r#"{"inner":{"x":{"bytes":"","BYTES":""}}}"#).contains("inner.x: duplicate field `bytes`")
        );
        assert!(error(r#"{"inner":{"x":{},"x":{}}}"#).contains(r#"duplicate name "x""#));
    }

    #[test]
    fn places_are_named_and_values_are_not() {
        let found = error(r#"{"inner":{"x":{"someValue":"hunter2"}}}"#);
        assert!(
            found.starts_with("inner.x.someValue: invalid type: a string, expected u64"),
            "{found}"
        );
        assert!(!found.contains("hunter2"), "{found}");
        let found = error(r#"{"inner":{"x":"hunter2"}}"#);
        assert!(
            found.starts_with("inner.x: invalid type: a string, expected an object"),
            "{found}"
        );
        assert!(!found.contains("hunter2"), "{found}");
        let found = error(r#"{"count":-4711}"#);
        assert!(found.contains("an integer") && !found.contains("4711"), "{found}");
        let found = read_body::<Base64Secret>(b"4711").err().unwrap().to_string();
        assert!(
            found.contains("a string in base64") && !found.contains("4711"),
            "{found}"
        );
        let found = error(r#"{"manifest":"hunter2!"}"#);
        assert!(
            found.starts_with("manifest: not base64") && !found.contains("hunter2"),
            "{found}"
        );
    }

    #[test]
    fn broken_bodies() {
        assert!(error("").contains("EOF"));
        assert!(error("{").starts_with("EOF"), "{}", error("{"));
        assert!(error("{bad").contains("line 1 column 2"));
        assert!(error("{} x").contains("trailing characters"));
        assert!(error("[]").contains("expected an object"));
        assert!(error("\"x\"").contains("expected an object"));
        assert!(error("null").contains("expected an object"));
        assert!(error(&"[".repeat(100_000)).contains("expected an object"));
        assert!(error(&format!("{{\"x\":{}", "[".repeat(100_000))).contains("EOF"));
    }
}
