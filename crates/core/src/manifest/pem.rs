//! PEM as authors of manifests write it (RFC 7468, read leniently).

use super::bytes::decode_base64;

/// One block.
pub(super) struct Block<'a> {
    pub label: &'a str,
    pub der: Vec<u8>,
}

/// The first block of a text. What stands before and after it is not looked at.
pub(super) fn first_block(text: &str) -> Result<Block<'_>, &'static str> {
    const BEGIN: &str = "-----BEGIN ";
    const DASHES: &str = "-----";
    let start = if text.starts_with(BEGIN) {
        Some(0)
    } else {
        text.find("\n-----BEGIN ").map(|at| at + 1)
    };
    let after = start
        .and_then(|at| text.get(at + BEGIN.len()..))
        .ok_or("there is no PEM block in it")?;
    let (label, after) = after
        .split_once(DASHES)
        .ok_or("the first line of its PEM block is not complete")?;
    if label.contains(['\n', '\r']) {
        return Err("the first line of its PEM block is not complete");
    }
    let end = format!("-----END {label}-----");
    let (body, _) = after.split_once(end.as_str()).ok_or("its PEM block has no end")?;
    // Headers of the old kind (RFC 1421) end with an empty line.
    let body = match body.split_once("\n\n").or_else(|| body.split_once("\r\n\r\n")) {
        Some((headers, rest)) if headers.contains(':') => rest,
        _ => body,
    };
    let base64: String = body
        .chars()
        .filter(|character| !character.is_ascii_whitespace())
        .collect();
    let der = decode_base64(&base64).ok_or("its PEM block is not base64")?;
    Ok(Block { label, der })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_block_is_read_whatever_is_around_it() {
        for text in [
            "-----BEGIN X-----\nAAEC\n-----END X-----\n",
            "-----BEGIN X-----\r\nAA\r\nEC\r\n-----END X-----",
            "Subject: me\n-----BEGIN X-----\n  AAEC  \n-----END X-----\n-----BEGIN Y-----\n!\n-----END Y-----\n",
            "-----BEGIN X-----\nProc-Type: 4\n\nAAEC\n-----END X-----",
        ] {
            let block = first_block(text).unwrap();
            assert_eq!(
                (block.label, block.der.as_slice()),
                ("X", &[0, 1, 2][..]),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_a_block_is_refused() {
        for (text, word) in [
            ("", "no PEM block"),
            ("nope", "no PEM block"),
            ("x -----BEGIN X-----\nAAEC\n-----END X-----\n", "no PEM block"),
            ("-----BEGIN X\nAAEC\n", "first line"),
            ("-----BEGIN X\n-----\nAAEC\n-----END X\n-----\n", "first line"),
            ("-----BEGIN X-----\nAAEC\n-----END Y-----\n", "no end"),
            ("-----BEGIN X-----\n???\n-----END X-----\n", "not base64"),
        ] {
            let problem = first_block(text).map(|block| block.der).unwrap_err();
            assert!(problem.contains(word), "{text}: {problem}");
        }
    }
}
