//! RSA keys made ahead.
//!
//! An RSA key takes from tenths of a second to many seconds. Manifests may ask for fresh ones at each
//! activation, so a thread keeps a few ready of just the sizes that the manifest in force can ask for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use marblerun_core::ambient::{CryptoFault, Dice};
use marblerun_core::manifest::Manifest;
use marblerun_core::pki::key::{KeyKind, PrivateKey, SignatureHash};
use marblerun_core::secret::spec::SecretKind;

/// Keys kept ready of each size.
const READY: usize = 4;

/// Dice that keep RSA keys ready; everything else is passed on.
pub struct PrefetchingDice {
    dice: Arc<dyn Dice>,
    shelf: Arc<Shelf>,
}

/// Keys that are ready, by RSA size in bits.
struct Shelf {
    keys: Mutex<BTreeMap<u16, VecDeque<PrivateKey>>>,
    changed: Condvar,
}

impl PrefetchingDice {
    /// Dice that make keys ahead on a thread of their own, which ends when they are dropped.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start(dice: Arc<dyn Dice>) -> std::io::Result<Self> {
        let shelf = Arc::new(Shelf {
            keys: Mutex::new(BTreeMap::new()),
            changed: Condvar::new(),
        });
        let (maker, weak) = (Arc::clone(&dice), Arc::downgrade(&shelf));
        std::thread::Builder::new()
            .name("rsa-keys".to_owned())
            .spawn(move || fill(&*maker, &weak))?;
        Ok(Self { dice, shelf })
    }

    /// Keeps keys ready of the sizes that activations under this manifest ask for, and drops all others.
    pub fn serve(&self, manifest: &Manifest) {
        let sizes = sizes_asked_for(manifest);
        let mut keys = self.shelf.lock();
        keys.retain(|size, _| sizes.contains(size));
        for size in sizes {
            keys.entry(size).or_default();
        }
        self.shelf.changed.notify_all();
    }
}

impl Drop for PrefetchingDice {
    fn drop(&mut self) {
        self.shelf.lock().clear();
        self.shelf.changed.notify_all();
    }
}

impl Dice for PrefetchingDice {
    fn fill(&self, out: &mut [u8]) {
        self.dice.fill(out);
    }

    fn generate_key(&self, kind: KeyKind) -> Result<PrivateKey, CryptoFault> {
        if let KeyKind::Rsa(size) = kind {
            let ready = self.shelf.lock().get_mut(&size).and_then(VecDeque::pop_front);
            if let Some(key) = ready {
                self.shelf.changed.notify_all();
                return Ok(key);
            }
        }
        self.dice.generate_key(kind)
    }

    fn sign(&self, key: &PrivateKey, hash: SignatureHash, message: &[u8]) -> Result<Vec<u8>, CryptoFault> {
        self.dice.sign(key, hash, message)
    }

    fn encrypt_oaep_sha256(&self, public_key_pkix: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoFault> {
        self.dice.encrypt_oaep_sha256(public_key_pkix, plaintext)
    }
}

impl Shelf {
    /// The map is whole after every step that changes it, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u16, VecDeque<PrivateKey>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sizes of the private RSA secrets that some marble refers to.
fn sizes_asked_for(manifest: &Manifest) -> BTreeSet<u16> {
    let referred = manifest
        .marbles
        .values()
        .flat_map(|marble| marble.references.secrets.iter());
    referred
        .filter_map(|name| manifest.secrets.get(name))
        .filter(|spec| spec.is_private())
        .filter_map(|spec| match spec.kind {
            SecretKind::Certificate {
                key: Some(KeyKind::Rsa(size)),
                ..
            } => Some(size),
            _ => None,
        })
        .collect()
}

fn fill(dice: &dyn Dice, shelf: &Weak<Shelf>) {
    while let Some(shelf) = shelf.upgrade() {
        let mut keys = shelf.lock();
        let wanted = keys
            .iter()
            .find(|(_, ready)| ready.len() < READY)
            .map(|(size, _)| *size);
        let Some(size) = wanted else {
            // Waits without owning the shelf for ever: the owner's drop clears it and wakes us.
            let (guard, _) = shelf
                .changed
                .wait_timeout(keys, std::time::Duration::from_secs(1))
                .unwrap_or_else(PoisonError::into_inner);
            drop(guard);
            continue;
        };
        drop(keys);
        let Ok(key) = dice.generate_key(KeyKind::Rsa(size)) else {
            tracing::error!(size, "making an RSA key ahead failed; activations make their own");
            return;
        };
        keys = shelf.lock();
        if let Some(ready) = keys.get_mut(&size) {
            ready.push_back(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    use marblerun_core::manifest::{HsmEnvironment, Limits, check};
    use marblerun_core::testing::TestDice;

    use super::*;

    /// Counts the RSA keys that were really made, by size.
    struct Counting(TestDice, Mutex<BTreeMap<u16, usize>>);

    impl Dice for Counting {
        fn fill(&self, out: &mut [u8]) {
            self.0.fill(out);
        }

        fn generate_key(&self, kind: KeyKind) -> Result<PrivateKey, CryptoFault> {
            if let KeyKind::Rsa(size) = kind {
                *self.1.lock().unwrap().entry(size).or_default() += 1;
            }
            self.0.generate_key(kind)
        }

        fn sign(
            &self,
            key: &PrivateKey,
            hash: SignatureHash,
            message: &[u8],
        ) -> Result<Vec<u8>, CryptoFault> {
            self.0.sign(key, hash, message)
        }

        fn encrypt_oaep_sha256(&self, key: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoFault> {
            self.0.encrypt_oaep_sha256(key, plaintext)
        }
    }

    fn manifest(referred: &str) -> Manifest {
        let raw = format!(
            r#"{{"Packages": {{"p": {{"Debug": true}}}},
                "Marbles": {{"m": {{"Package": "p", "Parameters": {{"Env": {{"K": "{{{{ pem .Secrets.{referred}.Private }}}}"}}}}}}}},
                "Secrets": {{"small": {{"Type": "cert-rsa", "Size": 2048}}, "large": {{"Type": "cert-rsa", "Size": 3072}},
                            "shared": {{"Type": "cert-rsa", "Size": 2048, "Shared": true}}}}}}"#
        );
        let environment = HsmEnvironment::from_lookup(|_| false);
        match check(raw.as_bytes(), &Limits::default(), &environment) {
            Ok(checked) => checked.manifest,
            Err(error) => panic!("{error}"),
        }
    }

    fn ready(dice: &PrefetchingDice) -> Vec<(u16, usize)> {
        dice.shelf
            .lock()
            .iter()
            .map(|(size, keys)| (*size, keys.len()))
            .collect()
    }

    fn wait_for(dice: &PrefetchingDice, expected: &[(u16, usize)]) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while ready(dice) != expected {
            assert!(
                Instant::now() < deadline,
                "ready: {:?}, expected {expected:?}",
                ready(dice)
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn keys_of_the_sizes_activations_ask_for_are_ready_and_no_others() {
        let counting = Arc::new(Counting(TestDice::new(1), Mutex::default()));
        let dice = PrefetchingDice::start(Arc::clone(&counting) as Arc<dyn Dice>).unwrap();
        assert_eq!(ready(&dice), []);

        dice.serve(&manifest("small"));
        wait_for(&dice, &[(2048, READY)]);
        assert_eq!(
            *counting.1.lock().unwrap(),
            BTreeMap::from([(2048, READY)]),
            "nobody refers to the other sizes"
        );
        let key = dice.generate_key(KeyKind::Rsa(2048)).unwrap();
        assert_eq!(key.kind(), KeyKind::Rsa(2048));
        wait_for(&dice, &[(2048, READY)]);
        assert_eq!(
            counting.1.lock().unwrap()[&2048],
            READY + 1,
            "one taken, one made in its place"
        );

        dice.generate_key(KeyKind::Rsa(3072)).unwrap();
        assert_eq!(
            counting.1.lock().unwrap()[&3072],
            1,
            "a size nobody keeps is made when asked for"
        );

        dice.serve(&manifest("shared"));
        assert_eq!(
            ready(&dice),
            [],
            "a shared secret is made once, with the manifest"
        );
    }
}
