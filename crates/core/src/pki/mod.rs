//! Keys, certificates and the certificate authority of a deployment (`spec/03`).

pub mod key;
