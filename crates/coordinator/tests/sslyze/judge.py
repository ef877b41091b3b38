"""Judges the TLS of one server: `judge.py HOST:PORT CLIENT_CERTIFICATE CLIENT_KEY SECONDS`, which it may take to answer.

Prints the findings and fails if there are any. The measure is Mozilla's configuration "modern", as sslyze checks it,
and on top of it no early data and nothing to resume.
"""

import subprocess
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

from sslyze import (  # noqa: E402
    ClientAuthenticationCredentials,
    ScanCommand,
    Scanner,
    ServerNetworkConfiguration,
    ServerNetworkLocation,
    ServerScanRequest,
)
from sslyze.mozilla_tls_profile.tls_config_checker import (  # noqa: E402
    SCAN_COMMANDS_NEEDED_BY_MOZILLA_CHECKER,
    MozillaTlsConfiguration,
    ServerNotCompliantWithTlsConfiguration,
    TlsConfigurationEnum,
    check_server_against_tls_configuration,
)

# What browsers ask for and this server does not want to offer: its certificate is trusted because of its attestation,
# not because of an authority or its age.
WAIVED = {"certificate_path_validation", "certificate_hostname_validation", "maximum_certificate_lifespan"}
MORE_COMMANDS = {ScanCommand.TLS_1_3_EARLY_DATA, ScanCommand.SESSION_RESUMPTION}


def scan(host, port, certificate, key, patience):
    """What sslyze sees of the server."""
    credentials = ClientAuthenticationCredentials(Path(certificate), Path(key))
    request = ServerScanRequest(
        server_location=ServerNetworkLocation(host, port, ip_address=host),
        network_configuration=ServerNetworkConfiguration(
            tls_server_name_indication="localhost",
            tls_client_auth_credentials=credentials,
            network_timeout=patience,
        ),
        scan_commands=SCAN_COMMANDS_NEEDED_BY_MOZILLA_CHECKER | MORE_COMMANDS,
    )
    scanner = Scanner()
    scanner.queue_scans([request])
    return next(iter(scanner.get_results()))


def findings_of_sslyze(seen):
    """Findings beyond the waived ones; a scan that did not come to its end is one."""
    configuration = MozillaTlsConfiguration.get(TlsConfigurationEnum.MOZILLA_MODERN)
    try:
        check_server_against_tls_configuration(seen, configuration)
    except ServerNotCompliantWithTlsConfiguration as error:
        for name, text in error.issues.items():
            if name not in WAIVED:
                yield f"{name}: {text}"
    except Exception as error:
        yield f"the scan is not complete: {error!r}"

    def result(command):
        return seen.scan_result and getattr(seen.scan_result, command.value).result

    suites = result(ScanCommand.TLS_1_3_CIPHER_SUITES)
    if suites is None or not suites.is_tls_version_supported:
        yield "TLS 1.3 is not spoken"
    early_data = result(ScanCommand.TLS_1_3_EARLY_DATA)
    if early_data is None:
        yield "whether data is taken early is not known"
    elif early_data.supports_early_data:
        yield "early data is taken"
    renegotiation = result(ScanCommand.SESSION_RENEGOTIATION)
    if renegotiation is None or renegotiation.is_vulnerable_to_client_renegotiation_dos:
        yield "clients may renegotiate"
    resumption = result(ScanCommand.SESSION_RESUMPTION)
    if resumption is None:
        yield "whether sessions are resumed is not known"
    elif resumption.tls_ticket_successful_resumptions_count + resumption.session_id_successful_resumptions_count > 0:
        yield "sessions are resumed (TLS 1.2)"


def findings_of_openssl(address, certificate, key):
    """TLS 1.3 has tickets alone, which sslyze does not ask for: whether one comes after the handshake.

    Without a ticket there is nothing to resume, and no early data either (RFC 8446, section 4.2.10).
    """
    command = ["openssl", "s_client", "-connect", address, "-tls1_3", "-cert", certificate, "-key", key, "-ign_eof"]
    # The request makes the server answer: a ticket would have come before.
    try:
        done = subprocess.run(
            command, input=b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", capture_output=True, timeout=30
        )
        seen = done.stdout
    except subprocess.TimeoutExpired as error:
        seen = error.stdout or b""
    if b"Cipher is TLS_" not in seen:
        yield "openssl could not connect with TLS 1.3"
    elif b"New Session Ticket arrived" in seen:
        yield "session tickets are given"


def main():
    address, certificate, key, patience = sys.argv[1:]
    host, port = address.rsplit(":", 1)
    seen = scan(host, int(port), certificate, key, int(patience))
    findings = [*findings_of_sslyze(seen), *findings_of_openssl(address, certificate, key)]
    for finding in findings:
        print(finding)
    if not findings:
        suites = seen.scan_result.tls_1_3_cipher_suites.result.accepted_cipher_suites
        curves = seen.scan_result.elliptic_curves.result.supported_curves
        print("TLS 1.3:", *sorted(suite.cipher_suite.name for suite in suites))
        print("curves:", *sorted(curve.name for curve in curves))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
