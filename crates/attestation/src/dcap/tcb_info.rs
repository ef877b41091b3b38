//! TCB information: what Intel says about the state of platforms (Intel PCS API v4, "Get TCB Info").

use std::cmp::Reverse;

use serde::Deserialize;

use super::pck::PlatformId;
use crate::collateral::{CollateralError, not_hex};
use crate::moment::{Period, UnixSeconds};
use crate::reason::Reason;
use crate::tcb::TcbStatus;

const FIELD: &str = "tcb_info";

/// TCB information, read and put into the order in which levels are tried.
pub(crate) struct TcbInfo {
    pub(super) id: String,
    pub(super) version: u32,
    pub(super) period: Period,
    pub(super) fmspc: [u8; 6],
    pub(super) pce_id: [u8; 2],
    levels: Vec<Level>,
    module: Option<ModuleIdentity>,
    modules: Vec<Module>,
}

/// A state of a platform. Fields in the order by which levels are sorted.
struct Level {
    sgx: [u8; 16],
    pce_svn: u16,
    tdx: Option<[u8; 16]>,
    rating: Rating,
}

/// A rating with the advisories that go with it; `None` where there is no list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rating {
    pub(super) status: TcbStatus,
    pub(super) advisories: Option<Vec<String>>,
}

/// Who signed a TDX module, and its attributes.
pub(super) struct ModuleIdentity {
    pub(super) mr_signer: [u8; 48],
    pub(super) attributes: [u8; 8],
    pub(super) mask: [u8; 8],
}

/// What is known about TDX modules of one version.
struct Module {
    id: String,
    identity: ModuleIdentity,
    levels: Vec<ModuleLevel>,
}

struct ModuleLevel {
    security_version: u8,
    rating: Rating,
}

impl TcbInfo {
    pub(super) fn read(json: &str) -> Result<Self, CollateralError> {
        let json: Json =
            serde_json::from_str(json).map_err(|error| CollateralError::field(FIELD, error.to_string()))?;
        let mut levels = json
            .tcb_levels
            .into_iter()
            .map(Level::read)
            .collect::<Result<Vec<_>, _>>()?;
        // Intel's own library sorts too: the order in the JSON means nothing.
        levels.sort_by_key(|level| Reverse((level.sgx, level.pce_svn, level.tdx)));
        let modules = json
            .tdx_module_identities
            .into_iter()
            .map(|module| {
                let levels = module.tcb_levels.into_iter().map(ModuleLevel::read);
                let mut levels = levels.collect::<Result<Vec<_>, _>>()?;
                levels.sort_by_key(|level| Reverse(level.security_version));
                Ok(Module {
                    id: module.id,
                    identity: module.identity.read()?,
                    levels,
                })
            })
            .collect::<Result<_, CollateralError>>()?;
        Ok(Self {
            id: json.id,
            version: json.version,
            period: period(FIELD, &json.issue_date, &json.next_update)?,
            fmspc: array(FIELD, "fmspc", &json.fmspc)?,
            pce_id: array(FIELD, "pceId", &json.pce_id)?,
            levels,
            module: json.tdx_module.map(JsonModule::read).transpose()?,
            modules,
        })
    }

    /// The best level that the platform meets in every component, and, for TDX, the rating of the module.
    pub(super) fn rate(
        &self,
        platform: &PlatformId,
        tee_tcb_svn: Option<&[u8; 16]>,
    ) -> Result<Rating, Reason> {
        let level = self
            .levels
            .iter()
            .find(|level| level.is_met_by(platform, tee_tcb_svn))
            .ok_or_else(|| Reason::NoTcbLevel {
                sgx: hex::encode(platform.components),
                pce: platform.pce_svn,
                tdx: tee_tcb_svn.map_or_else(|| "none".to_owned(), hex::encode),
            })?;
        let mut rating = level.rating.clone();
        if let Some([svn, version, ..]) = tee_tcb_svn
            && let Some(Module { levels, .. }) = self.module_entry(*version)?
        {
            let level = levels
                .iter()
                .find(|level| *svn >= level.security_version)
                .ok_or_else(|| Reason::ModuleTooOld {
                    found: *svn,
                    lowest: levels.last().map_or(u8::MAX, |level| level.security_version),
                })?;
            rating.converge(&level.rating);
        }
        Ok(rating)
    }

    /// The identity that the TDX module of this version has to have.
    pub(super) fn module(&self, version: u8) -> Result<&ModuleIdentity, Reason> {
        match self.module_entry(version)? {
            Some(module) => Ok(&module.identity),
            None => self.module.as_ref().ok_or(Reason::NoModuleIdentity { version }),
        }
    }

    /// Version 0 has no entry of its own: its components are part of the levels.
    fn module_entry(&self, version: u8) -> Result<Option<&Module>, Reason> {
        if version == 0 {
            return Ok(None);
        }
        let wanted = format!("TDX_{version:02X}");
        self.modules
            .iter()
            .find(|module| module.id.eq_ignore_ascii_case(&wanted))
            .map(Some)
            .ok_or(Reason::NoModuleIdentity { version })
    }
}

impl Level {
    fn read(json: JsonLevel) -> Result<Self, CollateralError> {
        let svns = |components: Vec<JsonComponent>, name: &str| {
            let list: Vec<u8> = components.into_iter().map(|component| component.svn).collect();
            <[u8; 16]>::try_from(list).map_err(|list| {
                CollateralError::field(
                    FIELD,
                    format!("{name}: expected 16 components, found {}", list.len()),
                )
            })
        };
        Ok(Self {
            sgx: svns(json.tcb.sgxtcbcomponents, "sgxtcbcomponents")?,
            pce_svn: json.tcb.pcesvn,
            tdx: json
                .tcb
                .tdxtcbcomponents
                .map(|components| svns(components, "tdxtcbcomponents"))
                .transpose()?,
            rating: rating(FIELD, &json.tcb_status, json.advisory_ids)?,
        })
    }

    /// With a module version, the first two TDX components are the module's, which is rated by itself.
    fn is_met_by(&self, platform: &PlatformId, tee_tcb_svn: Option<&[u8; 16]>) -> bool {
        let meets =
            |found: &[u8], needed: &[u8]| found.iter().zip(needed).all(|(found, needed)| found >= needed);
        let tdx = match (tee_tcb_svn, &self.tdx) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some([_, version, found @ ..]), Some([_, _, needed @ ..])) if *version > 0 => {
                meets(found, needed)
            }
            (Some(found), Some(needed)) => meets(found, needed),
        };
        tdx && meets(&platform.components, &self.sgx) && platform.pce_svn >= self.pce_svn
    }
}

impl ModuleLevel {
    fn read(json: JsonModuleLevel) -> Result<Self, CollateralError> {
        Ok(Self {
            security_version: json.tcb.isvsvn,
            rating: rating(FIELD, &json.tcb_status, json.advisory_ids)?,
        })
    }
}

impl Rating {
    /// Takes in the rating of a component, the TDX module or the quoting enclave: only one that is out of date or
    /// revoked makes the platform worse. Advisories add up.
    pub(super) fn converge(&mut self, component: &Self) {
        use TcbStatus as S;
        self.status = match (component.status, self.status) {
            (S::Revoked, _) => S::Revoked,
            (S::OutOfDate, S::UpToDate | S::SWHardeningNeeded) => S::OutOfDate,
            (S::OutOfDate, S::ConfigurationNeeded | S::ConfigurationAndSWHardeningNeeded) => {
                S::OutOfDateConfigurationNeeded
            }
            (_, status) => status,
        };
        if let Some(more) = &component.advisories {
            let advisories = self.advisories.get_or_insert_default();
            for advisory in more {
                if !advisories.contains(advisory) {
                    advisories.push(advisory.clone());
                }
            }
        }
    }

    /// Takes in the rating of a TDX platform as it is now, when this one is of when the trust domain was started: a
    /// trust domain that was started on a platform out of date stays so until it is started again.
    pub(super) fn since_start(&mut self, now: &Self) {
        use TcbStatus as S;
        self.status = match (self.status, now.status) {
            (_, S::Revoked) => S::Revoked,
            (S::OutOfDate, S::ConfigurationNeeded | S::ConfigurationAndSWHardeningNeeded) => {
                S::OutOfDateConfigurationNeeded
            }
            (status, _) => status,
        };
    }
}

/// A rating as JSON spells it.
pub(super) fn rating(
    field: &'static str,
    status: &str,
    advisories: Option<Vec<String>>,
) -> Result<Rating, CollateralError> {
    Ok(Rating {
        status: status.parse().map_err(|error: crate::tcb::UnknownTcbStatus| {
            CollateralError::field(field, error.to_string())
        })?,
        advisories,
    })
}

/// A period as JSON spells it.
pub(super) fn period(field: &'static str, from: &str, until: &str) -> Result<Period, CollateralError> {
    let date = |name: &str, text: &str| {
        UnixSeconds::parse(text)
            .ok_or_else(|| CollateralError::field(field, format!("{name}: expected a date, found {text:?}")))
    };
    Ok(Period {
        from: date("issueDate", from)?,
        until: date("nextUpdate", until)?,
    })
}

/// Bytes as JSON spells them: hex.
pub(super) fn array<const N: usize>(
    field: &'static str,
    name: &str,
    text: &str,
) -> Result<[u8; N], CollateralError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|error| {
        let found = not_hex(error);
        CollateralError::field(field, format!("{name}: expected {N} bytes in hex, found {found}"))
    })?;
    Ok(bytes)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    id: String,
    version: u32,
    issue_date: String,
    next_update: String,
    fmspc: String,
    pce_id: String,
    tcb_levels: Vec<JsonLevel>,
    tdx_module: Option<JsonModule>,
    #[serde(default)]
    tdx_module_identities: Vec<JsonModuleEntry>,
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
    sgxtcbcomponents: Vec<JsonComponent>,
    tdxtcbcomponents: Option<Vec<JsonComponent>>,
    pcesvn: u16,
}

#[derive(Deserialize)]
struct JsonComponent {
    svn: u8,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonModule {
    mrsigner: String,
    attributes: String,
    attributes_mask: String,
}

impl JsonModule {
    fn read(self) -> Result<ModuleIdentity, CollateralError> {
        Ok(ModuleIdentity {
            mr_signer: array(FIELD, "mrsigner", &self.mrsigner)?,
            attributes: array(FIELD, "attributes", &self.attributes)?,
            mask: array(FIELD, "attributesMask", &self.attributes_mask)?,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonModuleEntry {
    id: String,
    #[serde(flatten)]
    identity: JsonModule,
    tcb_levels: Vec<JsonModuleLevel>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonModuleLevel {
    tcb: JsonIsvSvn,
    tcb_status: String,
    #[serde(rename = "advisoryIDs")]
    advisory_ids: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct JsonIsvSvn {
    isvsvn: u8,
}
