//! Certificates in PEM, read strictly: nothing may stand between, before or behind them.

use x509_cert::der::pem;

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";

/// The DER of each certificate. At most `limit` certificates; line ends may be LF or CRLF, and one zero byte may
/// follow, as Intel's quoting library writes it.
///
/// # Errors
/// What is wrong with the text, for a message.
pub(crate) fn certificates(text: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, String> {
    let mut rest = text.strip_suffix(b"\0").unwrap_or(text);
    let mut list = Vec::new();
    while !rest.is_empty() {
        if list.len() == limit {
            return Err(format!("more than {limit} certificates"));
        }
        let block = take_block(&mut rest)
            .ok_or_else(|| format!("no PEM certificate at number {}", list.len() + 1))?;
        let (label, der) =
            pem::decode_vec(block).map_err(|error| format!("PEM certificate {}: {error}", list.len() + 1))?;
        if label != "CERTIFICATE" {
            return Err(format!("PEM block of {label:?} among certificates"));
        }
        list.push(der);
    }
    Ok(list)
}

/// A block from its first to its last dash; the line ends behind it are taken off too.
fn take_block<'t>(rest: &mut &'t [u8]) -> Option<&'t [u8]> {
    if !rest.starts_with(BEGIN) {
        return None;
    }
    let end = rest.windows(END.len()).position(|window| window == END)?;
    let (block, mut after) = rest.split_at_checked(end + END.len())?;
    while let Some(next) = after.strip_prefix(b"\n").or_else(|| after.strip_prefix(b"\r\n")) {
        after = next;
    }
    *rest = after;
    Some(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";

    #[test]
    fn several_are_read_in_order() {
        let two = ONE.replace("MAA=", "MAE=");
        let text = format!("{ONE}{two}\n");
        assert_eq!(
            certificates(text.as_bytes(), 2),
            Ok(vec![vec![0x30, 0], vec![0x30, 1]])
        );
        assert_eq!(certificates(format!("{ONE}\0").as_bytes(), 2).unwrap().len(), 1);
        assert_eq!(
            certificates(ONE.replace('\n', "\r\n").as_bytes(), 2)
                .unwrap()
                .len(),
            1
        );
        assert_eq!(certificates(b"", 2), Ok(Vec::new()));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            format!(" {ONE}"),
            format!("text\n{ONE}"),
            format!("{ONE}text"),
            format!("{ONE}\0\0"),
            ONE.replace("END", "XND"),
            ONE.replace("CERTIFICATE", "PUBLIC KEY"),
            ONE.replace("MAA=", "MAB="),
            ONE.replace("MAA=", "M*A="),
        ] {
            assert!(certificates(text.as_bytes(), 2).is_err(), "{text}");
        }
        assert_eq!(
            certificates(ONE.repeat(3).as_bytes(), 2),
            Err("more than 2 certificates".to_owned())
        );
    }
}
