//! The Coordinator's certificates, and the file they are pinned in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Largest chain that is read, in bytes of PEM.
const MAXIMUM_PEM: usize = 1 << 20;

/// Intermediate and root certificate of a Coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateChain {
    intermediate: CertificateDer<'static>,
    root: CertificateDer<'static>,
}

impl CertificateChain {
    /// Reads two PEM blocks `CERTIFICATE`: the intermediate, then the root. What follows is not looked at.
    ///
    /// # Errors
    /// There are fewer blocks, or one is no PEM.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CertificateError> {
        if pem.len() > MAXIMUM_PEM {
            return Err(CertificateError::TooLarge { limit: MAXIMUM_PEM });
        }
        let mut blocks = CertificateDer::pem_slice_iter(pem);
        let mut next = |found| match blocks.next() {
            Some(Ok(certificate)) => Ok(certificate),
            Some(Err(error)) => Err(CertificateError::Pem {
                reason: error.to_string(),
            }),
            None => Err(CertificateError::Missing { found }),
        };
        Ok(Self {
            intermediate: next(0)?,
            root: next(1)?,
        })
    }

    /// The intermediate certificate: changes with every manifest update.
    pub fn intermediate(&self) -> &CertificateDer<'static> {
        &self.intermediate
    }

    /// The root certificate: lives as long as the deployment.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// Both as PEM, intermediate first: the format of [`CertificateChain::from_pem`].
    pub fn to_pem(&self) -> String {
        self.intermediate_pem() + &self.root_pem()
    }

    /// The intermediate certificate as PEM.
    pub fn intermediate_pem(&self) -> String {
        certificate_pem(&self.intermediate)
    }

    /// The root certificate as PEM.
    pub fn root_pem(&self) -> String {
        certificate_pem(&self.root)
    }
}

/// The root certificate to trust, and no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    root: CertificateDer<'static>,
}

impl Pin {
    /// Reads a pinned chain: the second block is the root, the sole anchor.
    ///
    /// # Errors
    /// As [`CertificateChain::from_pem`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, CertificateError> {
        CertificateChain::from_pem(pem).map(|chain| Self { root: chain.root })
    }

    /// Trusts exactly this root certificate.
    pub fn new(root: CertificateDer<'static>) -> Self {
        Self { root }
    }

    /// The root certificate.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }
}

impl From<&CertificateChain> for Pin {
    fn from(chain: &CertificateChain) -> Self {
        Self {
            root: chain.root.clone(),
        }
    }
}

/// Not the chain of a Coordinator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Too few blocks.
    #[error("expected two PEM blocks CERTIFICATE (intermediate, then root), found {found}")]
    Missing {
        /// How many there are.
        found: usize,
    },
    /// No PEM.
    #[error("not PEM: {reason}")]
    Pem {
        /// Why.
        reason: String,
    },
    /// Too long.
    #[error("longer than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
}

fn certificate_pem(certificate: &CertificateDer<'_>) -> String {
    let encoded = STANDARD.encode(certificate);
    let mut pem = String::with_capacity(encoded.len() + encoded.len() / 64 + 64);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII: every offset is a boundary.
        let (line, tail) = rest.split_at_checked(64).unwrap_or((rest, ""));
        pem.push_str(line);
        pem.push('\n');
        rest = tail;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(name: &str) -> rcgen::Certificate {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new([name.to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap()
    }

    #[test]
    fn pem_is_written_as_it_was_read() {
        let (first, second) = (certificate("first"), certificate("second"));
        let pem = (first.pem() + &second.pem()).replace("\r\n", "\n");
        let chain = CertificateChain::from_pem(pem.as_bytes()).unwrap();
        assert_eq!(chain.intermediate(), first.der());
        assert_eq!(chain.root(), second.der());
        assert_eq!(chain.to_pem(), pem);
        assert_eq!(Pin::from_pem(pem.as_bytes()).unwrap(), Pin::from(&chain));
    }

    #[test]
    fn refusals() {
        let one = certificate("one").pem();
        assert_eq!(
            CertificateChain::from_pem(b"").unwrap_err(),
            CertificateError::Missing { found: 0 }
        );
        assert_eq!(
            CertificateChain::from_pem(one.as_bytes()).unwrap_err(),
            CertificateError::Missing { found: 1 }
        );
        let broken = format!("{one}-----BEGIN CERTIFICATE-----\nAA*A\n-----END CERTIFICATE-----\n");
        assert!(matches!(
            CertificateChain::from_pem(broken.as_bytes()),
            Err(CertificateError::Pem { .. })
        ));
        let long = vec![b'\n'; MAXIMUM_PEM + 1];
        assert!(matches!(
            CertificateChain::from_pem(&long),
            Err(CertificateError::TooLarge { .. })
        ));
    }
}
