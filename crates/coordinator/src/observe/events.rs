//! The last activations that succeeded, for `/events`: so many, and so many bytes of evidence.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::service::now;

/// Activations that are remembered.
const EVENTS: usize = 256;
/// Bytes of their evidence, all together; the oldest go first.
const EVIDENCE: usize = 2 << 20;

/// A ring of activations. Nothing is remembered unless somebody can ask.
#[derive(Default)]
pub struct Events {
    remembers: AtomicBool,
    ring: Mutex<Ring>,
}

#[derive(Default)]
struct Ring {
    events: VecDeque<Event>,
    evidence: usize,
}

#[derive(Clone, Serialize)]
struct Event {
    time: String,
    activation: Activation,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Activation {
    marble_type: String,
    uuid: String,
    quote: Option<String>,
}

impl Events {
    /// From now on activations are remembered.
    pub fn remember(&self) {
        self.remembers.store(true, Ordering::Relaxed);
    }

    /// Whether they are.
    pub fn remembers(&self) -> bool {
        self.remembers.load(Ordering::Relaxed)
    }

    /// A marble was activated, with this evidence (none: empty).
    pub fn activated(&self, marble_type: &str, uuid: String, quote: &[u8]) {
        if !self.remembers() {
            return;
        }
        let event = Event {
            time: now().to_string(),
            activation: Activation {
                marble_type: marble_type.to_owned(),
                uuid,
                quote: (!quote.is_empty()).then(|| STANDARD.encode(quote)),
            },
        };
        self.ring
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(event);
    }

    /// All that are remembered, oldest first: a JSON array.
    ///
    /// # Errors
    /// If they cannot be written as JSON.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let events = self
            .ring
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .events
            .clone();
        serde_json::to_vec(&events)
    }
}

impl Event {
    fn evidence(&self) -> usize {
        self.activation.quote.as_ref().map_or(0, String::len)
    }
}

impl Ring {
    fn push(&mut self, event: Event) {
        self.evidence += event.evidence();
        self.events.push_back(event);
        while self.events.len() > EVENTS || self.evidence > EVIDENCE {
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.evidence -= oldest.evidence();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(events: &Events) -> Vec<serde_json::Value> {
        serde_json::from_slice(&events.to_json().unwrap()).unwrap()
    }

    #[test]
    fn the_ring_is_bounded_in_number_and_in_bytes() {
        let ring = Events::default();
        ring.activated("early", "0".to_owned(), b"");
        assert_eq!(ring.to_json().unwrap(), b"[]");
        ring.remember();
        for number in 0..EVENTS + 10 {
            ring.activated("small", number.to_string(), b"quote");
        }
        let kept = events(&ring);
        assert_eq!(kept.len(), EVENTS);
        assert_eq!(kept[0]["activation"]["uuid"], "10");
        assert_eq!(kept[0]["activation"]["quote"], "cXVvdGU=");
        let large = vec![0; EVIDENCE / 4];
        for number in 0..10 {
            ring.activated("large", number.to_string(), &large);
        }
        let kept = events(&ring);
        let bytes = |event: &serde_json::Value| event["activation"]["quote"].as_str().map_or(0, str::len);
        assert!(kept.iter().map(bytes).sum::<usize>() <= EVIDENCE && kept.len() < 5);
        assert_eq!(kept.last().unwrap()["activation"]["uuid"], "9");
        ring.activated("huge", "10".to_owned(), &vec![0; EVIDENCE]);
        assert_eq!(events(&ring).len(), 0);
        ring.activated("none", "11".to_owned(), b"");
        assert!(events(&ring)[0]["activation"]["quote"].is_null());
    }
}
