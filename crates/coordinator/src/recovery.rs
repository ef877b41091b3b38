//! Where recovery secrets are handed in while a state waits for them (`docs/flows/recover.md`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use marblerun_core::ambient::CryptoFault;
use marblerun_core::flow::recover;
use marblerun_core::recovery::{Lock, Progress, Recovery, is_plain_length};
use marblerun_core::refusal::{Refusal, RefusalKind};
use marblerun_core::secret::value::SecretBytes;
use tokio::sync::{Semaphore, watch};
use zeroize::Zeroizing;

use crate::keeper::Keeper;
use crate::pace::Pace;

/// Why a recovery secret was not taken.
#[derive(Debug, thiserror::Error)]
pub enum RecoverRefusal {
    /// It is not as long as a plain secret, and does not decrypt with the ephemeral key.
    #[error(
        "the recovery secret does not decrypt: expected 16, 17, 32 or 33 bytes, or a secret encrypted for the \
             Coordinator's present recovery public key (RSA-OAEP, SHA-256)"
    )]
    DoesNotDecrypt,
    /// Any other reason.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Takes recovery secrets until the state is open. All that belongs to the recovery, collected secrets and
/// ephemeral key, is dropped when it is over.
pub struct Desk {
    /// `None`: it is over.
    recovery: Mutex<Option<Recovery>>,
    ephemeral: watch::Sender<Ephemeral>,
    /// Secrets are taken one at a time.
    turn: Semaphore,
    pace: Pace,
}

/// The key secrets may be encrypted for.
enum Ephemeral {
    /// It is being made.
    Coming,
    Ready(Arc<EphemeralKey>),
    /// It could not be made.
    Failed,
    /// The recovery is over.
    Dropped,
}

struct EphemeralKey {
    key: OaepPrivateDecryptingKey,
    /// PKIX DER.
    public: Arc<[u8]>,
}

impl Desk {
    /// Waits for the secrets of a state. The ephemeral key is made on a thread of its own: it takes seconds.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn open(lock: Lock) -> std::io::Result<Arc<Self>> {
        let desk = Arc::new(Self {
            recovery: Mutex::new(Some(Recovery::new(lock))),
            ephemeral: watch::Sender::new(Ephemeral::Coming),
            turn: Semaphore::new(1),
            pace: Pace::default(),
        });
        let weak = Arc::downgrade(&desk);
        std::thread::Builder::new()
            .name("recovery-key".to_owned())
            .spawn(move || {
                let made = EphemeralKey::generate();
                if let Some(desk) = weak.upgrade() {
                    desk.ephemeral_made(made);
                }
            })?;
        Ok(desk)
    }

    /// The public key that secrets may be encrypted for, PKIX DER; waits until it is made.
    ///
    /// # Errors
    /// `WrongPhase` when the recovery is over, `Internal` if the key could not be made.
    pub async fn public_key(&self) -> Result<Arc<[u8]>, Refusal> {
        Ok(Arc::clone(&self.ephemeral_key().await?.public))
    }

    /// Takes a secret, plain or encrypted for the ephemeral key. With the last one the state is opened, checked and
    /// published. Answers how many more there are; 0: recovered.
    ///
    /// # Errors
    /// [`RecoverRefusal`]. If secrets that should have been enough were refused, all are dropped.
    pub async fn hand_in(
        &self,
        keeper: &Keeper,
        secret: &[u8],
        signature: &[u8],
    ) -> Result<usize, RecoverRefusal> {
        let _turn = self.turn.acquire().await.map_err(Refusal::internal)?;
        let secret = if is_plain_length(secret.len()) {
            SecretBytes::copy_from(secret)
        } else {
            self.decrypt(secret).await?
        };
        if self.with_recovery(|recovery| recovery.is_costly())? {
            self.pace.wait().await;
        }
        let key = match self.with_recovery(|recovery| recovery.collect(secret, signature))?? {
            Progress::Wanting { remaining } => {
                tracing::info!(remaining, "a recovery secret was taken");
                return Ok(remaining);
            }
            Progress::Complete(key) => key,
        };
        let remaining = key.remaining;
        let collected = key.collected.clone();
        let check = move |state: &_| recover::check(state, &collected);
        let refusal = match keeper.recover(key, check).await {
            Ok(true) => {
                tracing::info!("the state was recovered");
                return Ok(0);
            }
            Ok(false) if remaining > 0 => {
                tracing::info!(
                    remaining,
                    "a recovery secret was taken; they do not open the state yet"
                );
                return Ok(remaining);
            }
            Ok(false) => Refusal::new(
                RefusalKind::Denied,
                "the recovery secrets do not open the state; all of them have to be handed in again",
            ),
            Err(refusal) => refusal,
        };
        tracing::warn!(
            reason = refusal.message(),
            "a recovery failed; what was handed in is dropped"
        );
        // Over meanwhile: then there is nothing to drop.
        let _ = self.with_recovery(Recovery::forget);
        Err(refusal.into())
    }

    /// Ends the recovery: the state was opened, or given up for a new one.
    pub fn close(&self) {
        *self.lock() = None;
        self.ephemeral.send_replace(Ephemeral::Dropped);
    }

    fn ephemeral_made(&self, made: Result<EphemeralKey, CryptoFault>) {
        self.ephemeral.send_if_modified(|ephemeral| {
            let coming = matches!(ephemeral, Ephemeral::Coming);
            if coming {
                *ephemeral = match made {
                    Ok(key) => Ephemeral::Ready(Arc::new(key)),
                    Err(error) => {
                        tracing::error!(%error, "there is no key to encrypt recovery secrets for");
                        Ephemeral::Failed
                    }
                };
            }
            coming
        });
    }

    async fn ephemeral_key(&self) -> Result<Arc<EphemeralKey>, Refusal> {
        let mut receiver = self.ephemeral.subscribe();
        let ephemeral = receiver
            .wait_for(|ephemeral| !matches!(ephemeral, Ephemeral::Coming))
            .await
            .map_err(Refusal::internal)?;
        match &*ephemeral {
            Ephemeral::Ready(key) => Ok(Arc::clone(key)),
            Ephemeral::Dropped => Err(Refusal::wrong_phase()),
            Ephemeral::Failed | Ephemeral::Coming => {
                Err(Refusal::internal("the ephemeral recovery key could not be made"))
            }
        }
    }

    /// What is not as long as a ciphertext is refused for nothing; others cost an RSA operation and are paced.
    async fn decrypt(&self, secret: &[u8]) -> Result<SecretBytes, RecoverRefusal> {
        let key = self.ephemeral_key().await?;
        if secret.len() != key.key.key_size_bytes() {
            return Err(RecoverRefusal::DoesNotDecrypt);
        }
        self.pace.wait().await;
        let secret = secret.to_vec();
        tokio::task::spawn_blocking(move || key.decrypt(&secret))
            .await
            .map_err(Refusal::internal)?
            .ok_or(RecoverRefusal::DoesNotDecrypt)
    }

    fn with_recovery<R>(&self, work: impl FnOnce(&mut Recovery) -> R) -> Result<R, Refusal> {
        self.lock().as_mut().map(work).ok_or_else(Refusal::wrong_phase)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Recovery>> {
        self.recovery.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EphemeralKey {
    fn generate() -> Result<Self, CryptoFault> {
        let fault = CryptoFault::in_operation("generate the ephemeral recovery key");
        let key = PrivateDecryptingKey::generate(KeySize::Rsa4096).map_err(|_| fault)?;
        let public: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(|_| fault)?;
        let public = Arc::from(public.as_ref());
        let key = OaepPrivateDecryptingKey::new(key).map_err(|_| fault)?;
        Ok(Self { key, public })
    }

    fn decrypt(&self, secret: &[u8]) -> Option<SecretBytes> {
        let mut plain = Zeroizing::new(vec![0; self.key.min_output_size()]);
        let plain = self
            .key
            .decrypt(&OAEP_SHA256_MGF1SHA256, secret, &mut plain, None)
            .ok()?;
        Some(SecretBytes::copy_from(plain))
    }
}
