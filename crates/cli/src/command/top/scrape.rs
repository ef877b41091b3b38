//! One look at `/metrics`: the text format of Prometheus over plain HTTP.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use marblerun_client::is_hidden;

/// How long the Coordinator may take for its whole answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes that are read at most.
const LIMIT: usize = 16 << 20;

/// What was told at one moment.
pub struct Scrape {
    /// When.
    pub at: Instant,
    samples: Vec<Sample>,
}

struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Scrape {
    /// Looks.
    pub fn of(address: &str) -> Result<Self> {
        let text = get(address).with_context(|| format!("cannot read the metrics of {address}"))?;
        let samples: Vec<Sample> = text.lines().filter_map(sample).collect();
        if !samples.iter().any(|sample| sample.name == "coordinator_state") {
            bail!("{address} does not serve the metrics of a Coordinator");
        }
        let at = Instant::now();
        Ok(Self { at, samples })
    }

    /// The value of a metric without labels of its own.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.samples
            .iter()
            .find(|sample| sample.name == name)
            .map(|sample| sample.value)
    }

    /// The values of a metric by the values of one of its labels, added up.
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut values = BTreeMap::new();
        for sample in self.samples.iter().filter(|sample| sample.name == name) {
            if let Some(key) = sample.labels.get(label) {
                *values.entry(key.clone()).or_insert(0.0) += sample.value;
            }
        }
        values
    }

    /// Whether a label has this value anywhere.
    pub fn says(&self, label: &str, value: &str) -> bool {
        self.samples
            .iter()
            .any(|sample| sample.labels.get(label).is_some_and(|found| found == value))
    }
}

/// HTTP/1.0, so that the end of the connection is the end of the text.
fn get(address: &str) -> Result<String> {
    let mut addresses = address.to_socket_addrs().context("expected host:port")?;
    let first = addresses.next().context("the name has no address")?;
    let end = Instant::now() + PATIENCE;
    let mut stream = TcpStream::connect_timeout(&first, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\nAccept: text/plain\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let answer = read_until(&mut stream, end)?;
    let answer = String::from_utf8_lossy(&answer);
    let (header, body) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    let mut lines = header.lines();
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        bail!("the answer is {status:?}");
    }
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("the answer is encoded, which was not asked for");
        }
        let whole = || {
            value
                .trim()
                .parse::<usize>()
                .is_ok_and(|length| length <= body.len())
        };
        if name.eq_ignore_ascii_case("content-length") && !whole() {
            bail!("the answer breaks off after {} bytes", body.len());
        }
    }
    Ok(body.to_owned())
}

/// All that comes, if it comes in time.
fn read_until(stream: &mut TcpStream, end: Instant) -> Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("the answer takes longer than {} seconds", PATIENCE.as_secs());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece) {
            Ok(0) => return Ok(answer),
            Ok(length) => answer.extend_from_slice(piece.get(..length).unwrap_or_default()),
            // That the time is over, which the next round tells.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        if answer.len() > LIMIT {
            bail!("the answer has more than {} MiB", LIMIT >> 20);
        }
    }
}

/// `name{label="value",…} value`; anything else is none.
fn sample(line: &str) -> Option<Sample> {
    if line.starts_with('#') {
        return None;
    }
    let (series, value) = line.rsplit_once(' ')?;
    let (name, inside) = match series.split_once('{') {
        Some((name, inside)) => (name, inside.strip_suffix('}')?),
        None => (series, ""),
    };
    let mut labels = BTreeMap::new();
    let mut rest = inside;
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"")?;
        let (text, after) = quoted(after)?;
        labels.insert(label.to_owned(), text);
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    let value = value.parse().ok()?;
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// The text up to the quote that ends it, and what follows. What is not to be seen in it is shown to be there: it could
/// make lines of its own, or have a terminal do something.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        let character = match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match characters.next()?.1 {
                'n' => '\n',
                other => other,
            },
            other => other,
        };
        value.push(if is_hidden(character) {
            char::REPLACEMENT_CHARACTER
        } else {
            character
        });
    }
    None
}

#[cfg(test)]
pub(super) fn at(at: Instant, text: &str) -> Scrape {
    let samples = text.lines().filter_map(sample).collect();
    Scrape { at, samples }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_and_anything_else_is_not() {
        let text = "# HELP a A.\na{x=\"1\",y=\"\\\"q\\\" \\\\ \\n}\"} 2\na{x=\"1\",y=\"\"} 3\nb NaN\nc{ 1\nd\ne{x=\"} 1\nf one\n";
        let scrape = at(Instant::now(), text);
        assert_eq!(scrape.by("a", "x"), [("1".to_owned(), 5.0)].into());
        assert_eq!(
            scrape.by("a", "y").keys().next_back().unwrap(),
            "\"q\" \\ \u{fffd}}"
        );
        assert!(scrape.value("b").unwrap().is_nan());
        assert_eq!(scrape.samples.len(), 3);
        assert!(scrape.says("x", "1") && !scrape.says("x", "2"));
    }
}
