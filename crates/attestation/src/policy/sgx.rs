//! The identity of an SGX enclave: of a package of the manifest, or of the Coordinator a client expects.

use std::ops::ControlFlow;

use super::{EveryRule, RuleOutcome, Rules, tcb};
use crate::claims::{Claims, SgxClaims};

/// The enclave that is expected. What is not given is not compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SgxEnclave<'a> {
    /// MRENCLAVE in hex, ignoring case; a text that is not 64 digits matches nothing.
    pub unique_id: Option<&'a str>,
    /// MRSIGNER, likewise.
    pub signer_id: Option<&'a str>,
    /// ISVPRODID.
    pub product_id: Option<u64>,
    /// ISVSVN, the minimum.
    pub security_version: Option<u64>,
    /// Enclaves under debug.
    pub debug: DebugRule,
}

/// What is asked of the attribute DEBUG.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DebugRule {
    /// The attribute is this. For packages: one for debug enclaves is for these only.
    Exactly(bool),
    /// Whether an enclave under debug is good enough, too. For Coordinators.
    Allowed(bool),
}

impl SgxEnclave<'_> {
    /// Tells the rules about the identity. Those about the TCB, [`tcb`], come after them.
    pub fn tell(&self, rules: &mut Rules<'_>, claims: &SgxClaims) -> ControlFlow<()> {
        match self.debug {
            DebugRule::Exactly(expected) => rules.equal("Debug", expected, claims.debug)?,
            DebugRule::Allowed(true) => rules.tell("Debug", true, "false or true", claims.debug)?,
            DebugRule::Allowed(false) => rules.equal("Debug", false, claims.debug)?,
        }
        if let Some(expected) = self.unique_id {
            rules.equal_hex("UniqueID", expected, &claims.unique_id)?;
        }
        if let Some(expected) = self.signer_id {
            rules.equal_hex("SignerID", expected, &claims.signer_id)?;
        }
        if let Some(expected) = self.product_id {
            rules.equal("ProductID", expected, u64::from(claims.product_id))?;
        }
        if let Some(minimum) = self.security_version {
            rules.at_least("SecurityVersion", minimum, u64::from(claims.security_version))?;
        }
        ControlFlow::Continue(())
    }
}

/// Holds claims against an enclave that is expected and the ratings that are good enough: every rule and what became
/// of it, in order. The claims comply if none is broken. Those of another TEE break the only rule there is, `TEE`.
///
/// For clients: whether `expected` asks for enough is their question (spec/09).
pub fn sgx_enclave(
    expected: &SgxEnclave<'_>,
    accepted_tcb_statuses: &[String],
    accepted_advisories: &[String],
    claims: &Claims,
) -> Vec<RuleOutcome> {
    let mut every = EveryRule::default();
    let mut rules = Rules::of_document(&mut every);
    // No rule stops `EveryRule`.
    let _ = match claims {
        Claims::Sgx(claims) => {
            expected.tell(&mut rules, claims).is_continue()
                && tcb::status(&mut rules, accepted_tcb_statuses, claims.tcb_status).is_continue()
                && tcb::advisories(
                    &mut rules,
                    accepted_advisories,
                    claims.tcb_status,
                    claims.advisories.as_deref(),
                )
                .is_continue()
        }
        Claims::Tdx(_) | Claims::Snp(_) => rules.equal("TEE", "SGX", claims.tee()).is_continue(),
    };
    every.into_outcomes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcb::TcbStatus;

    const ANY: SgxEnclave<'static> = SgxEnclave {
        unique_id: None,
        signer_id: None,
        product_id: None,
        security_version: None,
        debug: DebugRule::Allowed(false),
    };

    fn claims() -> SgxClaims {
        SgxClaims {
            unique_id: [1; 32],
            signer_id: [2; 32],
            product_id: 44,
            security_version: 3,
            debug: false,
            tcb_status: TcbStatus::UpToDate,
            advisories: Some(Vec::new()),
            cpu_svn: [7; 16],
            qe_svn: 5,
            pce_svn: 6,
            root_ca: vec![3, 3, 3],
            report_data: [0; 64],
        }
    }

    fn broken(expected: SgxEnclave<'_>, claims: SgxClaims) -> Vec<String> {
        sgx_enclave(&expected, &[], &[], &Claims::Sgx(Box::new(claims)))
            .into_iter()
            .filter(RuleOutcome::is_broken)
            .map(|outcome| outcome.rule)
            .collect()
    }

    #[test]
    fn each_rule_is_compared() {
        let signer = "02".repeat(32);
        let full = SgxEnclave {
            signer_id: Some(&signer),
            product_id: Some(44),
            security_version: Some(3),
            ..ANY
        };
        let none: [&str; 0] = [];
        assert_eq!(broken(full, claims()), none);
        assert_eq!(broken(ANY, claims()), none);
        for (change, rule) in [
            (
                (|claims| claims.signer_id[31] = 0) as fn(&mut SgxClaims),
                "SignerID",
            ),
            (|claims| claims.product_id = 45, "ProductID"),
            (|claims| claims.security_version = 2, "SecurityVersion"),
            (|claims| claims.debug = true, "Debug"),
            (
                |claims| claims.tcb_status = TcbStatus::OutOfDate,
                "AcceptedTCBStatuses",
            ),
        ] {
            let mut other = claims();
            change(&mut other);
            assert_eq!(broken(full, other), [rule]);
        }
        let id = "01".repeat(32);
        let unique = |id| SgxEnclave {
            unique_id: Some(id),
            ..ANY
        };
        assert_eq!(broken(unique(&id), claims()), none);
        assert_eq!(broken(unique(&signer), claims()), ["UniqueID"]);
        assert_eq!(broken(unique("put the id here"), claims()), ["UniqueID"]);
        let higher = SgxClaims {
            security_version: 4,
            ..claims()
        };
        assert_eq!(broken(full, higher), none);
    }

    #[test]
    fn debug_is_allowed_or_asked_for() {
        let debug = SgxClaims {
            debug: true,
            ..claims()
        };
        for (rule, of_debug, of_production) in [
            (DebugRule::Allowed(true), true, true),
            (DebugRule::Allowed(false), false, true),
            (DebugRule::Exactly(true), true, false),
            (DebugRule::Exactly(false), false, true),
        ] {
            let expected = SgxEnclave { debug: rule, ..ANY };
            assert_eq!(broken(expected, debug.clone()).is_empty(), of_debug, "{rule:?}");
            assert_eq!(broken(expected, claims()).is_empty(), of_production, "{rule:?}");
        }
    }
}
