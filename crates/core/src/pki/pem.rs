//! PEM text (RFC 7468): single blocks, 64 characters a line, a newline at the end.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::secret::value::SecretBytes;

/// Label of an X.509 certificate.
pub const CERTIFICATE: &str = "CERTIFICATE";
/// Label of a PKIX public key.
pub const PUBLIC_KEY: &str = "PUBLIC KEY";
/// Label of a PKCS#8 private key.
pub const PRIVATE_KEY: &str = "PRIVATE KEY";

/// One block of public data.
pub fn encode(label: &str, der: &[u8]) -> String {
    let mut text = String::with_capacity(encoded_length(label, der.len()));
    write_block(&mut text, label, der);
    text
}

/// One block of secret data; the text wipes itself and was never moved while it was written.
pub fn encode_secret(label: &str, der: &SecretBytes) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(encoded_length(label, der.len())));
    write_block(&mut text, label, der.expose());
    text
}

/// Bytes of one line before encoding: 64 characters.
const LINE: usize = 48;

fn encoded_length(label: &str, length: usize) -> usize {
    let (begin, end) = ("-----BEGIN -----\n".len(), "-----END -----\n".len());
    let lines = length.div_ceil(LINE);
    begin + end + 2 * label.len() + length.div_ceil(3) * 4 + lines
}

fn write_block(text: &mut String, label: &str, der: &[u8]) {
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    for line in der.chunks(LINE) {
        STANDARD.encode_string(line, text);
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_wrapped_and_fill_their_buffer_exactly() {
        for length in [1, 47, 48, 49, 96, 100, 1000] {
            let der: Vec<u8> = (0..=255).cycle().take(length).collect();
            let text = encode(PRIVATE_KEY, &der);
            assert_eq!(text.len(), encoded_length(PRIVATE_KEY, length), "{length}");
            assert!(text.starts_with("-----BEGIN PRIVATE KEY-----\n"));
            assert!(text.ends_with("-----END PRIVATE KEY-----\n"));
            assert!(text.lines().all(|line| line.len() <= 64));
            assert_eq!(*encode_secret(PRIVATE_KEY, &SecretBytes::copy_from(&der)), text);
            assert_eq!(der::pem::decode_vec(text.as_bytes()).unwrap(), (PRIVATE_KEY, der));
        }
        assert_eq!(encode("X", b""), "-----BEGIN X-----\n-----END X-----\n");
    }
}
