//! Coordinators whose collateral comes from a service, one for each case: what they have, they keep.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use marblerun_collateral::fakes::{Behaviour, Service};
use tokio::task::JoinSet;

use super::door::{Row, check, finish};

/// How many Coordinators run at a time.
const COORDINATORS: usize = 3;

type Prepare = Box<dyn Fn(&Service) + Send + Sync>;

/// Evidence, and a service that does something.
pub struct Case {
    pub row: Row,
    prepare: Prepare,
}

impl Case {
    pub fn new(row: Row, prepare: impl Fn(&Service) + Send + Sync + 'static) -> Self {
        Self {
            row,
            prepare: Box::new(prepare),
        }
    }

    async fn check(self, service: &Service) -> Result<(), String> {
        service.behave(&Behaviour::Good);
        service.change_intel(|_| {});
        service.change_amd(|_| {});
        (self.prepare)(service);
        let url = service.url().to_string();
        let directory = tempfile::tempdir().unwrap();
        let flags = ["--pccs-url", &url, "--kds-url", &url];
        let program = super::start_strict(directory.path(), &flags);
        program.set_manifest(&super::manifest()).await;
        tokio::task::spawn_blocking(move || check(&program, &self.row))
            .await
            .unwrap()
    }
}

/// Checks all cases.
pub async fn check_all(cases: Vec<Case>) {
    let began = Instant::now();
    let cases = Arc::new(Mutex::new(VecDeque::from(cases)));
    let mut workers = JoinSet::new();
    for _ in 0..COORDINATORS {
        let cases = Arc::clone(&cases);
        workers.spawn(async move {
            let service = Service::start().await.unwrap();
            let mut failures = Vec::new();
            loop {
                let next = cases.lock().unwrap().pop_front();
                let Some(case) = next else {
                    return failures;
                };
                failures.extend(case.check(&service).await.err());
            }
        });
    }
    finish(began, &workers.join_all().await);
}
