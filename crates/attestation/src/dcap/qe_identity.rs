//! The identity of Intel's quoting enclaves (Intel PCS API v4, "Get Quoting Enclave Identity").

use serde::Deserialize;

use super::quote::SgxReport;
use super::tcb_info::{Rating, array, period, rating};
use crate::collateral::CollateralError;
use crate::moment::Period;
use crate::reason::Reason;

const FIELD: &str = "qe_identity";

/// The identity, read.
pub(crate) struct QeIdentity {
    pub(super) id: String,
    pub(super) version: u32,
    pub(super) period: Period,
    misc_select: [u8; 4],
    misc_select_mask: [u8; 4],
    attributes: [u8; 16],
    attributes_mask: [u8; 16],
    mr_signer: [u8; 32],
    product_id: u16,
    /// Security versions, highest first.
    levels: Vec<(u16, Rating)>,
}

impl QeIdentity {
    pub(super) fn read(json: &str) -> Result<Self, CollateralError> {
        let json: Json =
            serde_json::from_str(json).map_err(|error| CollateralError::field(FIELD, error.to_string()))?;
        let mut levels = json
            .tcb_levels
            .into_iter()
            .map(|level| {
                Ok((
                    level.tcb.isvsvn,
                    rating(FIELD, &level.tcb_status, level.advisory_ids)?,
                ))
            })
            .collect::<Result<Vec<_>, CollateralError>>()?;
        levels.sort_by_key(|(security_version, _)| std::cmp::Reverse(*security_version));
        Ok(Self {
            id: json.id,
            version: json.version,
            period: period(FIELD, &json.issue_date, &json.next_update)?,
            misc_select: array(FIELD, "miscselect", &json.miscselect)?,
            misc_select_mask: array(FIELD, "miscselectMask", &json.miscselect_mask)?,
            attributes: array(FIELD, "attributes", &json.attributes)?,
            attributes_mask: array(FIELD, "attributesMask", &json.attributes_mask)?,
            mr_signer: array(FIELD, "mrsigner", &json.mrsigner)?,
            product_id: json.isvprodid,
            levels,
        })
    }

    /// Whether the report is of this enclave, and how the enclave is rated.
    pub(super) fn rate(&self, report: &SgxReport<'_>) -> Result<Rating, Reason> {
        let refused = |field, found: String, expected: String| Reason::QuotingEnclave {
            field,
            found,
            expected,
        };
        if *report.mr_signer != self.mr_signer {
            return Err(refused(
                "MRSIGNER",
                hex::encode(report.mr_signer),
                hex::encode(self.mr_signer),
            ));
        }
        if report.product_id != self.product_id {
            return Err(refused(
                "ISVPRODID",
                report.product_id.to_string(),
                self.product_id.to_string(),
            ));
        }
        masked(
            "MISCSELECT",
            report.misc_select,
            &self.misc_select,
            &self.misc_select_mask,
        )?;
        masked(
            "ATTRIBUTES",
            report.attributes,
            &self.attributes,
            &self.attributes_mask,
        )?;
        if report.debug() {
            return Err(refused("DEBUG", "on".to_owned(), "off".to_owned()));
        }
        self.levels
            .iter()
            .find(|(security_version, _)| report.security_version >= *security_version)
            .map(|(_, rating)| rating.clone())
            .ok_or_else(|| Reason::QuotingEnclaveTooOld {
                found: report.security_version,
                lowest: self.levels.last().map_or(u16::MAX, |(lowest, _)| *lowest),
            })
    }
}

/// Compares the bits of the mask.
fn masked<const N: usize>(
    field: &'static str,
    found: &[u8; N],
    expected: &[u8; N],
    mask: &[u8; N],
) -> Result<(), Reason> {
    let under =
        |bytes: &[u8; N]| -> Vec<u8> { bytes.iter().zip(mask).map(|(byte, mask)| byte & mask).collect() };
    if under(found) == under(expected) {
        return Ok(());
    }
    Err(Reason::QuotingEnclave {
        field,
        found: hex::encode(found),
        expected: format!("{} under mask {}", hex::encode(expected), hex::encode(mask)),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    id: String,
    version: u32,
    issue_date: String,
    next_update: String,
    miscselect: String,
    miscselect_mask: String,
    attributes: String,
    attributes_mask: String,
    mrsigner: String,
    isvprodid: u16,
    tcb_levels: Vec<JsonLevel>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonLevel {
    tcb: JsonTcb,
    tcb_status: String,
    #[serde(rename = "advisoryIDs")]
    advisory_ids: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct JsonTcb {
    isvsvn: u16,
}
