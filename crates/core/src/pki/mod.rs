//! Keys, certificates and the certificate authority of a deployment (`spec/03`).
//!
//! [`authority`] makes and renews the three certificates of a deployment; [`marble`] and
//! [`secret_certificate`] issue below them; [`request`] reads what a marble asks for. All of them encode
//! through `certificate`, `extensions` and `name`, which are the one place where order and criticality of
//! what a certificate holds are decided.

pub mod authority;
mod certificate;
mod extensions;
mod host_name;
pub mod key;
mod key_parser;
pub mod marble;
mod name;
pub mod pem;
pub mod request;
mod sec1;
pub mod secret_certificate;
mod suite;

pub use host_name::{HostName, HostNameError};
pub use suite::{CryptoSuite, UnknownSuite};
