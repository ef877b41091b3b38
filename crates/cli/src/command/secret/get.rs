//! `secret get`

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use marblerun_client::rest::{Base64Bytes, Base64Secret, Named, to_secret_body, v2};
use serde_json::json;
use zeroize::Zeroizing;

use crate::files;
use crate::flags::GlobalFlags;
use crate::output::{Output, warning};
use crate::session::{self, Session, advise_user};
use crate::user::UserFlags;

/// Arguments of `secret get`.
#[derive(Args)]
#[command(override_usage = "marblerun secret get [OPTIONS] <NAME>... <ADDR>")]
pub struct Arguments {
    /// Names of the secrets, then the address of the Coordinator's client API, host:port
    #[arg(value_name = "NAME... ADDR", required = true, num_args = 1..)]
    names_and_address: Vec<String>,
    /// File to save to, as JSON {name: secret} [default: standard output]
    #[arg(short, long, value_name = "FILE", allow_hyphen_values = true)]
    output: Option<PathBuf>,
    #[command(flatten)]
    user: UserFlags,
}

/// Prints or saves the secrets.
pub fn run(arguments: &Arguments, flags: &GlobalFlags, output: &Output) -> Result<()> {
    let (address, names) = match arguments.names_and_address.split_last() {
        Some((address, names)) if !names.is_empty() => (address, names),
        _ => bail!("expected the names of secrets and behind them the address of the Coordinator, host:port"),
    };
    let user = arguments.user.identity()?;
    let secrets = session::run(async {
        let session = Session::pinned_as(flags, address, user).await?;
        session
            .coordinator()
            .read_secrets(names)
            .await
            .map_err(advise_user)
    })?;
    for (name, secret) in &secrets.0 {
        if secret.private.is_none() {
            warning(&format!(
                "the secret {name} has no value: nobody has uploaded one"
            ));
        }
    }
    match &arguments.output {
        Some(path) => {
            files::write(path, &to_secret_body(&secrets)?)?;
            let names: Vec<&String> = secrets.0.keys().collect();
            output.result(
                &format!("Secret saved to: {}", path.display()),
                &json!({"file": path.to_string_lossy(), "secrets": names}),
            )
        }
        None if output.is_json() => output.secret(&to_secret_body(&secrets)?),
        // A table would take copies that nobody wipes: the text for people has to do.
        None => output.secret(&text(&secrets)),
    }
}

/// One block for each secret.
fn text(secrets: &Named<v2::Secret>) -> Zeroizing<Vec<u8>> {
    let mut text = WipedText::default();
    for (name, secret) in &secrets.0 {
        text.push(&[name, ":\n"]);
        text.line("Type:", &secret.r#type);
        text.line("UserDefined:", if secret.user_defined { "true" } else { "false" });
        text.line("Size:", &secret.size.to_string());
        match secret.r#type.as_str() {
            "symmetric-key" => text.line("Key:", &encoded(secret.private.as_ref())),
            "plain" => text.line("Data:", &encoded(secret.private.as_ref())),
            _ => {
                let certificate = secret.cert.as_ref().map(Base64Bytes::encode);
                text.line("Valid For:", &secret.valid_for.to_string());
                text.line("Certificate:", &certificate.unwrap_or_default());
                text.line("Public Key:", &encoded(secret.public.as_ref()));
                text.line("Private Key:", &encoded(secret.private.as_ref()));
            }
        }
    }
    text.0
}

fn encoded(bytes: Option<&Base64Secret>) -> Zeroizing<String> {
    bytes.map(Base64Secret::encode).unwrap_or_default()
}

/// Text that leaves no copies behind when it grows.
#[derive(Default)]
struct WipedText(Zeroizing<Vec<u8>>);

impl WipedText {
    fn line(&mut self, label: &str, value: &str) {
        const COLUMN: &str = "             ";
        let blanks = COLUMN.get(label.len()..).unwrap_or_default();
        self.push(&["\t", label, blanks, value, "\n"]);
    }

    fn push(&mut self, parts: &[&str]) {
        let length = parts
            .iter()
            .fold(self.0.len(), |length, part| length.saturating_add(part.len()));
        if length > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(length.saturating_mul(2)));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        for part in parts {
            self.0.extend_from_slice(part.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_its_lines() {
        let secret = |kind: &str| v2::Secret {
            r#type: kind.to_owned(),
            size: 128,
            user_defined: true,
            valid_for: 7,
            cert: Some(Base64Bytes(vec![1])),
            private: Some(Base64Secret::new(Zeroizing::new(b"hi".to_vec()))),
            public: Some(Base64Secret::new(Zeroizing::new(vec![2]))),
            ..v2::Secret::default()
        };
        let mut unset = secret("plain");
        unset.private = None;
        let secrets: Named<v2::Secret> = [
            ("a", secret("symmetric-key")),
            ("b", secret("plain")),
            ("c", secret("cert-rsa")),
            ("d", unset),
        ]
        .into_iter()
        .map(|(name, secret)| (name.to_owned(), secret))
        .collect();
        let head = |name: &str, kind: &str| {
            format!("{name}:\n\tType:        {kind}\n\tUserDefined: true\n\tSize:        128\n")
        };
        let expected = head("a", "symmetric-key")
            + "\tKey:         aGk=\n"
            + &head("b", "plain")
            + "\tData:        aGk=\n"
            + &head("c", "cert-rsa")
            + "\tValid For:   7\n\tCertificate: AQ==\n\tPublic Key:  Ag==\n\tPrivate Key: aGk=\n"
            + &head("d", "plain")
            + "\tData:        \n";
        assert_eq!(String::from_utf8(text(&secrets).to_vec()).unwrap(), expected);
    }
}
