//! Byte fields: base64 as Go's decoder takes it.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// Standard alphabet, padding required; CR and LF inside are skipped, non-zero trailing bits are accepted.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let line_break = |c: char| c == '\r' || c == '\n';
    if text.contains(line_break) {
        LENIENT.decode(text.replace(line_break, "")).ok()
    } else {
        LENIENT.decode(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_the_documents_show_it() {
        assert_eq!(decode_base64("AAEC\r\nAw==").as_deref(), Some(&[0, 1, 2, 3][..]));
        assert_eq!(
            decode_base64("AAECAx==").as_deref(),
            Some(&[0, 1, 2, 3][..]),
            "trailing bits"
        );
        assert_eq!(decode_base64("").as_deref(), Some(&[][..]));
        for wrong in [
            "AAECAw",
            "AAECAw=",
            "AAEC Aw==",
            "A-EC",
            "A_EC",
            "AAECAw==AAEC",
            "=",
            "AAECAw====",
        ] {
            assert_eq!(decode_base64(wrong), None, "{wrong}");
        }
    }
}
