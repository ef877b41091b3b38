//! Writing JSON with the spelling of numbers and text that existing clients use.

use marblerun_client::rest::go_json_string;

use super::scalar::Scalar;
use super::{Kind, Node};

/// Compact JSON with sorted keys.
///
/// # Errors
/// It is longer than `limit` bytes, or holds a number that JSON has no place for.
pub(super) fn to_json(node: &Node, limit: usize) -> Result<String, String> {
    let mut writer = Writer {
        json: String::new(),
        limit,
    };
    writer.node(node)?;
    Ok(writer.json)
}

struct Writer {
    json: String,
    limit: usize,
}

impl Writer {
    /// Recursion is bounded: nodes know their depth, and deep ones are refused before.
    fn node(&mut self, node: &Node) -> Result<(), String> {
        match &node.kind {
            Kind::Scalar(scalar) => self.scalar(scalar),
            Kind::List(elements) => {
                self.push("[")?;
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        self.push(",")?;
                    }
                    self.node(element)?;
                }
                self.push("]")
            }
            Kind::Map(entries) => {
                self.push("{")?;
                for (index, (name, value)) in entries.iter().enumerate() {
                    if index > 0 {
                        self.push(",")?;
                    }
                    self.text(name)?;
                    self.push(":")?;
                    self.node(value)?;
                }
                self.push("}")
            }
        }
    }

    fn scalar(&mut self, scalar: &Scalar) -> Result<(), String> {
        match scalar {
            Scalar::Null => self.push("null"),
            Scalar::Bool(true) => self.push("true"),
            Scalar::Bool(false) => self.push("false"),
            Scalar::Integer(value) => self.push(&value.to_string()),
            Scalar::Float(value) => self.push(&float(*value).ok_or(NOT_FINITE)?),
            Scalar::Text(text) => self.text(text),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), String> {
        let text = go_json_string(text).map_err(|error| error.to_string())?;
        self.push(&text)
    }

    fn push(&mut self, json: &str) -> Result<(), String> {
        if self.json.len().saturating_add(json.len()) > self.limit {
            return Err(format!(
                "longer than {} bytes when its aliases are expanded",
                self.limit
            ));
        }
        self.json.push_str(json);
        Ok(())
    }
}

/// Why infinities are refused.
pub(super) const NOT_FINITE: &str = "infinity and not-a-number have no place in JSON";

/// The shortest digits; with an exponent below 1e-6 and from 1e21 on.
fn float(value: f64) -> Option<String> {
    if !value.is_finite() {
        return None;
    }
    if value == 0.0 || (1e-6..1e21).contains(&value.abs()) {
        return Some(format!("{value}"));
    }
    let shortest = format!("{value:e}");
    Some(match shortest.split_once('e') {
        Some((mantissa, exponent)) if !exponent.starts_with('-') => format!("{mantissa}e+{exponent}"),
        _ => shortest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats() {
        for (value, written) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (685_230.15, "685230.15"),
            (1e20, "100000000000000000000"),
            (18_446_744_073_709_551_616.0, "18446744073709552000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (-1e21, "-1e+21"),
            (0.000_001, "0.000001"),
            (0.000_000_1, "1e-7"),
            (-1.25e-10, "-1.25e-10"),
        ] {
            assert_eq!(float(value).unwrap(), written);
        }
        assert_eq!(float(f64::INFINITY), None);
        assert_eq!(float(f64::NAN), None);
    }
}
