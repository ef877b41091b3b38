//! What the shell tells about the machine, as far as manifests depend on it.

/// How the data key can be sealed here: what `AzureHSMSealing` needs and does not find, and whether the TEE has a seal
/// key. This crate reads no environment: the shell does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HsmEnvironment {
    /// The variables that are not set or empty; none: the feature can be used.
    pub missing: Vec<String>,
    /// The TEE has no seal key: nothing but recovery opens a state after a restart (`spec/06`).
    pub without_seal_key: bool,
}

impl HsmEnvironment {
    const NEEDED: [&'static str; 5] = [
        "EDG_MAA_URL",
        "EDG_AZURE_HSM_VAULT_URL",
        "EDG_AZURE_HSM_KEY_NAME",
        "EDG_AZURE_CLIENT_ID",
        "EDG_AZURE_TENANT_ID",
    ];

    /// From a function that tells whether a variable is set and not empty.
    pub fn from_lookup(is_set: impl Fn(&str) -> bool) -> Self {
        let mut missing: Vec<String> = Self::NEEDED
            .iter()
            .filter(|name| !is_set(name))
            .map(|name| (*name).to_owned())
            .collect();
        let federated = is_set("EDG_AZURE_AUTHORITY_HOST") && is_set("EDG_AZURE_FEDERATED_TOKEN_FILE");
        if !is_set("EDG_AZURE_CLIENT_SECRET") && !federated {
            missing.push(
                "EDG_AZURE_CLIENT_SECRET (or both EDG_AZURE_AUTHORITY_HOST and EDG_AZURE_FEDERATED_TOKEN_FILE)"
                    .to_owned(),
            );
        }
        Self {
            missing,
            without_seal_key: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_two_ways_to_authenticate_is_enough() {
        let none = HsmEnvironment::from_lookup(|_| false);
        assert_eq!(none.missing.len(), 6);
        let secret = HsmEnvironment::from_lookup(|name| {
            HsmEnvironment::NEEDED.contains(&name) || name == "EDG_AZURE_CLIENT_SECRET"
        });
        assert!(secret.missing.is_empty());
        let federated = |token: bool| {
            HsmEnvironment::from_lookup(|name| match name {
                "EDG_AZURE_CLIENT_SECRET" => false,
                "EDG_AZURE_FEDERATED_TOKEN_FILE" => token,
                _ => true,
            })
        };
        assert!(federated(true).missing.is_empty());
        assert_eq!(federated(false).missing.len(), 1);
    }
}
