//! Templates come from manifests: bytes that nobody has looked at yet.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use marblerun_core::manifest::Name;
use marblerun_core::pki::key::{KeyKind, PrivateKey};
use marblerun_core::secret::spec::{CertificateFamily, SecretKind, SecretSpec};
use marblerun_core::secret::value::{CertificateValue, SecretBytes, SecretValue};
use marblerun_core::template::{Data, Place, compile, render};

/// What the templates are rendered with. The bytes of all secrets are ones that no template contains by chance.
struct World {
    specs: BTreeMap<Name, SecretSpec>,
    secrets: BTreeMap<Name, SecretValue>,
    certificate: Arc<[u8]>,
    marble_key: PrivateKey,
    seal_key: SecretBytes,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let secret = || SecretBytes::copy_from(b"\xf0secret bytes\xf1");
    let public: Arc<[u8]> = Arc::from(&b"public"[..]);
    let certificate: Arc<[u8]> = Arc::from(&b"certificate"[..]);
    let spec = |kind, user_defined| SecretSpec {
        kind,
        size: 128,
        shared: true,
        user_defined,
        valid_for: 365,
    };
    let rsa = SecretKind::Certificate {
        family: CertificateFamily::Rsa,
        key: None,
        template: Box::default(),
    };
    let value = CertificateValue {
        certificate: certificate.clone(),
        public: public.clone(),
        private: Some(secret()),
    };
    World {
        specs: BTreeMap::from([
            (
                Name::from("key"),
                spec(SecretKind::Symmetric { length: 16 }, false),
            ),
            (Name::from("cert"), spec(rsa, false)),
            (Name::from("token"), spec(SecretKind::Plain, true)),
            (Name::from("unset"), spec(SecretKind::Plain, true)),
        ]),
        secrets: BTreeMap::from([
            (Name::from("key"), SecretValue::Symmetric(secret())),
            (Name::from("cert"), SecretValue::Certificate(value)),
            (Name::from("token"), SecretValue::Plain(secret())),
        ]),
        certificate,
        marble_key: PrivateKey::from_parts(KeyKind::Ed25519, secret(), public),
        seal_key: secret(),
    }
});

/// The place (first byte), then a template.
pub fn run(input: &[u8]) {
    let Some((place, source)) = input.split_first() else {
        return;
    };
    let place = if place % 2 == 0 { Place::File } else { Place::Env };
    let world = &*WORLD;
    let Ok(compiled) = compile(source, place, &world.specs) else {
        return;
    };
    let references = compiled.template.references();
    let needed = |names: &std::collections::BTreeSet<Name>| -> BTreeMap<Name, SecretValue> {
        let all = world.secrets.iter().filter(|(name, _)| names.contains(*name));
        all.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    let data = |secrets, previous, seal_key| Data {
        specs: &world.specs,
        secrets,
        previous,
        root_ca: &world.certificate,
        coordinator_root: &world.certificate,
        coordinator_intermediate: &world.certificate,
        marble_certificate: &world.certificate,
        marble_key: &world.marble_key,
        seal_key,
    };
    let all = render(
        &compiled.template,
        &data(&world.secrets, &world.secrets, Some(&world.seal_key)),
    );
    let (secrets, previous) = (needed(&references.secrets), needed(&references.previous));
    let seal_key = references.seal_key.then_some(&world.seal_key);
    let enough = render(&compiled.template, &data(&secrets, &previous, seal_key));
    assert!(all == enough, "the references are not enough");
    match all {
        Ok(output) => assert!(place == Place::File || !output.contains(&0), "NUL in a variable"),
        Err(error) => assert!(
            !error.message.contains("without an encoding"),
            "the check missed: {error}"
        ),
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    [
        "{{ pem .Secrets.cert.Cert }}{{ hex .Secrets.key }}",
        "{{ raw .Secrets.key.Private }}{{ base64 .MarbleRun.SealKey }}",
        "{{ if .Secrets.unset }}{{ string .Secrets.token }}{{ else }}none{{ end }}",
        "{{ range $i, $x := .Previous.Secrets }}{{ $i }}{{ end }}",
        "{{ define \"x\" }}{{ . }}{{ end }}{{ template \"x\" \"y\" }}",
        "{{ with $y := printf \"%08.3f|%q|%v\" 3.5 \"a\" true }}{{ len $y | print }}{{ end }}",
        "{{ pem .MarbleRun.RootCA.Cert }}{{- /* comment */ -}} {{ html \"<\" | js | urlquery }}",
    ]
    .iter()
    .flat_map(|text| [0, 1].map(|place| super::cursor::with_mode(place, text.as_bytes())))
    .collect()
}
