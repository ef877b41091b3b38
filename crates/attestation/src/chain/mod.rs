//! X.509 as far as attestation needs it: chains of fixed length below a pinned root, and revocation lists.

pub(crate) mod certificate;
pub(crate) mod crl;
pub(crate) mod pem;

pub(crate) use self::certificate::Certificate;
pub(crate) use self::crl::RevocationList;
