//! Evidence about this Coordinator: over its root certificate, with or without a nonce of who asks (`spec/05`,
//! `quote`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use marblerun_attestation::ReportBinding;
use marblerun_attestation::issue::{IssueError, Issuer};
use marblerun_core::refusal::{Refusal, RefusalKind};
use tokio::sync::Semaphore;

use crate::pace::Pace;

/// Who waits for evidence with a nonce, which the TEE makes one at a time: more are refused.
const WAITING: usize = 32;

/// Makes evidence about this Coordinator. Evidence without nonce is made once for each root certificate.
pub struct OwnEvidence {
    issuer: Option<Arc<dyn Issuer>>,
    kept: Mutex<Option<Kept>>,
    /// Who makes what is kept has it.
    turn: Semaphore,
    waiting: Semaphore,
    pace: Pace,
}

struct Kept {
    root: Arc<[u8]>,
    evidence: Arc<[u8]>,
}

impl OwnEvidence {
    /// From this issuer; without one there is no evidence to show.
    pub fn new(issuer: Option<Arc<dyn Issuer>>) -> Self {
        Self {
            issuer,
            kept: Mutex::new(None),
            turn: Semaphore::new(1),
            waiting: Semaphore::new(WAITING),
            pace: Pace::default(),
        }
    }

    /// Evidence over SHA-256 of the root certificate, DER, to be kept. Blocks.
    ///
    /// # Errors
    /// The TEE gives none.
    pub fn prepare(&self, root: &Arc<[u8]>) -> Result<(), IssueError> {
        let Some(issuer) = &self.issuer else { return Ok(()) };
        let evidence = issuer.quote(&ReportBinding::certificate(root))?.into();
        let root = Arc::clone(root);
        *self.lock() = Some(Kept { root, evidence });
        Ok(())
    }

    /// Evidence over SHA-256 of `root ‖ nonce`; `None` in lenient simulation, where there is none. With a nonce it is
    /// made for whoever asks, at most ten times a second.
    ///
    /// # Errors
    /// `Unavailable` when too many ask at once, `Internal` when the TEE gives none.
    pub async fn quote(
        self: &Arc<Self>,
        root: &Arc<[u8]>,
        nonce: &[u8],
    ) -> Result<Option<Arc<[u8]>>, Refusal> {
        let Some(issuer) = &self.issuer else {
            return Ok(None);
        };
        if nonce.is_empty() {
            return self.without_nonce(root).await.map(Some);
        }
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return Err(Refusal::new(
                RefusalKind::Unavailable,
                "too many quotes are being asked for; try again, or ask without a nonce",
            ));
        };
        self.pace.wait().await;
        let binding = ReportBinding::certificate_and_nonce(root, nonce);
        let issuer = Arc::clone(issuer);
        let evidence = tokio::task::spawn_blocking(move || issuer.quote(&binding))
            .await
            .map_err(Refusal::internal)?
            .map_err(Refusal::internal)?;
        Ok(Some(evidence.into()))
    }

    /// The kept evidence, or new one when the root certificate is another than it was: after a recovery.
    async fn without_nonce(self: &Arc<Self>, root: &Arc<[u8]>) -> Result<Arc<[u8]>, Refusal> {
        if let Some(evidence) = self.kept_for(root) {
            return Ok(evidence);
        }
        let _turn = self.turn.acquire().await.map_err(Refusal::internal)?;
        if self.kept_for(root).is_none() {
            let (own, root) = (Arc::clone(self), Arc::clone(root));
            tokio::task::spawn_blocking(move || own.prepare(&root))
                .await
                .map_err(Refusal::internal)?
                .map_err(Refusal::internal)?;
        }
        self.kept_for(root).ok_or_else(|| {
            Refusal::new(
                RefusalKind::Unavailable,
                "the root certificate is changing; try again",
            )
        })
    }

    fn kept_for(&self, root: &Arc<[u8]>) -> Option<Arc<[u8]>> {
        let kept = self.lock();
        let kept = kept.as_ref().filter(|kept| kept.root == *root)?;
        Some(Arc::clone(&kept.evidence))
    }

    /// Nothing panics while the lock is held.
    fn lock(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Says what it was asked for, and counts.
    #[derive(Default)]
    struct Counting {
        asked: AtomicUsize,
        fails: bool,
    }

    impl Issuer for Counting {
        fn quote(&self, binding: &ReportBinding) -> Result<Vec<u8>, IssueError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if self.fails {
                return Err(IssueError::SoftwareTee {
                    why: "secret of the device".into(),
                });
            }
            Ok(binding.digest().to_vec())
        }
    }

    fn own(issuer: Counting) -> (Arc<OwnEvidence>, Arc<Counting>) {
        let issuer = Arc::new(issuer);
        let own = OwnEvidence::new(Some(Arc::clone(&issuer) as Arc<dyn Issuer>));
        (Arc::new(own), issuer)
    }

    fn root(text: &str) -> Arc<[u8]> {
        text.as_bytes().into()
    }

    #[tokio::test]
    async fn without_nonce_it_is_made_once_for_each_root_whoever_asks() {
        let (own, issuer) = own(Counting::default());
        own.prepare(&root("root")).unwrap();
        for _ in 0..3 {
            let evidence = own.quote(&root("root"), b"").await.unwrap().unwrap();
            assert_eq!(evidence[..], ReportBinding::certificate(b"root").digest()[..]);
        }
        assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
        let asking: Vec<_> = (0..16)
            .map(|_| {
                let own = Arc::clone(&own);
                tokio::spawn(async move { own.quote(&root("recovered"), b"").await.unwrap().unwrap() })
            })
            .collect();
        for asking in asking {
            assert_eq!(
                asking.await.unwrap()[..],
                ReportBinding::certificate(b"recovered").digest()[..]
            );
        }
        assert_eq!(issuer.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn with_a_nonce_it_is_made_each_time_and_paced_and_a_crowd_is_refused() {
        let (own, issuer) = own(Counting::default());
        let asking: Vec<_> = (0..WAITING + 8)
            .map(|_| {
                let own = Arc::clone(&own);
                tokio::spawn(async move { own.quote(&root("root"), b"nonce").await })
            })
            .collect();
        let began = tokio::time::Instant::now();
        let mut refused = 0;
        for asking in asking {
            match asking.await.unwrap() {
                Ok(evidence) => assert_eq!(
                    evidence.unwrap()[..],
                    ReportBinding::certificate_and_nonce(b"root", b"nonce").digest()[..]
                ),
                Err(refusal) => {
                    assert_eq!(refusal.kind(), RefusalKind::Unavailable);
                    refused += 1;
                }
            }
        }
        assert_eq!(refused, 8);
        assert_eq!(issuer.asked.load(Ordering::SeqCst), WAITING);
        assert!(began.elapsed().as_millis() >= 100 * (WAITING as u128 - 1));
    }

    #[tokio::test]
    async fn what_the_tee_says_stays_in_the_log() {
        let (own, _) = own(Counting {
            fails: true,
            ..Counting::default()
        });
        assert!(own.prepare(&root("root")).is_err());
        for nonce in [&b""[..], b"nonce"] {
            let refusal = own.quote(&root("root"), nonce).await.unwrap_err();
            assert_eq!(refusal.kind(), RefusalKind::Internal);
            assert!(!refusal.message().contains("device"));
            assert!(refusal.detail().unwrap().contains("device"));
        }
    }

    #[tokio::test]
    async fn in_lenient_simulation_there_is_none() {
        let own = Arc::new(OwnEvidence::new(None));
        own.prepare(&root("root")).unwrap();
        assert_eq!(own.quote(&root("root"), b"nonce").await.unwrap(), None);
    }
}
