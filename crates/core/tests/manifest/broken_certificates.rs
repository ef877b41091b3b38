//! One thing wrong at a time in the definition of a secret and in its certificate.

use serde_json::{Value, json};

use super::support::{assert_refused, patched};

#[test]
fn definitions() {
    let cases: Vec<(Value, &str, &str)> = vec![
        (json!({}), "Type", "expected symmetric-key"),
        (
            json!({"Type": "Plain", "UserDefined": true}),
            "Type",
            "unknown type `Plain`",
        ),
        (json!({"Type": "cert"}), "Type", "unknown type `cert`"),
        (json!({"Type": 1}), "Type", "a string"),
        (json!({"Type": "plain"}), "UserDefined", "only ever uploaded"),
        (
            json!({"Type": "plain", "UserDefined": "yes"}),
            "UserDefined",
            "true or false",
        ),
        (json!({"Type": "symmetric-key"}), "Size", "invalid secret size 0"),
        (
            json!({"Type": "symmetric-key", "Size": 0, "UserDefined": true}),
            "Size",
            "invalid secret size 0",
        ),
        (
            json!({"Type": "symmetric-key", "Size": 12}),
            "Size",
            "multiple of 8",
        ),
        (
            json!({"Type": "symmetric-key", "Size": 65288}),
            "Size",
            "from 8 to 65280",
        ),
        (
            json!({"Type": "symmetric-key", "Size": -8}),
            "Size",
            "whole number",
        ),
        (
            json!({"Type": "symmetric-key", "Size": "128"}),
            "Size",
            "found a string",
        ),
        (
            json!({"Type": "symmetric-key", "Size": 128, "Shared": 1}),
            "Shared",
            "true or false",
        ),
        (
            json!({"Type": "symmetric-key", "Size": 128, "ValidFor": 1.5}),
            "ValidFor",
            "whole number",
        ),
        (
            json!({"Type": "symmetric-key", "Size": 128, "Private": "AAEC"}),
            "Private",
            "cannot hold their values",
        ),
        (
            json!({"Type": "symmetric-key", "Size": 128, "Public": [1]}),
            "Public",
            "cannot hold their values",
        ),
        (
            json!({"Type": "symmetric-key", "Size": 128, "Public": {"a": 1}}),
            "Public",
            "cannot hold their values",
        ),
        (json!({"Type": "cert-rsa"}), "Size", "2048, 3072, 4096 or 8192"),
        (
            json!({"Type": "cert-rsa", "Size": 1024}),
            "Size",
            "2048, 3072, 4096 or 8192",
        ),
        (
            json!({"Type": "cert-rsa", "Size": 2049}),
            "Size",
            "2048, 3072, 4096 or 8192",
        ),
        (json!({"Type": "cert-ecdsa"}), "Size", "224, 256, 384 or 521"),
        (
            json!({"Type": "cert-ecdsa", "Size": 512}),
            "Size",
            "224, 256, 384 or 521",
        ),
        (
            json!({"Type": "cert-ed25519", "Size": 256}),
            "Size",
            "no size or 0",
        ),
        (
            json!({"Type": "cert-ed25519", "Size": "0"}),
            "Size",
            "found a string",
        ),
        (
            json!({"Type": "cert-ed25519", "Cert": "AAEC"}),
            "Cert",
            "an object",
        ),
        (json!({"Type": "cert-ed25519", "Cert": [1]}), "Cert", "an object"),
        (
            json!({"Type": "cert-ed25519", "ValidFor": -1}),
            "ValidFor",
            "whole number",
        ),
        (
            json!({"Type": "cert-ed25519", "ValidFor": 3_652_059}),
            "ValidFor",
            "at most 3652058 days",
        ),
        (
            json!({"Type": "cert-ed25519", "ValidFor": 1, "Cert": {"NotAfter": "2030-01-01T00:00:00Z"}}),
            "ValidFor",
            "together with Cert.NotAfter",
        ),
        (json!(1), "", "expected an object"),
    ];
    for (definition, field, word) in cases {
        let path = if field.is_empty() {
            "Secrets.x".to_owned()
        } else {
            format!("Secrets.x.{field}")
        };
        assert_refused(&patched("/Secrets/x", definition), &path, word);
    }
}

#[test]
fn certificate_fields() {
    let cases: Vec<(Value, &str, &str)> = vec![
        (json!({"NotAfter": "tomorrow"}), "NotAfter", "RFC 3339"),
        (json!({"NotAfter": "2030-01-01"}), "NotAfter", "RFC 3339"),
        (json!({"NotAfter": 1}), "NotAfter", "a string"),
        (json!({"KeyUsage": 512}), "KeyUsage", "0 to 511"),
        (json!({"KeyUsage": -1}), "KeyUsage", "0 to 511"),
        (
            json!({"KeyUsage": ["digitalSignature"]}),
            "KeyUsage",
            "found a list",
        ),
        (json!({"ExtKeyUsage": 1}), "ExtKeyUsage", "a list"),
        (json!({"ExtKeyUsage": [1, 10]}), "ExtKeyUsage[1]", "0 to 9"),
        (json!({"ExtKeyUsage": ["serverAuth"]}), "ExtKeyUsage[0]", "0 to 9"),
        (json!({"ExtKeyUsage": [null]}), "ExtKeyUsage[0]", "0 to 9"),
        (
            json!({"UnknownExtKeyUsage": ["1.2.3"]}),
            "UnknownExtKeyUsage[0]",
            "a list",
        ),
        (
            json!({"UnknownExtKeyUsage": [[1]]}),
            "UnknownExtKeyUsage[0]",
            "object identifier",
        ),
        (
            json!({"UnknownExtKeyUsage": [[]]}),
            "UnknownExtKeyUsage[0]",
            "object identifier",
        ),
        (
            json!({"UnknownExtKeyUsage": [[3, 1, 1]]}),
            "UnknownExtKeyUsage[0]",
            "0 to 2",
        ),
        (
            json!({"UnknownExtKeyUsage": [[1, 40, 1]]}),
            "UnknownExtKeyUsage[0]",
            "0 to 39",
        ),
        (
            json!({"UnknownExtKeyUsage": [[1, 2, -3]]}),
            "UnknownExtKeyUsage[0][2]",
            "found the number -3",
        ),
        (
            json!({"UnknownExtKeyUsage": [[1, 2, 4_294_967_296_u64]]}),
            "UnknownExtKeyUsage[0][2]",
            "4294967295",
        ),
        (
            json!({"UnknownExtKeyUsage": [null]}),
            "UnknownExtKeyUsage[0]",
            "found null",
        ),
        (json!({"IsCA": "true"}), "IsCA", "true or false"),
        (json!({"MaxPathLen": 1}), "MaxPathLen", "needs IsCA"),
        (json!({"MaxPathLenZero": true}), "MaxPathLenZero", "needs IsCA"),
        (json!({"IsCA": true, "MaxPathLen": 256}), "MaxPathLen", "0 to 255"),
        (
            json!({"IsCA": true, "MaxPathLen": -2}),
            "MaxPathLen",
            "found the number -2",
        ),
        (
            json!({"IsCA": true, "MaxPathLenZero": 1}),
            "MaxPathLenZero",
            "true or false",
        ),
        (json!({"SubjectKeyId": "???"}), "SubjectKeyId", "base64"),
        (json!({"SubjectKeyId": 1}), "SubjectKeyId", "bytes"),
        (json!({"DNSNames": "localhost"}), "DNSNames", "a list"),
        (
            json!({"DNSNames": ["a", "b\u{fc}cher.example"]}),
            "DNSNames[1]",
            "ASCII",
        ),
        (json!({"DNSNames": [""]}), "DNSNames[0]", "DNS name"),
        (json!({"DNSNames": ["a b"]}), "DNSNames[0]", "blanks"),
        (json!({"DNSNames": [1]}), "DNSNames[0]", "a string"),
        (
            json!({"EmailAddresses": ["\u{e9}@example"]}),
            "EmailAddresses[0]",
            "ASCII",
        ),
        (json!({"IPAddresses": ["10.0.0"]}), "IPAddresses[0]", "IP address"),
        (
            json!({"IPAddresses": ["10.0.0.1", ""]}),
            "IPAddresses[1]",
            "IP address",
        ),
        (
            json!({"IPAddresses": ["localhost"]}),
            "IPAddresses[0]",
            "IP address",
        ),
        (
            json!({"IPAddresses": [[127, 0, 0, 1]]}),
            "IPAddresses[0]",
            "a string",
        ),
        (json!({"URIs": [1]}), "URIs[0]", "a URI"),
        (json!({"URIs": [null]}), "URIs[0]", "found null"),
        (json!({"URIs": [""]}), "URIs[0]", "a URI"),
        (json!({"URIs": [{}]}), "URIs[0]", "a URI"),
        (
            json!({"URIs": ["https://b\u{fc}cher.example"]}),
            "URIs[0]",
            "ASCII",
        ),
        (json!({"URIs": [{"Scheme": 1}]}), "URIs[0].Scheme", "a string"),
        (json!({"URIs": [{"Host": "b\u{fc}cher"}]}), "URIs[0]", "ASCII"),
        (
            json!({"URIs": [{"Host": "h", "User": {"name": "x"}}]}),
            "URIs[0].User",
            "not supported",
        ),
        (json!({"OCSPServer": "http://x"}), "OCSPServer", "a list"),
        (json!({"OCSPServer": ["http://\u{fc}"]}), "OCSPServer[0]", "ASCII"),
        (
            json!({"IssuingCertificateURL": [""]}),
            "IssuingCertificateURL[0]",
            "a URL",
        ),
        (
            json!({"CRLDistributionPoints": ["a b"]}),
            "CRLDistributionPoints[0]",
            "blanks",
        ),
        (
            json!({"PolicyIdentifiers": [[1, 2], [1]]}),
            "PolicyIdentifiers[1]",
            "object identifier",
        ),
        (
            json!({"PolicyIdentifiers": [1]}),
            "PolicyIdentifiers[0]",
            "a list",
        ),
        (json!({"Policies": ["1"]}), "Policies[0]", "object identifier"),
        (json!({"Policies": ["a.b"]}), "Policies[0]", "object identifier"),
        (json!({"Policies": [[1, 2]]}), "Policies[0]", "a string"),
    ];
    run(&cases);
}

#[test]
fn subjects() {
    let cases: Vec<(Value, &str, &str)> = vec![
        (json!("CN=x"), "Subject", "an object"),
        (json!({"CommonName": ["x"]}), "Subject.CommonName", "a string"),
        (json!({"Country": "DE"}), "Subject.Country", "a list"),
        (
            json!({"Country": ["D\u{cb}"]}),
            "Subject.Country[0]",
            "letters, digits",
        ),
        (json!({"Country": ["DE", ""]}), "Subject.Country[1]", "not empty"),
        (
            json!({"Organization": [""]}),
            "Subject.Organization[0]",
            "not empty",
        ),
        (
            json!({"Organization": [null]}),
            "Subject.Organization[0]",
            "found null",
        ),
        (
            json!({"OrganizationalUnit": [1]}),
            "Subject.OrganizationalUnit[0]",
            "a string",
        ),
        (json!({"Locality": "x"}), "Subject.Locality", "a list"),
        (json!({"Province": {"a": 1}}), "Subject.Province", "a list"),
        (
            json!({"StreetAddress": [true]}),
            "Subject.StreetAddress[0]",
            "found true",
        ),
        (
            json!({"PostalCode": [12345]}),
            "Subject.PostalCode[0]",
            "found the number 12345",
        ),
        (json!({"SerialNumber": 7}), "Subject.SerialNumber", "a string"),
        (
            json!({"SerialNumber": "no_7"}),
            "Subject.SerialNumber",
            "letters, digits",
        ),
        (
            json!({"ExtraNames": {"2.5.4.3": "x"}}),
            "Subject.ExtraNames",
            "a list",
        ),
        (
            json!({"ExtraNames": [{"Value": "x"}]}),
            "Subject.ExtraNames[0].Type",
            "object identifier",
        ),
        (
            json!({"ExtraNames": [{"Type": "2.5.4.3", "Value": "x"}]}),
            "Subject.ExtraNames[0].Type",
            "a list",
        ),
        (
            json!({"ExtraNames": [{"Type": [2], "Value": "x"}]}),
            "Subject.ExtraNames[0].Type",
            "object identifier",
        ),
        (
            json!({"ExtraNames": [{"Type": [2, 5, 4, 3]}]}),
            "Subject.ExtraNames[0].Value",
            "missing",
        ),
        (
            json!({"ExtraNames": [{"Type": [2, 5, 4, 3], "Value": 1}]}),
            "Subject.ExtraNames[0].Value",
            "a string",
        ),
    ];
    for (subject, field, word) in cases {
        run(&[(json!({"Subject": subject}), field, word)]);
    }
}

#[test]
fn name_constraints() {
    let range = |ip: &str, mask: Value| json!({"PermittedIPRanges": [{"IP": ip, "Mask": mask}]});
    let cases: Vec<(Value, &str, &str)> = vec![
        (
            json!({"PermittedDNSDomainsCritical": 1}),
            "PermittedDNSDomainsCritical",
            "true or false",
        ),
        (
            json!({"PermittedDNSDomains": "x"}),
            "PermittedDNSDomains",
            "a list",
        ),
        (
            json!({"PermittedDNSDomains": ["b\u{fc}cher"]}),
            "PermittedDNSDomains[0]",
            "ASCII",
        ),
        (
            json!({"ExcludedDNSDomains": ["a", 1]}),
            "ExcludedDNSDomains[1]",
            "a string",
        ),
        (
            json!({"PermittedEmailAddresses": ["a b"]}),
            "PermittedEmailAddresses[0]",
            "blanks",
        ),
        (
            json!({"ExcludedEmailAddresses": [null]}),
            "ExcludedEmailAddresses[0]",
            "found null",
        ),
        (
            json!({"PermittedURIDomains": ["\u{fc}"]}),
            "PermittedURIDomains[0]",
            "ASCII",
        ),
        (
            json!({"ExcludedURIDomains": [[]]}),
            "ExcludedURIDomains[0]",
            "found a list",
        ),
        (
            json!({"ExcludedIPRanges": ["10.0.0.0/8"]}),
            "ExcludedIPRanges[0]",
            "an object",
        ),
        (
            json!({"ExcludedIPRanges": [null]}),
            "ExcludedIPRanges[0]",
            "found null",
        ),
        (
            json!({"PermittedIPRanges": [{"Mask": "/wAAAA=="}]}),
            "PermittedIPRanges[0].IP",
            "missing",
        ),
        (
            range("10.0.0", json!("/wAAAA==")),
            "PermittedIPRanges[0].IP",
            "IP address",
        ),
        (
            range("10.0.0.0", json!(null)),
            "PermittedIPRanges[0].Mask",
            "missing",
        ),
        (
            range("10.0.0.0", json!("8")),
            "PermittedIPRanges[0].Mask",
            "base64",
        ),
        (
            range("10.0.0.0", json!([255, 0, 0])),
            "PermittedIPRanges[0].Mask",
            "4 bytes like the address has, found 3",
        ),
        (
            range("fd00::", json!([255, 0, 0, 0])),
            "PermittedIPRanges[0].Mask",
            "16 bytes",
        ),
        (
            range("10.0.0.0", json!([255, 0, 255, 0])),
            "PermittedIPRanges[0].Mask",
            "one bits followed by zero bits",
        ),
        (
            range("10.0.0.0", json!([253, 0, 0, 0])),
            "PermittedIPRanges[0].Mask",
            "one bits followed by zero bits",
        ),
    ];
    run(&cases);
}

#[test]
fn fields_that_cannot_be_honoured() {
    for (field, value) in [
        ("Signature", json!("AAEC")),
        ("PublicKeyAlgorithm", json!(1)),
        ("Extensions", json!([{"Id": [1, 2, 3], "Value": "AA=="}])),
        ("ExtraExtensions", json!([{}])),
        ("UnhandledCriticalExtensions", json!([[1, 2]])),
        ("InhibitAnyPolicy", json!(1)),
        ("InhibitAnyPolicyZero", json!(true)),
        ("InhibitPolicyMapping", json!(-1)),
        ("InhibitPolicyMappingZero", json!(true)),
        ("RequireExplicitPolicy", json!(2)),
        ("RequireExplicitPolicyZero", json!(true)),
        ("PolicyMappings", json!([{}])),
    ] {
        run(&[(json!({field: value}), field, "not supported")]);
    }
}

fn run(cases: &[(Value, &str, &str)]) {
    for (certificate, field, word) in cases {
        let definition = json!({"Type": "cert-ed25519", "Cert": certificate});
        assert_refused(
            &patched("/Secrets/x", definition),
            &format!("Secrets.x.Cert.{field}"),
            word,
        );
        // The certificate of an uploaded secret is checked like any other.
        let definition = json!({"Type": "cert-rsa", "UserDefined": true, "Cert": certificate});
        assert_refused(
            &patched("/Secrets/x", definition),
            &format!("Secrets.x.Cert.{field}"),
            word,
        );
    }
}
