//! Platforms seen before: what both implementations accepted need not be verified again, only looked at again for
//! its dates.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::pck::PckChain;
use crate::collateral::DcapTee;

/// A PCK chain together with the collateral it was verified with, by hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    chain: [u8; 32],
    collateral: [u8; 32],
    tee: DcapTee,
}

impl Key {
    pub(super) fn new(chain: [u8; 32], collateral: [u8; 32], tee: DcapTee) -> Self {
        Self {
            chain,
            collateral,
            tee,
        }
    }
}

/// A bounded memory. Its lock is held to look something up, never to verify.
pub(crate) struct Seen {
    capacity: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    chains: HashMap<Key, Arc<PckChain>>,
    /// The latest key of each chain and TEE: collateral is renewed, the platform stays.
    latest: HashMap<([u8; 32], DcapTee), Key>,
    /// Oldest first.
    order: VecDeque<Key>,
}

impl Seen {
    /// Remembers at most `capacity` platforms, and forgets the one first seen.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            inner: Mutex::default(),
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<PckChain>> {
        self.lock().chains.get(key).cloned()
    }

    /// The chain with this hash, whatever collateral it was verified with.
    pub(super) fn recall(&self, chain: [u8; 32], tee: DcapTee) -> Option<Arc<PckChain>> {
        let inner = self.lock();
        inner.chains.get(inner.latest.get(&(chain, tee))?).cloned()
    }

    pub(super) fn put(&self, key: Key, chain: Arc<PckChain>) {
        let mut inner = self.lock();
        inner.latest.insert((key.chain, key.tee), key);
        if inner.chains.insert(key, chain).is_some() {
            return;
        }
        inner.order.push_back(key);
        if inner.order.len() > self.capacity
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.chains.remove(&oldest);
            let platform = (oldest.chain, oldest.tee);
            if inner.latest.get(&platform) == Some(&oldest) {
                inner.latest.remove(&platform);
            }
        }
    }

    /// Nothing panics while the lock is held.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
