//! Signing the TCB status of an SGX quote, for those who cannot verify quotes themselves (`spec/05`, `sign-quote`).
//!
//! [`examine`] takes what was posted, somebody with the collateral verifies it, [`sign`] signs what came of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use marblerun_attestation::{Quote, TcbStatus};

use crate::ambient::Ambient;
use crate::manifest::FeatureGate;
use crate::pki::key::SignatureHash;
use crate::refusal::{Refusal, RefusalKind};
use crate::state::State;

/// A quote as it was posted, bare or behind the Open Enclave header: not verified.
pub struct PostedQuote {
    quote: Quote,
}

impl PostedQuote {
    /// The evidence to verify.
    pub fn quote(&self) -> &Quote {
        &self.quote
    }
}

/// What is known of a quote, signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedQuote {
    /// The TCB status that verification found, whether good or bad.
    pub tcb_status: TcbStatus,
    /// ECDSA (ASN.1 DER) by the root key over SHA-256(base64 of the quote as posted ‖ TCB status).
    pub signature: Vec<u8>,
}

/// Takes a quote to be verified.
///
/// # Errors
/// `FeatureDisabled` before anything else; `Malformed` for one that is empty or larger than [`Quote::LIMIT`], and for an SGX
/// quote with bytes behind it: the status follows the quote's base64 in what is signed, and whoever chose the length could
/// make the beginning of the status the end of another quote.
pub fn examine(state: &State, quote: Vec<u8>) -> Result<PostedQuote, Refusal> {
    state.check_feature(FeatureGate::SignQuoteEndpoint)?;
    if quote.is_empty() {
        return Err(not_verifiable("the quote is empty"));
    }
    let quote = Quote::new(quote).map_err(|error| not_verifiable(error.to_string()))?;
    let behind = quote.bytes_behind();
    if behind > 0 {
        return Err(not_verifiable(format!(
            "{behind} bytes stand behind the end of the quote: expected the quote alone"
        )));
    }
    Ok(PostedQuote { quote })
}

/// The refusal of a quote that cannot be verified; `reason` is told to the caller.
pub fn not_verifiable(reason: impl Into<String>) -> Refusal {
    Refusal::new(RefusalKind::Malformed, reason)
}

/// Signs the TCB status that verifying the quote came to. A bad one is signed too; packages are not looked at.
///
/// # Errors
/// `FeatureDisabled`, `Internal`.
pub fn sign(
    state: &State,
    posted: &PostedQuote,
    tcb_status: TcbStatus,
    ambient: &Ambient<'_>,
) -> Result<SignedQuote, Refusal> {
    state.check_feature(FeatureGate::SignQuoteEndpoint)?;
    let mut message = STANDARD.encode(posted.quote.as_bytes());
    message.push_str(tcb_status.as_str());
    let signature = ambient.dice.sign(
        &state.authority.root_key,
        SignatureHash::Sha256,
        message.as_bytes(),
    )?;
    Ok(SignedQuote {
        tcb_status,
        signature,
    })
}
