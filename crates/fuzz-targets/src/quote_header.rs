//! What evidence is recognised and shown as, the Open Enclave header, and evidence inside certificates.

use marblerun_attestation::header::{HEADER_SIZE, OpenEnclaveHeader};
use marblerun_attestation::inspect::{Item, inspect};
use marblerun_attestation::{EvidenceKind, Quote, certificate};

use super::cursor::Cursor;
use super::evidence::{SGX, TDX_V4, TDX_V5, snp_report};

const KEY: &[u8] = b"the key of a certificate";

pub fn run(input: &[u8]) {
    let headed = OpenEnclaveHeader::add(input);
    assert!(headed.len() == HEADER_SIZE + input.len());
    assert!(OpenEnclaveHeader::strip(&headed) == Ok(Some(input)));

    if let Ok(quote) = Quote::new(input.to_vec()) {
        recognised(&quote);
    }
    let shown = inspect(input);
    assert!(names_differ(&shown), "a field hides another: {shown:?}");
    if let Ok(quote) = certificate::decode(input, KEY) {
        // There is one form of each value.
        let again = certificate::encode(quote.as_bytes(), KEY).unwrap();
        assert!(again == input, "two forms of the same evidence");
    }
    if let Ok(value) = certificate::encode(input, KEY) {
        let quote = certificate::decode(&value, KEY).unwrap();
        assert!(input.ends_with(quote.as_bytes()), "other evidence comes back");
        assert!(
            certificate::decode(&value, b"another key").is_err() || quote.kind() == Ok(EvidenceKind::Snp)
        );
    }
    let mut cursor = Cursor(input);
    let key = cursor.take(16);
    let _ = certificate::decode(cursor.0, key);
}

/// Whoever prints fields by name prints all of them.
fn names_differ(items: &[Item]) -> bool {
    let mut names: Vec<&str> = items.iter().map(|item| item.name.as_str()).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    names.len() == count && items.iter().all(|item| names_differ(&item.items))
}

fn recognised(quote: &Quote) {
    let kind = quote.kind();
    let data = quote.unverified_report_data();
    assert!(kind.is_ok() == data.is_ok());
    match quote.recognise() {
        Ok((found, evidence)) => {
            assert!(kind == Ok(found));
            assert!(quote.as_bytes().ends_with(evidence));
            assert!(matches!(data, Ok(Some(_))) || found == EvidenceKind::Empty);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        Vec::new(),
        SGX.to_vec(),
        OpenEnclaveHeader::add(SGX),
        TDX_V4.to_vec(),
        TDX_V5.to_vec(),
        snp_report(),
    ];
    let values: Vec<_> = [SGX, TDX_V4, &snp_report()]
        .iter()
        .map(|evidence| certificate::encode(evidence, KEY).unwrap())
        .collect();
    seeds.extend(values);
    seeds
}
