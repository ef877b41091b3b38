//! A bounded number of places, for which peers need not queue behind those who only keep them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Places. When all are taken, a newcomer gets the place of the one that has been receiving for the longest time, once
/// that one has had [`Places::grace`]. Those whose body is complete keep their place. Of several who wait, the one
/// that came last is first: a crowd of peers that only wait holds up nobody.
pub(super) struct Places {
    number: usize,
    grace: Duration,
    inside: Mutex<Inside>,
    freed: Notify,
}

#[derive(Default)]
struct Inside {
    next: u64,
    holders: BTreeMap<u64, Holder>,
}

struct Holder {
    since: Instant,
    complete: bool,
    lost: Arc<Notify>,
}

/// A place that was taken; it comes free when this is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    lost: Arc<Notify>,
}

impl Places {
    pub fn new(number: usize, grace: Duration) -> Arc<Self> {
        Arc::new(Self {
            number,
            grace,
            inside: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// Takes a place, and waits for one if it has to.
    pub async fn take(self: &Arc<Self>) -> Place {
        loop {
            let next = match self.try_take() {
                Ok(place) => return place,
                Err(next) => next,
            };
            // Either way it is looked again.
            let _ = timeout_at(next, self.freed.notified()).await;
        }
    }

    /// A place, or when to try again even if none comes free.
    fn try_take(self: &Arc<Self>) -> Result<Place, Instant> {
        let now = Instant::now();
        let mut inside = self.lock();
        if inside.holders.len() >= self.number {
            // Numbers rise with time, so the first that still receives is the oldest.
            let oldest = inside.holders.iter().find(|(_, holder)| !holder.complete);
            let (number, end) = match oldest {
                Some((number, holder)) => (*number, holder.since + self.grace),
                None => return Err(now + self.grace),
            };
            if end > now {
                return Err(end);
            }
            if let Some(holder) = inside.holders.remove(&number) {
                holder.lost.notify_one();
            }
        }
        let lost = Arc::new(Notify::new());
        let number = inside.next;
        inside.next = number.wrapping_add(1);
        inside.holders.insert(
            number,
            Holder {
                since: now,
                complete: false,
                lost: Arc::clone(&lost),
            },
        );
        Ok(Place {
            places: Arc::clone(self),
            number,
            lost,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Returns when somebody else got the place.
    pub async fn is_lost(&self) {
        self.lost.notified().await;
    }

    /// From now on the place is kept until it is dropped; `false` if it was lost before.
    pub fn keep(&self) -> bool {
        match self.places.lock().holders.get_mut(&self.number) {
            Some(holder) => {
                holder.complete = true;
                true
            }
            None => false,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.places.lock().holders.remove(&self.number).is_some() {
            self.places.freed.notify_last();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{sleep, timeout};

    const GRACE: Duration = Duration::from_millis(200);

    async fn takes(places: &Arc<Places>, within: Duration) -> Option<Place> {
        timeout(within, places.take()).await.ok()
    }

    #[tokio::test]
    async fn a_newcomer_gets_the_oldest_place_after_its_grace() {
        let places = Places::new(2, GRACE);
        let (first, second) = (places.take().await, places.take().await);
        assert!(takes(&places, GRACE / 2).await.is_none());
        let third = takes(&places, GRACE).await.unwrap();
        timeout(GRACE, first.is_lost()).await.unwrap();
        assert!(!first.keep() && second.keep() && third.keep());
        // The lost place is not counted twice.
        drop(first);
        assert_eq!(places.lock().holders.len(), 2);
    }

    #[tokio::test]
    async fn what_is_complete_stays() {
        let places = Places::new(1, GRACE);
        let first = places.take().await;
        assert!(first.keep());
        assert!(takes(&places, GRACE * 3).await.is_none());
        drop(first);
        assert!(takes(&places, GRACE).await.is_some());
    }

    #[tokio::test]
    async fn who_came_last_is_first() {
        let places = Places::new(1, GRACE);
        let first = places.take().await;
        assert!(first.keep());
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        for number in 0..3 {
            let (places, order) = (Arc::clone(&places), Arc::clone(&order));
            waiting.push(tokio::spawn(async move {
                let place = places.take().await;
                order.lock().unwrap().push(number);
                assert!(place.keep());
            }));
            sleep(Duration::from_millis(10)).await;
        }
        drop(first);
        for task in waiting {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), [2, 1, 0]);
    }
}
