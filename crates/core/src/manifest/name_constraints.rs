//! Name constraints in `Cert` (RFC 5280 section 4.2.1.10).

use std::net::IpAddr;

use super::field::{Field, Object};
use crate::secret::spec::{NameConstraints, NameSet};

/// Reads what is permitted and excluded; `None` when nothing is.
pub(super) fn read(object: &Object<'_, '_>) -> Option<NameConstraints> {
    let permitted = NameSet {
        dns_domains: domains(&object.field("PermittedDNSDomains")),
        ip_ranges: ip_ranges(&object.field("PermittedIPRanges")),
        email_addresses: domains(&object.field("PermittedEmailAddresses")),
        uri_domains: domains(&object.field("PermittedURIDomains")),
    };
    let excluded = NameSet {
        dns_domains: domains(&object.field("ExcludedDNSDomains")),
        ip_ranges: ip_ranges(&object.field("ExcludedIPRanges")),
        email_addresses: domains(&object.field("ExcludedEmailAddresses")),
        uri_domains: domains(&object.field("ExcludedURIDomains")),
    };
    let critical = object.field("PermittedDNSDomainsCritical").flag();
    let given = permitted != NameSet::default() || excluded != NameSet::default();
    given.then_some(NameConstraints {
        critical,
        permitted,
        excluded,
    })
}

/// The empty string is allowed: it matches every name.
fn domains(field: &Field<'_, '_>) -> Vec<String> {
    let mut domains = Vec::new();
    for (item, text) in field.texts() {
        if text.bytes().all(|byte| byte.is_ascii_graphic()) {
            domains.push(text.to_owned());
        } else {
            item.problem("expected printable ASCII without blanks, as X.509 encodes it");
        }
    }
    domains
}

fn ip_ranges(field: &Field<'_, '_>) -> Vec<Vec<u8>> {
    let Ok(Some(items)) = field.items() else {
        return Vec::new();
    };
    items.filter_map(|item| ip_range(&item)).collect()
}

/// Network address and mask; bits of the address outside the mask are cleared.
fn ip_range(item: &Field<'_, '_>) -> Option<Vec<u8>> {
    if item.given().is_none() {
        item.expected("an object with IP and Mask");
        return None;
    }
    let object = item.object(&["IP", "Mask"]).ok()?;
    let (ip_field, mask_field) = (object.field("IP"), object.field("Mask"));
    let mask = mask_field.bytes();
    let text = ip_field
        .required_text("expected the IP address of the network")
        .ok()?;
    let Ok(address) = text.parse::<IpAddr>() else {
        ip_field.problem("expected an IP address, such as 10.0.0.0 or fd00::");
        return None;
    };
    let Some(mask) = mask.ok()? else {
        mask_field
            .problem("missing: expected the mask of the network in base64, such as /wAAAA== for 255.0.0.0");
        return None;
    };
    let address = match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    // Go may write the mask of an IPv4 network in its IPv6 form.
    let mask = match mask.strip_prefix(&[0xff; 12]) {
        Some(short) if address.len() == 4 && mask.len() == 16 => short.to_vec(),
        _ => mask,
    };
    if mask.len() != address.len() {
        let (expected, found) = (address.len(), mask.len());
        mask_field.problem(format_args!(
            "expected {expected} bytes like the address has, found {found}"
        ));
        return None;
    }
    let ones_end = mask.iter().position(|byte| *byte != 0xff).unwrap_or(mask.len());
    let rest = mask.get(ones_end..).unwrap_or_default();
    let contiguous = rest
        .first()
        .is_none_or(|byte| byte.leading_ones() == byte.count_ones())
        && rest.iter().skip(1).all(|byte| *byte == 0);
    if !contiguous {
        mask_field.problem("expected a mask of one bits followed by zero bits");
        return None;
    }
    let network = address.iter().zip(&mask).map(|(byte, mask)| byte & mask);
    Some(network.chain(mask.iter().copied()).collect())
}
