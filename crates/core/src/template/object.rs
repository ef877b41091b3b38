//! What a template can reach from its dot, and what of it an encoding may take (`spec/02`, "Templates").
//!
//! The same objects serve the check, where the name of a secret may be unknown, and rendering, where it never is.

use std::collections::BTreeMap;

use super::functions::Function;
use crate::manifest::Name;
use crate::secret::spec::{SecretKind, SecretSpec};

/// The definitions of all secrets of a manifest.
pub(super) type Specs = BTreeMap<Name, SecretSpec>;

/// Which value of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Age {
    Current,
    Previous,
}

/// Who a part belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// A secret of the manifest; without a name: any of them.
    Secret(Age, Option<Name>),
    RootCa,
    MarbleCert,
    CoordinatorRoot,
    CoordinatorIntermediate,
    SealKey,
}

/// A part of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Cert,
    Public,
    Private,
}

/// A property of a definition, known without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Property {
    Type,
    Size,
    Shared,
    UserDefined,
    ValidFor,
}

/// Something with fields, or a secret: whatever can be reached but not printed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Object {
    /// The dot a template begins with.
    Root,
    /// `.Previous`
    Previous,
    /// `.Secrets` or `.Previous.Secrets`
    Secrets(Age),
    /// `.MarbleRun`
    MarbleRun,
    /// A secret without a part.
    Whole(Owner),
    /// A part of a secret.
    Part(Owner, Part),
    /// Some bytes of a key, by `slice`.
    Piece(Owner, Part),
}

/// What a field leads to.
pub(super) enum Field {
    /// Another object.
    Object(Object),
    /// A property of a secret of the manifest.
    Property(Option<Name>, Property),
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Part::Cert => "Cert",
            Part::Public => "Public",
            Part::Private => "Private",
        }
    }
}

impl Owner {
    /// How an error names it.
    pub(super) fn describe(&self) -> String {
        match self {
            Owner::Secret(Age::Current, Some(name)) => format!("secret `{name}`"),
            Owner::Secret(Age::Previous, Some(name)) => format!("the previous value of secret `{name}`"),
            Owner::Secret(_, None) => "a secret".into(),
            Owner::RootCa => "`.MarbleRun.RootCA`".into(),
            Owner::MarbleCert => "`.MarbleRun.MarbleCert`".into(),
            Owner::CoordinatorRoot => "`.MarbleRun.CoordinatorRoot`".into(),
            Owner::CoordinatorIntermediate => "`.MarbleRun.CoordinatorIntermediate`".into(),
            Owner::SealKey => "`.MarbleRun.SealKey`".into(),
        }
    }

    /// Whether the bytes of its keys are bare bytes, not a structure that has a PEM form of its own.
    ///
    /// `None`: not known before rendering.
    pub(super) fn is_bare(&self, specs: &Specs) -> Option<bool> {
        match self {
            Owner::Secret(_, name) => {
                let spec = specs.get(name.as_ref()?)?;
                Some(!matches!(spec.kind, SecretKind::Certificate { .. }))
            }
            Owner::SealKey => Some(true),
            _ => Some(false),
        }
    }

    fn parts(&self, specs: &Specs) -> &'static [Part] {
        match self {
            Owner::RootCa | Owner::CoordinatorRoot | Owner::CoordinatorIntermediate => &[Part::Cert],
            _ if self.is_bare(specs) == Some(true) => &[Part::Public, Part::Private],
            _ => &[Part::Cert, Part::Public, Part::Private],
        }
    }

    fn part(&self, part: Part, specs: &Specs) -> Result<Part, String> {
        let parts = self.parts(specs);
        if parts.contains(&part) {
            return Ok(part);
        }
        let expected = parts
            .iter()
            .map(|part| format!(".{}", part.name()))
            .collect::<Vec<_>>()
            .join(", ");
        let kind = match self {
            Owner::Secret(_, Some(name)) => specs
                .get(name)
                .map(|spec| format!(" ({})", spec.type_name()))
                .unwrap_or_default(),
            _ => String::new(),
        };
        Err(format!(
            "{}{kind} has no .{}, only {expected}",
            self.describe(),
            part.name()
        ))
    }
}

impl Object {
    /// How an error names it.
    pub(super) fn describe(&self) -> String {
        match self {
            Object::Root => "the data of the template".into(),
            Object::Previous => "`.Previous`".into(),
            Object::Secrets(Age::Current) => "`.Secrets`".into(),
            Object::Secrets(Age::Previous) => "`.Previous.Secrets`".into(),
            Object::MarbleRun => "`.MarbleRun`".into(),
            Object::Whole(owner) => owner.describe(),
            Object::Part(owner, part) => format!(".{} of {}", part.name(), owner.describe()),
            Object::Piece(owner, part) => format!("a piece of .{} of {}", part.name(), owner.describe()),
        }
    }

    /// Why it cannot be printed or measured.
    pub(super) fn unprintable(&self) -> String {
        match self {
            Object::Whole(_) | Object::Part(_, _) | Object::Piece(_, _) => {
                format!(
                    "{} is used without an encoding: expected hex, base64, pem, raw or string",
                    self.describe()
                )
            }
            _ => format!("{} cannot be printed as a whole", self.describe()),
        }
    }

    /// Follows a field.
    pub(super) fn field(&self, name: &str, specs: &Specs) -> Result<Field, String> {
        let object = match (self, name) {
            (Object::Root, "Secrets") => Object::Secrets(Age::Current),
            (Object::Root, "Previous") => Object::Previous,
            (Object::Root, "MarbleRun" | "Marblerun") => Object::MarbleRun,
            (Object::Root, _) => {
                return Err(format!(
                    "unknown field .{name}: expected .Secrets, .Previous or .MarbleRun"
                ));
            }
            (Object::Previous, "Secrets") => Object::Secrets(Age::Previous),
            (Object::Previous, _) => {
                return Err(format!(
                    "unknown field .Previous.{name}: expected .Previous.Secrets"
                ));
            }
            (Object::Secrets(age), _) => Object::Whole(secret(*age, name, specs)?),
            (Object::MarbleRun, "RootCA") => Object::Whole(Owner::RootCa),
            (Object::MarbleRun, "MarbleCert") => Object::Whole(Owner::MarbleCert),
            (Object::MarbleRun, "CoordinatorRoot") => Object::Whole(Owner::CoordinatorRoot),
            (Object::MarbleRun, "CoordinatorIntermediate") => Object::Whole(Owner::CoordinatorIntermediate),
            (Object::MarbleRun, "SealKey") => Object::Whole(Owner::SealKey),
            (Object::MarbleRun, _) => {
                return Err(format!(
                    "unknown field .MarbleRun.{name}: expected RootCA, MarbleCert, CoordinatorRoot, \
                     CoordinatorIntermediate or SealKey"
                ));
            }
            (Object::Whole(owner), "Cert") => Object::Part(owner.clone(), owner.part(Part::Cert, specs)?),
            (Object::Whole(owner), "Public") => Object::Part(owner.clone(), owner.part(Part::Public, specs)?),
            (Object::Whole(owner), "Private") => {
                Object::Part(owner.clone(), owner.part(Part::Private, specs)?)
            }
            (Object::Whole(Owner::Secret(_, secret)), _) => {
                let property = match name {
                    "Type" => Property::Type,
                    "Size" => Property::Size,
                    "Shared" => Property::Shared,
                    "UserDefined" => Property::UserDefined,
                    "ValidFor" => Property::ValidFor,
                    _ => {
                        return Err(format!(
                            "unknown field .{name} of {}: expected Cert, Public, Private, Type, Size, Shared, \
                             UserDefined or ValidFor",
                            self.describe()
                        ));
                    }
                };
                return Ok(Field::Property(secret.clone(), property));
            }
            (Object::Whole(_) | Object::Part(_, _) | Object::Piece(_, _), _) => {
                return Err(format!("{} has no field .{name}", self.describe()));
            }
        };
        Ok(Field::Object(object))
    }

    /// Whose part an encoding takes: `hex`, `base64`, `pem`, `raw` or `string`.
    ///
    /// Where the name of the secret is not known yet, the part may turn out another when it is.
    pub(super) fn encoded_part(&self, encoding: Function, specs: &Specs) -> Result<(&Owner, Part), String> {
        let owner = match self {
            Object::Whole(owner) => owner,
            Object::Part(_, _) | Object::Piece(_, _) if encoding == Function::String => {
                return Err(format!(
                    "`string` takes a plain secret itself, not {}",
                    self.describe()
                ));
            }
            Object::Part(owner, part) | Object::Piece(owner, part) => return Ok((owner, *part)),
            _ => {
                return Err(format!(
                    "`{}` takes a secret or a part of one, not {}",
                    encoding.name(),
                    self.describe()
                ));
            }
        };
        match (encoding, owner) {
            (Function::String, Owner::Secret(_, None)) => Ok((owner, Part::Public)),
            (Function::String, Owner::Secret(_, Some(name))) => match specs.get(name) {
                Some(spec) if spec.kind == SecretKind::Plain => Ok((owner, Part::Public)),
                Some(spec) => Err(format!(
                    "`string` takes plain secrets only; {} is a {}",
                    owner.describe(),
                    spec.type_name()
                )),
                None => Err(format!("secret `{name}` is not defined")),
            },
            (Function::String, _) => Err(format!(
                "`string` takes plain secrets of the manifest only, not {}",
                owner.describe()
            )),
            (Function::Pem, _) if owner.is_bare(specs) == Some(true) => Err(format!(
                "{} has no PEM form: expected hex or base64, or its .Public or .Private",
                owner.describe()
            )),
            (Function::Pem, _) => Ok((owner, Part::Cert)),
            (_, Owner::RootCa | Owner::CoordinatorRoot | Owner::CoordinatorIntermediate) => Err(format!(
                "`{}` needs the .Cert of {}",
                encoding.name(),
                owner.describe()
            )),
            _ => Ok((owner, Part::Public)),
        }
    }
}

/// The secret of that name.
pub(super) fn secret(age: Age, name: &str, specs: &Specs) -> Result<Owner, String> {
    match specs.get_key_value(name) {
        Some((name, _)) => Ok(Owner::Secret(age, Some(name.clone()))),
        None => Err(format!("secret `{name}` is not defined in the manifest")),
    }
}
