//! Certificates in evidence.

use super::Item;
use crate::chain::Certificate;
use crate::dcap::PlatformId;
use crate::reason::CertificateRole;

/// A certificate by what people know it by.
pub(super) fn certificate(name: String, role: CertificateRole, der: &[u8]) -> Item {
    let certificate = match Certificate::parse(role, der) {
        Ok(certificate) => certificate,
        Err(reason) => return Item::group(name, vec![Item::problem(reason.to_string())]),
    };
    let (_, period) = certificate.dated();
    let mut items = vec![
        Item::value("subject", certificate.subject.to_string()),
        Item::value("issuer", certificate.issuer.to_string()),
        Item::value("serial number", hex::encode(&certificate.serial)),
        Item::value("valid from", period.from.to_string()),
        Item::value("valid until", period.until.to_string()),
    ];
    // Only platforms have the extension; that another has none is no problem.
    if role == CertificateRole::Pck
        && let Ok(platform) = PlatformId::read(&certificate)
    {
        items.extend([
            Item::value("FMSPC", hex::encode(platform.fmspc)),
            Item::value("PCE-ID", hex::encode(platform.pce_id)),
            Item::value("CPUSVN", hex::encode(platform.cpu_svn)),
            Item::value(
                "TCB components",
                platform.components.map(|svn| svn.to_string()).join(" "),
            ),
            Item::value("PCESVN", platform.pce_svn.to_string()),
        ]);
    }
    Item::group(name, items)
}
