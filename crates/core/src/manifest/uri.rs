//! URIs: Go's `url.URL` in its JSON form, or a plain string.

use super::document::Node;
use super::field::Field;

const FIELDS: &[&str] = &[
    "Scheme",
    "Opaque",
    "Host",
    "Path",
    "RawPath",
    "ForceQuery",
    "RawQuery",
    "Fragment",
    "RawFragment",
    // Go writes no content of it into JSON, and how it leaves out an empty host makes no difference here.
    "User",
    "OmitHost",
];

/// Reads a URI and puts it together (RFC 3986 section 5.3).
pub(super) fn read(field: &Field<'_, '_>) -> Option<String> {
    let text = match field.given() {
        Some(Node::Text(text)) => text.to_string(),
        Some(Node::Object(_)) => put_together(field)?,
        _ => {
            field.expected("a URI as an object with Scheme, Host, Path, RawQuery, or as a string");
            return None;
        }
    };
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        field.problem("expected a URI in printable ASCII without blanks, as X.509 encodes it");
        return None;
    }
    Some(text)
}

fn put_together(field: &Field<'_, '_>) -> Option<String> {
    let object = field.object(FIELDS).ok()?;
    let user = object.field("User");
    if !user.is_zero() {
        user.problem("a user in a URI is not supported");
    }
    let part = |name| object.field(name).text().ok().map(Option::unwrap_or_default);
    let (scheme, opaque, host) = (part("Scheme")?, part("Opaque")?, part("Host")?);
    let (path, raw_path) = (part("Path")?, part("RawPath")?);
    let (query, fragment, raw_fragment) = (part("RawQuery")?, part("Fragment")?, part("RawFragment")?);
    let force_query = object.field("ForceQuery").flag();

    let mut uri = String::new();
    if !scheme.is_empty() {
        uri.push_str(scheme);
        uri.push(':');
    }
    if opaque.is_empty() {
        if !host.is_empty() || (!scheme.is_empty() && path.starts_with('/')) {
            uri.push_str("//");
            uri.push_str(host);
        }
        if !host.is_empty() && !path.is_empty() && !path.starts_with('/') {
            uri.push('/');
        }
        uri.push_str(&escaped(path, raw_path, b"/:@!$&'()*+,;=-._~"));
    } else {
        uri.push_str(opaque);
    }
    if force_query || !query.is_empty() {
        uri.push('?');
        uri.push_str(query);
    }
    if !fragment.is_empty() {
        uri.push('#');
        uri.push_str(&escaped(fragment, raw_fragment, b"/?:@!$&'()*+,;=-._~"));
    }
    Some(uri)
}

/// The author's own escaping where it stands for the same text, else one of ours.
fn escaped(text: &str, raw: &str, plain: &[u8]) -> String {
    if !raw.is_empty() && unescape(raw).as_deref() == Some(text.as_bytes()) {
        return raw.to_owned();
    }
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            bytes.extend(hex::decode(digits).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    Some(bytes)
}
