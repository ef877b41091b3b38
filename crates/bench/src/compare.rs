//! Two servers against each other: turn by turn, so that what else the machine does befalls both.

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::output::print;
use crate::report::Report;

/// How often each of two servers has its turn.
const ROUNDS: usize = 7;

/// Runs on one server, or seven times on each of two, in turns. Prints.
pub async fn run<F>(targets: &[Target], as_json: bool, mut measure: F) -> Result<()>
where
    F: AsyncFnMut(&Target) -> Result<Report>,
{
    let [first, rest @ ..] = targets else {
        anyhow::bail!("expected a server");
    };
    let [second] = rest else {
        let report = on(first, &mut measure).await?;
        return if as_json {
            print(&serde_json::to_string_pretty(&report)?)
        } else {
            print(&report.text())
        };
    };
    let mut pairs = Vec::new();
    for round in 1..=ROUNDS {
        let pair = (on(first, &mut measure).await?, on(second, &mut measure).await?);
        if !as_json {
            let (one, other) = (pair.0.text(), pair.1.text());
            print(&format!("round {round} of {ROUNDS}\n{one}\n{other}"))?;
        }
        pairs.push(pair);
    }
    let ratio = |number: fn(&Report) -> Option<f64>| {
        let ratios: Option<Vec<f64>> = pairs
            .iter()
            .map(|(first, second)| Some(number(first)? / number(second)?))
            .collect();
        ratios.map(median)
    };
    let (rate, latency, cpu) = (
        ratio(|report| Some(report.rate)),
        ratio(|report| Some(report.p50_micros as f64)),
        ratio(|report| report.server_cpu_micros),
    );
    if as_json {
        let runs: Vec<_> = pairs
            .iter()
            .map(|(first, second)| json!([first, second]))
            .collect();
        let ratios = json!({"rate": rate, "p50": latency, "serverCpu": cpu});
        let whole = json!({"ratios": ratios, "rounds": runs});
        print(&serde_json::to_string_pretty(&whole)?)
    } else {
        let shown = |ratio: Option<f64>| ratio.map_or("not known".to_owned(), |ratio| format!("{ratio:.2}"));
        print(&format!(
            "{} compared with {} (median of {ROUNDS} ratios): rate {}, p50 {}, server CPU {}",
            first.name,
            second.name,
            shown(rate),
            shown(latency),
            shown(cpu)
        ))
    }
}

async fn on<F>(target: &Target, measure: &mut F) -> Result<Report>
where
    F: AsyncFnMut(&Target) -> Result<Report>,
{
    measure(target).await.with_context(|| target.name.clone())
}

/// A server, and its process if that is known.
#[derive(Debug, Clone)]
pub struct Target {
    /// As it was named.
    pub name: String,
    /// `host:port`.
    pub address: std::net::SocketAddr,
    /// To tell what the load costs it.
    pub server: Option<crate::server::Server>,
}

impl Target {
    /// The servers with these addresses and process ids, in the same order.
    ///
    /// # Errors
    /// A name that does not resolve, a process that is not there, or too many of either.
    pub async fn resolve(addresses: &[String], pids: &[u32]) -> Result<Vec<Self>> {
        if addresses.is_empty() || addresses.len() > 2 {
            anyhow::bail!("expected one server, or two to compare");
        }
        if !pids.is_empty() && pids.len() != addresses.len() {
            anyhow::bail!("expected --pid for each --target, or for none");
        }
        let mut targets = Vec::new();
        for (index, name) in addresses.iter().enumerate() {
            let found = tokio::net::lookup_host(name).await;
            let mut found = found.with_context(|| format!("{name}: expected host:port"))?;
            targets.push(Self {
                name: name.clone(),
                address: found
                    .next()
                    .ok_or_else(|| anyhow::anyhow!("{name} has no address"))?,
                server: pids
                    .get(index)
                    .map(|pid| crate::server::Server::watch(*pid))
                    .transpose()?,
            });
        }
        Ok(targets)
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_not_moved_by_one_that_is_far_off() {
        assert_eq!(median(vec![1.0, 100.0, 2.0]), 2.0);
    }

    #[tokio::test]
    async fn servers_and_processes_go_together() {
        let address = ["127.0.0.1:1".to_owned()];
        assert!(Target::resolve(&[], &[]).await.is_err());
        assert!(Target::resolve(&address, &[1, 2]).await.is_err());
        let own = Target::resolve(&address, &[std::process::id()]).await.unwrap();
        assert!(own[0].server.is_some() && own[0].address.port() == 1);
    }
}
