//! One fetch: out of the directory, else from the source, and whether what comes holds below the roots.

use std::pin::Pin;
use std::sync::Arc;

use marblerun_attestation::collateral::CollateralNeeded;
use marblerun_attestation::{FreshnessPolicy, Reason, UnixSeconds};

use crate::collaterals::Asker;
use crate::directory::Candidate;
use crate::error::CollateralError;
use crate::flight::{Gate, Inner, Outcome, out_of_date};
use crate::piece::{Dated, Key, Piece, SnpLine, kind};
use crate::shortfall::{InDirectory, Shortfall};

impl Inner {
    /// The directory first, then the source, then the directory's if it is out of date within the grace. Boxed, because
    /// a fetch of one piece may wait for one of another.
    pub(crate) fn fetch(self: Arc<Self>, key: Key) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
        Box::pin(async move {
            let held = self.lock().cache.get(&key).and_then(|held| held.next_update);
            let InDirectory { found, shortfall } = self.from_directory(&key).await?;
            if let Some(found) = &found
                && found.stale_since(self.now()).is_none()
                && self.is_whole(&found.piece)
                && held.is_none_or(|held| found.next_update.is_none_or(|found| found >= held))
            {
                return Ok(Arc::clone(found));
            }
            let error = match self.from_source(&key, held).await {
                Ok(fetched) => return Ok(Arc::new(fetched)),
                Err(error) => error,
            };
            let no_service = matches!(error, CollateralError::NotInDirectory { .. });
            let Some(found) = found else {
                return Err(shortfall.beside(error));
            };
            match self.missing_part(&key, &found.piece) {
                // Of no use: why the list was not to be had says more than that it is not there.
                Some(what) if self.lacks_list(&found.piece) && !no_service => {
                    return Err(Shortfall::lacks(&what).beside(error));
                }
                Some(what) if self.usable(&key, &found, self.now()).is_some() => {
                    tracing::warn!(%error, "the directory has no {what}: {key}");
                    let error = (!no_service).then(|| Shortfall::lacks(&what).beside(error));
                    return Ok(Arc::new(found.without_the_rest(error)));
                }
                _ => {}
            }
            if self.usable(&key, &found, self.now()).is_some() {
                tracing::warn!(%error, "only the directory has collateral, out of date: {key}");
                return Ok(found);
            }
            if no_service {
                return Err(out_of_date(&found));
            }
            // Callers ask for another product line, or blame the evidence, for these.
            if error.is_about_evidence() || matches!(error, CollateralError::NotKnown { .. }) {
                return Err(error);
            }
            Err(match found.stale_since(self.now()) {
                Some(since) => CollateralError::DirectoryOutOfDate {
                    since,
                    error: Box::new(error),
                },
                None => error,
            })
        })
    }

    /// Whether a piece has all its parts: the directory may have only some of a product line.
    fn is_whole(&self, piece: &Piece) -> bool {
        match piece {
            Piece::SnpLine(line) => line.chain.is_some() && !self.lacks_list(piece),
            Piece::Dcap(_) | Piece::SnpEndorsement(_) => true,
        }
    }

    /// What it has not, for people.
    fn missing_part(&self, key: &Key, piece: &Piece) -> Option<String> {
        match key {
            Key::SnpLine(product, _) if self.lacks_list(piece) => Some(format!("CRL of {product}")),
            Key::SnpLine(product, signing_key) if !self.is_whole(piece) => Some(format!(
                "certificate chain of {product} for {} certificates",
                kind(*signing_key)
            )),
            _ => None,
        }
    }

    fn lacks_list(&self, piece: &Piece) -> bool {
        matches!(piece, Piece::SnpLine(line) if line.list.is_none() && self.revocation)
    }

    /// What the directory has, if it passes, or is out of date beyond use.
    ///
    /// # Errors
    /// It has an endorsement key, and what the key would be held against is nowhere to be had.
    async fn from_directory(self: &Arc<Self>, key: &Key) -> Result<InDirectory, CollateralError> {
        let mut outcome = InDirectory::default();
        let Some(directory) = &self.directory else {
            return Ok(outcome);
        };
        let directory = Arc::clone(directory);
        let read = tokio::task::spawn_blocking(move || directory.read()).await;
        let content = match read {
            Ok(Ok((content, _))) => content,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the directory of collateral cannot be read");
                outcome.shortfall = Shortfall::unreadable(&error);
                return Ok(outcome);
            }
            Err(_) => return Ok(outcome),
        };
        outcome.shortfall = Shortfall::nothing_of(key, &content);
        for Candidate { files, dated: found } in content.pieces.get(key).into_iter().flatten() {
            if self.usable(key, found, self.now()).is_none() {
                // Not used, but worth a better error than that there is nothing.
                outcome.found.get_or_insert_with(|| Arc::clone(found));
                continue;
            }
            let line = self.line_of(key).await?;
            match self.passes(key, found, line.as_ref(), self.policy) {
                Ok(()) => {
                    outcome.found = Some(Arc::clone(found));
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, files, "collateral in the directory is passed over: {key}");
                    outcome.shortfall.passed_over(files, &error);
                }
            }
        }
        Ok(outcome)
    }

    async fn from_source(
        self: &Arc<Self>,
        key: &Key,
        held: Option<UnixSeconds>,
    ) -> Result<Dated, CollateralError> {
        let fetched = self.client.fetch(key).await?;
        let origin = fetched.origin.as_str();
        if let Some(since) = fetched.stale_since(self.now()) {
            return Err(CollateralError::OutOfDate { origin, since });
        }
        if let (Some(held), Some(found)) = (held, fetched.next_update)
            && found < held
        {
            return Err(CollateralError::Older { origin, found, held });
        }
        let line = self.line_of(key).await?;
        self.passes(key, &fetched, line.as_ref(), FreshnessPolicy::default())?;
        Ok(fetched)
    }

    /// The chain that an endorsement key is held against; of other pieces there is none.
    async fn line_of(self: &Arc<Self>, key: &Key) -> Result<Option<SnpLine>, CollateralError> {
        let Key::SnpEndorsement(wanted) = key else {
            return Ok(None);
        };
        let line = Key::SnpLine(wanted.product, wanted.signing_key);
        let held = self.piece(line, &mut Gate::new(Asker::Trusted)).await?;
        match &held.dated.piece {
            Piece::SnpLine(line) => Ok(Some(SnpLine {
                chain: line.chain.clone(),
                ..SnpLine::default()
            })),
            _ => Err(CollateralError::Interrupted),
        }
    }

    /// Whether a piece is what it should be, below the roots.
    fn passes(
        &self,
        key: &Key,
        dated: &Dated,
        line: Option<&SnpLine>,
        policy: FreshnessPolicy,
    ) -> Result<(), CollateralError> {
        let outcome = match (key, &dated.piece, line) {
            (Key::Dcap(needed), Piece::Dcap(collateral), _) => {
                let needed = CollateralNeeded::Dcap(*needed);
                (self.check)(collateral, &needed, self.now(), policy)
            }
            (Key::SnpLine(..), Piece::SnpLine(line), _) => {
                let collateral = crate::snp::assemble(line, None)?;
                (self.check)(&collateral, &crate::snp::needed(key), self.now(), policy)
            }
            (Key::SnpEndorsement(_), Piece::SnpEndorsement(der), Some(line)) => {
                let collateral = crate::snp::assemble(line, Some(der.clone()))?;
                (self.check)(&collateral, &crate::snp::needed(key), self.now(), policy)
            }
            _ => return Err(CollateralError::Interrupted),
        };
        match outcome {
            Ok(()) => Ok(()),
            // A signed statement, and the evidence's own affair: the verifier refuses it with that reason.
            Err(refused)
                if matches!(*refused.reason, Reason::Revoked { .. }) && !refused.is_about_collateral() =>
            {
                Ok(())
            }
            Err(refused) => Err(CollateralError::Refused {
                origin: dated.origin.as_str(),
                refused: Box::new(refused),
            }),
        }
    }
}
