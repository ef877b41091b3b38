"""Lints certificates with pkilint's checks of RFC 5280.

Reads lines `class base64` from standard input, prints what was found by class, and fails if there is an error or
worse that no waiver names, or if a planted fault is not found.
"""

import base64
import collections
import sys

from pkilint import loader, validation
from pkilint.pkix import certificate, extension, name

CLASSES = ("ca", "marble", "default-secret", "template-secret")

# Hosts of one label are what Docker, Kubernetes and development machines have.
SHORT_NAMES = "pkix.invalid_domain_name_syntax"
# The default KeyUsage of certificate secrets is part of the contract with existing manifests.
SECRET_SIGNS = "pkix.ee_certificate_keycertsign_keyusage_set"

# The errors of each class that are meant to be; docs/compatibility.md gives the reasons. At most three a class.
WAIVERS = {
    "ca": {SHORT_NAMES},
    "marble": {SHORT_NAMES},
    "default-secret": {SHORT_NAMES, SECRET_SIGNS},
    "template-secret": set(),
}


def main():
    linter = make_linter()
    certificates = collections.defaultdict(list)
    for line in sys.stdin:
        kind, encoded = line.split()
        certificates[kind].append(base64.b64decode(encoded))
    assert set(certificates) == set(CLASSES), f"classes: {sorted(certificates)}"
    assert all(len(waivers) <= 3 for waivers in WAIVERS.values())

    failed = False
    for kind in CLASSES:
        count, waived, others, minor = lint_class(linter, kind, certificates[kind])
        errors = sum(others.values())
        print(
            f"{kind}: {count} certificates, {errors} errors, {sum(waived.values())} waived,"
            f" {sum(minor.values())} warnings and notes"
        )
        for title, found in (("ERROR", others), ("waived", waived), ("note", minor)):
            for code, number in sorted(found.items()):
                print(f"  {title} {code}: {number}")
        for code in sorted(WAIVERS[kind] - set(waived)):
            print(f"  ERROR the waiver {code} is not needed")
            failed = True
        failed |= errors > 0
    failed |= not find_planted(linter, certificates["default-secret"][0])
    total = sum(len(list_) for list_ in certificates.values())
    print(f"{total} certificates linted: {'FAILED' if failed else 'ok'}")
    return 1 if failed else 0


def make_linter():
    return certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(
            name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
        ),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )


def lint_class(linter, kind, certificates):
    waived, others, minor = collections.Counter(), collections.Counter(), collections.Counter()
    for der in certificates:
        for severity, code in lint(linter, der):
            if severity > validation.ValidationFindingSeverity.ERROR:
                minor[f"{severity.name} {code}"] += 1
            elif code in WAIVERS[kind]:
                waived[code] += 1
            else:
                others[code] += 1
    return len(certificates), waived, others, minor


def lint(linter, der):
    document = loader.RFC5280CertificateDocumentLoader().load_der_document(der, "certificate")
    for result in linter.validate(document.root):
        for description in result.finding_descriptions:
            yield description.finding.severity, description.finding.code


def find_planted(linter, der):
    """Breaks a certificate in ways that leave its structure alone; signatures are not looked at."""
    # Version, then INTEGER of at most 16 bytes: the serial number.
    serial = der.index(b"\xa0\x03\x02\x01\x02\x02") + 6
    negative = bytearray(der)
    negative[serial + 1] = 0x80 | negative[serial + 1] or 0x81
    # SEQUENCE of two UTCTime.
    dates = der.index(b"\x30\x1e\x17\x0d") + 2
    first, second = der[dates : dates + 15], der[dates + 15 : dates + 30]
    turned = der[:dates] + second + first + der[dates + 30 :]
    # BasicConstraints (2.5.29.19), critical, becomes a second KeyUsage (2.5.29.15).
    basic = der.index(b"\x06\x03\x55\x1d\x13\x01\x01\xff")
    twice = der[: basic + 4] + b"\x0f" + der[basic + 5 :]
    faults = (
        ("negative serial number", bytes(negative), "serial_number"),
        ("NotAfter before NotBefore", turned, "validity"),
        ("KeyUsage twice", twice, "extension"),
    )
    found_all = True
    for what, planted, word in faults:
        codes = {
            code
            for severity, code in lint(linter, planted)
            if severity <= validation.ValidationFindingSeverity.ERROR
        }
        new = codes - {code for _, code in lint(linter, der)}
        found = any(word in code for code in new)
        print(f"planted: {what}: {'found' if found else 'NOT FOUND'}, {', '.join(sorted(new)) or 'nothing'}")
        found_all &= found
    return found_all


if __name__ == "__main__":
    sys.exit(main())
