//! The Marble API, gRPC service `rpc.Marble` (spec/04), compiled from `proto/marble.proto`.
//!
//! Limits belong on both ends, because the gRPC library's own default is 4 MiB for decoding and none for
//! encoding:
//!
//! | message | server | client |
//! |---|---|---|
//! | [`ActivationReq`] | `max_decoding_message_size(`[`REQUEST_LIMIT`]`)` | `max_encoding_message_size(`[`REQUEST_LIMIT`]`)` |
//! | [`ActivationResp`] | `max_encoding_message_size(`[`REPLY_LIMIT`]`)` | `max_decoding_message_size(`[`REPLY_LIMIT`]`)` |
//!
//! Secrets: [`Parameters`] holds them in plain `Vec<u8>` and `String`, which is what the protobuf library
//! decodes into. Dropping a [`Parameters`] overwrites its contents first, so nothing needs to be remembered;
//! [`Zeroize::zeroize`] does it earlier. Out of reach are the buffers of the HTTP/2 and TLS layers that the bytes
//! pass through, and copies made by a caller: take values out with [`std::mem::take`] into a zeroising type.

use std::fmt;

use zeroize::Zeroize;

mod generated {
    #![expect(clippy::allow_attributes, reason = "written by the code generator")]
    include!(concat!(env!("OUT_DIR"), "/rpc.rs"));
}

pub use generated::marble_client::MarbleClient;
pub use generated::marble_server::{Marble, MarbleServer};
pub use generated::{ActivationReq, ActivationResp, Parameters};

/// Largest encoded [`ActivationReq`], 256 KiB: a quote with its certificates is below 64 KiB, a CSR below 16 KiB.
pub const REQUEST_LIMIT: usize = 256 * 1024;

/// Largest encoded [`ActivationResp`], 4 MiB: the most that marbles written in Go accept (spec/04, step 6).
pub const REPLY_LIMIT: usize = 4 * 1024 * 1024;

/// Environment variable of [`Parameters::env`]: the Marble root certificate, PEM.
pub const ENVIRONMENT_ROOT_CA: &str = "MARBLE_PREDEFINED_ROOT_CA";

/// Environment variable of [`Parameters::env`]: the marble certificate, then the intermediate certificate, PEM.
pub const ENVIRONMENT_CERTIFICATE_CHAIN: &str = "MARBLE_PREDEFINED_MARBLE_CERTIFICATE_CHAIN";

/// Environment variable of [`Parameters::env`]: the marble's private key, PKCS#8 PEM.
pub const ENVIRONMENT_PRIVATE_KEY: &str = "MARBLE_PREDEFINED_PRIVATE_KEY";

/// Environment variable of [`Parameters::env`]: the Coordinator's root certificate, PEM.
pub const ENVIRONMENT_COORDINATOR_ROOT_CA: &str = "MARBLE_PREDEFINED_COORDINATOR_ROOT_CA";

/// Environment variable of [`Parameters::env`]: what transparent TLS is asked for, JSON; only present when the
/// marble has TLS tags.
pub const ENVIRONMENT_TTLS_CONFIG: &str = "MARBLE_TTLS_CONFIG";

/// The encoded `google.protobuf.FileDescriptorSet` of `proto/marble.proto`, with comments: for reflection and for
/// checking that the contract's names and numbers are kept.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/marble.fds"));

impl Zeroize for Parameters {
    /// Overwrites every value, then empties the maps. Names (paths, variables) are public: they are in the manifest.
    fn zeroize(&mut self) {
        self.files.values_mut().for_each(Zeroize::zeroize);
        self.env.values_mut().for_each(Zeroize::zeroize);
        self.argv.zeroize();
        self.files.clear();
        self.env.clear();
    }
}

impl Drop for Parameters {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl fmt::Debug for Parameters {
    /// Names of files and variables, the number of arguments; never a value.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Parameters")
            .field("files", &self.files.keys())
            .field("env", &self.env.keys())
            .field("argv", &format_args!("{} arguments", self.argv.len()))
            .finish()
    }
}

impl fmt::Debug for ActivationResp {
    /// As [`Parameters`].
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ActivationResp")
            .field("parameters", &self.parameters)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    fn parameters() -> Parameters {
        let mut parameters = Parameters::default();
        parameters
            .files
            .insert("/etc/key".into(), b"file-secret".to_vec());
        parameters.env.insert("TOKEN".into(), b"env-secret".to_vec());
        parameters.argv.push("argv-secret".into());
        parameters
    }

    #[test]
    fn the_numbers_on_the_wire_are_those_of_the_contract() {
        let request = ActivationReq {
            quote: vec![0xAA],
            csr: vec![0xBB, 0xCC],
            marble_type: "t".into(),
            uuid: "u".into(),
        };
        assert_eq!(
            request.encode_to_vec(),
            [0x0A, 1, 0xAA, 0x12, 2, 0xBB, 0xCC, 0x1A, 1, b't', 0x22, 1, b'u']
        );

        let mut parameters = Parameters::default();
        parameters.files.insert("f".into(), vec![1]);
        parameters.env.insert("e".into(), vec![2]);
        parameters.argv.push("a".into());
        let reply = ActivationResp {
            parameters: Some(parameters),
        };
        assert_eq!(
            reply.encode_to_vec(),
            [
                0x0A, 19, // Parameters
                0x0A, 6, 0x0A, 1, b'f', 0x12, 1, 1, // Files entry
                0x12, 6, 0x0A, 1, b'e', 0x12, 1, 2, // Env entry
                0x1A, 1, b'a', // Argv
            ]
        );
    }

    #[test]
    fn the_descriptor_names_are_those_of_the_contract() {
        let set = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let file = set
            .file
            .iter()
            .find(|file| file.name() == "marble.proto")
            .unwrap();
        assert_eq!(file.package(), "rpc");
        assert_eq!(file.syntax(), "proto3");
        let service = &file.service[0];
        assert_eq!(
            (file.service.len(), service.name(), service.method.len()),
            (1, "Marble", 1)
        );
        let method = &service.method[0];
        assert_eq!(method.name(), "Activate");
        assert_eq!(
            (method.input_type(), method.output_type()),
            (".rpc.ActivationReq", ".rpc.ActivationResp")
        );
        assert!(!method.client_streaming() && !method.server_streaming());

        let fields: Vec<String> = file
            .message_type
            .iter()
            .flat_map(|message| {
                message
                    .field
                    .iter()
                    .map(|field| format!("{}.{} {}", message.name(), field.name(), field.number()))
            })
            .collect();
        assert_eq!(
            fields,
            [
                "ActivationReq.Quote 1",
                "ActivationReq.CSR 2",
                "ActivationReq.MarbleType 3",
                "ActivationReq.UUID 4",
                "ActivationResp.Parameters 1",
                "Parameters.Files 1",
                "Parameters.Env 2",
                "Parameters.Argv 3",
            ]
        );
    }

    #[test]
    fn debug_shows_names_and_no_values() {
        let text = format!(
            "{:?}",
            ActivationResp {
                parameters: Some(parameters())
            }
        );
        assert!(text.contains("/etc/key") && text.contains("TOKEN"), "{text}");
        assert!(!text.contains("secret"), "{text}");
        let bytes = format!("{:?}", b"secret");
        assert!(!text.contains(bytes.trim_matches(['[', ']'])), "{text}");
    }

    #[test]
    fn wiping_leaves_nothing() {
        let mut wiped = parameters();
        wiped.zeroize();
        assert_eq!(wiped, Parameters::default());
    }
}
