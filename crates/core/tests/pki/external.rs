//! OpenSSL, Go and GnuTLS as verifiers. Each test is skipped, loudly, where its tool is missing.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use marblerun_core::ambient::{Ambient, Dice, Timestamp};
use marblerun_core::pki::authority::{self, Authority};
use marblerun_core::pki::key::KeyKind;
use marblerun_core::pki::{CryptoSuite, HostName, marble, pem, request, secret_certificate};
use marblerun_core::secret::spec::{CertificateTemplate, ObjectId, SubjectTemplate};
use marblerun_core::testing::TestDice;
use uuid::Uuid;

use crate::support::Request;

/// Whether a tool is there; says so where it is not.
fn available(tool: &str, argument: &str) -> bool {
    let found = Command::new(tool)
        .arg(argument)
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("\n*** SKIPPED: `{tool}` is not installed; certificates were NOT verified with it ***\n");
    }
    found
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A directory below the build's own, emptied.
fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Writes an authority, two certificates below it, and the keys of every kind; returns the directory.
fn deployment(suite: CryptoSuite, name: &str) -> PathBuf {
    let path = directory(name);
    let dice = TestDice::new(12);
    // These tools look at their own clock.
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let now = Timestamp::from_unix_seconds(i64::try_from(seconds).unwrap());
    let ambient = Ambient { now, dice: &dice };
    let names = ["coordinator.example", "10.1.2.3"].map(|name| HostName::parse(name).unwrap());
    let authority = authority::create(suite, &names, None, &ambient).unwrap();
    let write = |file: &str, text: &str| std::fs::write(path.join(file), text).unwrap();
    let certificate = |file: &str, der: &[u8]| write(file, &pem::encode(pem::CERTIFICATE, der));
    certificate("root.pem", &authority.root);
    certificate("intermediate.pem", &authority.intermediate);
    certificate("marble-root.pem", &authority.marble_root);
    let other = authority::renew_intermediate(&authority, &ambient).unwrap();
    certificate("other-marble-root.pem", &other.marble_root);

    let csr = request::parse(&Request::default().sign(&dice.generate_key(KeyKind::P384).unwrap())).unwrap();
    let marble = marble::issue(&authority, &csr, Uuid::max(), "backend", &ambient).unwrap();
    certificate("marble.pem", &marble.certificate);
    write(
        "marble.key",
        &pem::encode_secret(pem::PRIVATE_KEY, marble.key.pkcs8()),
    );

    let kinds = [
        ("p224", KeyKind::P224),
        ("p256", KeyKind::P256),
        ("p384", KeyKind::P384),
        ("p521", KeyKind::P521),
        ("ed25519", KeyKind::Ed25519),
        ("rsa", KeyKind::Rsa(2048)),
    ];
    for (file, kind) in kinds {
        let key = dice.generate_key(kind).unwrap();
        let der = issue_secret(&authority, key.public(), &ambient);
        certificate(&format!("{file}.pem"), &der);
        write(
            &format!("{file}.key"),
            &pem::encode_secret(pem::PRIVATE_KEY, key.pkcs8()),
        );
        write(
            &format!("{file}.pub"),
            &pem::encode(pem::PUBLIC_KEY, key.public()),
        );
    }
    write("message", "a manifest");
    let signature = authority::sign_manifest(&authority, b"a manifest", &ambient).unwrap();
    std::fs::write(path.join("signature"), signature).unwrap();
    write(
        "root.pub",
        &pem::encode(pem::PUBLIC_KEY, authority.root_key.public()),
    );
    path
}

fn issue_secret(authority: &Authority, public_key: &[u8], ambient: &Ambient<'_>) -> Vec<u8> {
    let usage = |text| ObjectId::new(const_oid::ObjectIdentifier::new_unwrap(text));
    let template = CertificateTemplate {
        subject: SubjectTemplate {
            common_name: "secret.example".into(),
            organization: vec!["Größe".into(), "Org".into()],
            ..SubjectTemplate::default()
        },
        key_usage: 33,
        extended_key_usage: vec![usage("1.3.6.1.5.5.7.3.1"), usage("1.3.6.1.5.5.7.3.2")],
        dns_names: vec!["marble.example".into()],
        ip_addresses: vec!["10.9.8.7".parse().unwrap()],
        ..CertificateTemplate::default()
    };
    secret_certificate::issue(authority, &template, 36_500, public_key, ambient)
        .unwrap()
        .to_vec()
}

const LEAVES: [&str; 7] = ["marble", "p224", "p256", "p384", "p521", "ed25519", "rsa"];

#[test]
fn openssl_verifies_chains_keys_and_signatures() {
    if !available("openssl", "version") {
        return;
    }
    for suite in CryptoSuite::ALL {
        let path = deployment(suite, &format!("openssl-{suite}"));
        let verify = |leaf: &str, arguments: &[&str]| {
            let mut command = Command::new("openssl");
            command.current_dir(&path).arg("verify");
            run(command
                .args(["-verify_hostname", "marble.example"])
                .args(arguments)
                .arg(format!("{leaf}.pem")))
        };
        let outside = ["-CAfile", "root.pem", "-untrusted", "intermediate.pem"];
        let inside = ["-CAfile", "marble-root.pem"];
        for leaf in LEAVES {
            for (path, purpose) in [
                (&outside[..], "sslserver"),
                (&outside, "sslclient"),
                (&inside, "sslserver"),
                (&inside, "sslclient"),
            ] {
                let mut arguments = vec!["-purpose", purpose];
                // By default, secrets may sign certificates without being an authority (a contract with existing
                // manifests), which the strict mode minds.
                if leaf == "marble" {
                    arguments.push("-x509_strict");
                }
                arguments.extend_from_slice(path);
                let output = verify(leaf, &arguments);
                assert!(
                    output.status.success(),
                    "{suite} {leaf} {path:?}: {}",
                    text(&output)
                );
            }
            let other = verify(leaf, &["-CAfile", "other-marble-root.pem"]);
            assert!(!other.status.success(), "{suite} {leaf}: {}", text(&other));
        }
        // Keys belong to their certificates.
        for leaf in &LEAVES[1..] {
            let mut key = Command::new("openssl");
            let key = run(key
                .current_dir(&path)
                .args(["pkey", "-pubout", "-in", &format!("{leaf}.key")]));
            let expected = std::fs::read_to_string(path.join(format!("{leaf}.pub"))).unwrap();
            assert_eq!(
                String::from_utf8_lossy(&key.stdout),
                expected,
                "{leaf}: {}",
                text(&key)
            );
        }
        // The manifest signature.
        let mut dgst = Command::new("openssl");
        dgst.current_dir(&path).args([
            "dgst",
            "-sha256",
            "-verify",
            "root.pub",
            "-signature",
            "signature",
        ]);
        let output = run(dgst.arg("message"));
        assert!(output.status.success(), "{suite}: {}", text(&output));
    }
}

const GO_PROGRAM: &str = r#"
package main

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"time"
)

func read(name string) []byte {
	data, err := os.ReadFile(name)
	if err != nil {
		panic(err)
	}
	return data
}

func certificate(name string) *x509.Certificate {
	block, _ := pem.Decode(read(name))
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		panic(name + ": " + err.Error())
	}
	return parsed
}

func pool(name string) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(certificate(name))
	return pool
}

func main() {
	later := time.Now()
	usages := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, leaf := range []string{"marble", "p224", "p256", "p384", "p521", "ed25519", "rsa"} {
		parsed := certificate(leaf + ".pem")
		for _, name := range []string{"marble.example", "10.9.8.7"} {
			outside := x509.VerifyOptions{DNSName: name, Roots: pool("root.pem"), Intermediates: pool("intermediate.pem"), CurrentTime: later, KeyUsages: usages}
			if _, err := parsed.Verify(outside); err != nil {
				panic(leaf + " outside: " + err.Error())
			}
			inside := x509.VerifyOptions{DNSName: name, Roots: pool("marble-root.pem"), CurrentTime: later, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
			if _, err := parsed.Verify(inside); err != nil {
				panic(leaf + " inside: " + err.Error())
			}
			other := inside
			other.Roots = pool("other-marble-root.pem")
			if _, err := parsed.Verify(other); err == nil {
				panic(leaf + " verified by another authority")
			}
		}
		if _, err := tls.X509KeyPair(read(leaf+".pem"), read(leaf+".key")); err != nil {
			panic(leaf + " key: " + err.Error())
		}
	}
	root := certificate("root.pem")
	if root.NotAfter.Format(time.RFC3339) != "9999-12-31T23:59:59Z" {
		panic("NotAfter: " + root.NotAfter.String())
	}
	// The way existing clients look at the Coordinator: its root certificate is leaf and pool at once.
	if _, err := root.Verify(x509.VerifyOptions{DNSName: "coordinator.example", Roots: pool("root.pem"), CurrentTime: later}); err != nil {
		panic("root as leaf: " + err.Error())
	}
	if err := root.VerifyHostname("127.0.0.1"); err != nil {
		panic(err.Error())
	}
	hash := sha256.Sum256(read("message"))
	if !ecdsa.VerifyASN1(root.PublicKey.(*ecdsa.PublicKey), hash[:], read("signature")) {
		panic("manifest signature")
	}
	fmt.Println("verified with Go")
}
"#;

#[test]
fn go_verifies_chains_keys_and_signatures() {
    if !available("go", "version") {
        return;
    }
    for suite in CryptoSuite::ALL {
        let path = deployment(suite, &format!("go-{suite}"));
        std::fs::write(path.join("verify.go"), GO_PROGRAM).unwrap();
        let mut go = Command::new("go");
        go.current_dir(&path)
            .env("GO111MODULE", "off")
            .env("GOFLAGS", "")
            .args(["run", "verify.go"]);
        let output = run(&mut go);
        assert!(output.status.success(), "{suite}: {}", text(&output));
        assert!(text(&output).contains("verified with Go"));
    }
}

#[test]
fn gnutls_verifies_chains() {
    if !available("certtool", "--version") {
        return;
    }
    for suite in CryptoSuite::ALL {
        let path = deployment(suite, &format!("gnutls-{suite}"));
        let read = |file: &str| std::fs::read_to_string(path.join(file)).unwrap();
        for leaf in LEAVES {
            let chains = [
                (
                    "root.pem",
                    read(&format!("{leaf}.pem")) + &read("intermediate.pem"),
                    true,
                ),
                ("marble-root.pem", read(&format!("{leaf}.pem")), true),
                ("other-marble-root.pem", read(&format!("{leaf}.pem")), false),
            ];
            for (anchor, chain, good) in chains {
                std::fs::write(path.join("chain.pem"), chain).unwrap();
                let mut certtool = Command::new("certtool");
                certtool
                    .current_dir(&path)
                    .args(["--verify", "--infile", "chain.pem"]);
                certtool.args(["--load-ca-certificate", anchor]);
                let output = run(&mut certtool);
                assert_eq!(
                    output.status.success(),
                    good,
                    "{suite} {leaf} {anchor}: {}",
                    text(&output)
                );
            }
        }
    }
}
