//! No type that holds a secret can be printed or serialised.
//!
//! Which traits a type has is decided while this compiles: an associated constant of the type itself, there only
//! where the trait is, takes the place of the one every type gets.

use std::fmt::{Debug, Display, LowerHex, UpperHex};
use std::marker::PhantomData;

use serde::Serialize;

struct Ability<T: ?Sized>(PhantomData<T>);

trait Missing {
    const DEBUG: bool = false;
    const DISPLAY: bool = false;
    const SERIALIZE: bool = false;
    const HEX: bool = false;
    const UPPER_HEX: bool = false;
    const TEXT: bool = false;
    const BYTES: bool = false;
}

impl<T: ?Sized> Missing for Ability<T> {}

impl<T: ?Sized + Debug> Ability<T> {
    const DEBUG: bool = true;
}

impl<T: ?Sized + Display> Ability<T> {
    const DISPLAY: bool = true;
}

impl<T: ?Sized + Serialize> Ability<T> {
    const SERIALIZE: bool = true;
}

impl<T: ?Sized + LowerHex> Ability<T> {
    const HEX: bool = true;
}

impl<T: ?Sized + UpperHex> Ability<T> {
    const UPPER_HEX: bool = true;
}

impl<T: ?Sized + AsRef<str>> Ability<T> {
    const TEXT: bool = true;
}

impl<T: ?Sized + AsRef<[u8]>> Ability<T> {
    const BYTES: bool = true;
}

/// What a type can do that would show what it holds.
macro_rules! abilities {
    ($type:ty) => {
        [
            (Ability::<$type>::DEBUG, "Debug"),
            (Ability::<$type>::DISPLAY, "Display"),
            (Ability::<$type>::SERIALIZE, "Serialize"),
            (Ability::<$type>::HEX, "LowerHex"),
            (Ability::<$type>::UPPER_HEX, "UpperHex"),
            (Ability::<$type>::TEXT, "AsRef<str>"),
            (Ability::<$type>::BYTES, "AsRef<[u8]>"),
        ]
        .into_iter()
        .filter_map(|(able, name)| able.then_some(name))
        .collect::<Vec<_>>()
    };
}

macro_rules! assert_unprintable {
    ($($type:ty),* $(,)?) => {
        $(assert_eq!(abilities!($type), [""; 0], "{}", stringify!($type));)*
    };
}

#[test]
fn abilities_are_seen() {
    assert_eq!(
        abilities!(&str),
        ["Debug", "Display", "Serialize", "AsRef<str>", "AsRef<[u8]>"]
    );
    assert_eq!(
        abilities!(u8),
        ["Debug", "Display", "Serialize", "LowerHex", "UpperHex"]
    );
    assert_eq!(abilities!(Vec<u8>), ["Debug", "Serialize", "AsRef<[u8]>"]);
    // Through what they are usually wrapped in.
    assert_eq!(abilities!(Option<std::sync::Arc<str>>), ["Debug", "Serialize"]);
    // A type that derives what it must not is seen, and one that holds it as well.
    #[derive(Debug)]
    #[expect(dead_code, reason = "only its abilities are looked at")]
    struct Careless(Box<[u8]>);
    assert_eq!(abilities!(Careless), ["Debug"]);
    assert_eq!(abilities!(Result<Careless, u8>), ["Debug"]);
    struct Careful;
    assert_eq!(abilities!(Careful), [""; 0]);
}

#[test]
fn secrets_cannot_be_printed() {
    use marblerun_core::change::Change;
    use marblerun_core::decision::{Decision, Prepared, Verdict};
    use marblerun_core::flow::activate::{Activated, Activation, Parameters};
    use marblerun_core::flow::read_secrets::{SecretView, SecretsRead};
    use marblerun_core::flow::set_manifest::NewDeployment;
    use marblerun_core::flow::update_manifest::Update;
    use marblerun_core::flow::write_secrets::CheckedValues;
    use marblerun_core::pki::authority::Authority;
    use marblerun_core::pki::key::{PrivateKey, Signer};
    use marblerun_core::pki::marble::MarbleIdentity;
    use marblerun_core::sealed::{
        CheckpointSealer, DataKey, FrameSealer, OpenedState, ReadToEnd, Reader, Record,
    };
    use marblerun_core::secret::upload::Upload;
    use marblerun_core::secret::value::{CertificateValue, SecretBytes, SecretValue};
    use marblerun_core::state::{Sealing, State};
    use marblerun_core::template::Data;

    assert_unprintable!(
        SecretBytes,
        SecretValue,
        CertificateValue,
        PrivateKey,
        Signer,
        DataKey,
        Authority,
        MarbleIdentity,
        Sealing,
        State,
        Change,
        Parameters,
        Activated,
        Activation,
        NewDeployment,
        Upload,
        CheckedValues,
        SecretsRead,
        SecretView,
        Update,
        Prepared<Activation>,
        Prepared<NewDeployment>,
        Decision<Activated>,
        Verdict<Activated>,
        Data<'static>,
        CheckpointSealer,
        FrameSealer,
        Reader<'static>,
        ReadToEnd,
        OpenedState,
        Record<'static>,
    );
    // Nor in a list, behind a pointer, or as part of a result.
    assert_unprintable!(
        Vec<SecretBytes>,
        std::sync::Arc<SecretValue>,
        Option<PrivateKey>,
        Result<State, String>,
        (u8, DataKey),
        &'static Parameters,
    );
}
