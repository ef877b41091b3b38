//! The door: a marble of the premain that sends whatever a row of a table makes for it, and what it is answered and what
//! the Coordinator logs, held against what the row says.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use marblerun_attestation::issue::{IssueError, Issuer, SystemName};
use marblerun_attestation::{Reason, Refused, ReportBinding, Step, UnixSeconds};
use marblerun_marble::premain::{ActivationError, PremainError, Surroundings, prepare_with};
use serde_json::Value;
use tokio::task::JoinSet;
use tonic::Code;

use crate::support::program::Program;

/// How long a table may take, on a machine that does other things as well and without optimisation.
const LIMIT: Duration = Duration::from_secs(60);
/// How many marbles come at a time.
const MARBLES: usize = 4;
/// All a marble is told when the reason is not its own.
const NOT_NOW: &str = "Unavailable: evidence cannot be verified at present; try again";
/// What every refusal of evidence begins with.
const EVIDENCE: &str = "marble verification failed: evidence: ";

/// Makes evidence that is bound to the marble's certificate, or should be.
pub type Make = Box<dyn Fn(&ReportBinding) -> Vec<u8> + Send + Sync>;

/// Evidence, and what shall become of it.
pub struct Row {
    pub name: &'static str,
    pub marble_type: &'static str,
    pub evidence: Make,
    pub expected: Expected,
    /// For what it is refused, if not by the manifest or a service.
    pub reason: Option<Reason>,
}

/// What becomes of evidence. In texts `…` stands for anything, [`SOME_TIME`] for any time and [`some_binding`] for the
/// binding to the marble's certificate.
pub enum Expected {
    /// The marble is activated.
    Admitted,
    /// PERMISSION_DENIED with exactly this, and the same in one line of the log.
    Told(String),
    /// UNAVAILABLE, with a text that is always the same; this in one line of the log.
    Withheld(String),
}

/// For rows: when a verification takes place.
pub const SOME_TIME: UnixSeconds = UnixSeconds(0);

/// For rows: what a marble's evidence has to be bound to.
pub fn some_binding() -> ReportBinding {
    ReportBinding::certificate(b"some certificate")
}

/// For rows: anything.
pub fn any() -> String {
    "…".to_owned()
}

/// A reason that the marble is told.
pub fn told(name: &'static str, evidence: Make, step: Step, reason: Reason) -> Row {
    Row::new(
        name,
        evidence,
        Expected::Told(format!("{EVIDENCE}{}", whole(step, &reason))),
    )
    .reason(reason)
}

/// A reason that only the log has.
pub fn withheld(name: &'static str, evidence: Make, step: Step, reason: Reason) -> Row {
    Row::new(name, evidence, Expected::Withheld(whole(step, &reason))).reason(reason)
}

/// The text of a refusal.
pub fn whole(step: Step, reason: &Reason) -> String {
    let reason = Box::new(reason.clone());
    Refused { step, reason }.to_string()
}

impl Row {
    pub fn new(name: &'static str, evidence: Make, expected: Expected) -> Self {
        Self {
            name,
            marble_type: "any",
            evidence,
            expected,
            reason: None,
        }
    }

    /// No collateral, and the marble may know why.
    pub fn without_collateral(name: &'static str, evidence: Make, why: &str) -> Self {
        Self::new(
            name,
            evidence,
            Expected::Told(format!("{EVIDENCE}no collateral: {why}")),
        )
    }

    pub fn of(mut self, marble_type: &'static str) -> Self {
        self.marble_type = marble_type;
        self
    }

    pub fn reason(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Names of the variants of its reason: `QuoteSignature`, or `Unrecognised` and `UnknownFormat`.
    pub fn variants(&self) -> Vec<String> {
        let Some(reason) = &self.reason else {
            return Vec::new();
        };
        let shown = format!("{reason:?}");
        let names = shown.split(|character: char| !character.is_alphanumeric());
        let count = if matches!(reason, Reason::Unrecognised(_)) {
            2
        } else {
            1
        };
        names.take(count).map(ToOwned::to_owned).collect()
    }
}

/// The issuer of a marble.
struct Own<'r> {
    make: &'r Make,
    bound_to: Mutex<Option<ReportBinding>>,
}

impl Issuer for Own<'_> {
    fn quote(&self, binding: &ReportBinding) -> Result<Vec<u8>, IssueError> {
        *self.bound_to.lock().unwrap() = Some(*binding);
        Ok((self.make)(binding))
    }
}

/// What a marble was answered.
enum Answer {
    Activated,
    Refused(Code, String),
    /// What made its last attempt fail.
    NotReached(String),
}

/// Sends the row's evidence as a marble. Blocks, outside of any runtime.
fn send(program: &Program, row: &Row) -> (String, ReportBinding, Answer) {
    let directory = tempfile::tempdir().unwrap();
    let uuid = directory.path().join("uuid");
    let variables = [
        ("EDG_MARBLE_TYPE", row.marble_type.to_owned()),
        ("EDG_MARBLE_COORDINATOR_ADDR", program.mesh.to_string()),
        ("EDG_MARBLE_UUID_FILE", uuid.to_str().unwrap().to_owned()),
        // One attempt.
        ("EDG_MARBLE_ACTIVATION_TIMEOUT", "0ms".to_owned()),
    ];
    let surroundings = Surroundings {
        root: directory.path().to_owned(),
        system: SystemName::of_this_system(),
        variables: variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        arguments: ["marble-run", "/bin/true"].map(Into::into).to_vec(),
        executable: Some(PathBuf::from("/marble-run")),
    };
    let issuer = Own {
        make: &row.evidence,
        bound_to: Mutex::new(None),
    };
    let answer = match prepare_with(&surroundings, Some(&issuer)) {
        Ok(_) => Answer::Activated,
        Err(PremainError::Activation(ActivationError::Refused { code, message, .. })) => {
            Answer::Refused(code, message)
        }
        Err(PremainError::Activation(ActivationError::Unreachable { last, .. })) => Answer::NotReached(last),
        Err(error) => panic!("{}: {error}", row.name),
    };
    let bound_to = issuer.bound_to.into_inner().unwrap().unwrap();
    let uuid = std::fs::read_to_string(uuid).unwrap().trim().to_owned();
    (uuid, bound_to, answer)
}

/// Sends the row's evidence and says what is not as the row says.
pub fn check(program: &Program, row: &Row) -> Result<(), String> {
    let failed = |what: String| Err(format!("{}: {what}", row.name));
    // A machine that is busy may take longer than one attempt to connect.
    let connected =
        |answer: &Answer| !matches!(answer, Answer::NotReached(last) if !last.starts_with("Unavailable"));
    let (uuid, bound_to, answer) = (0..5)
        .map(|_| send(program, row))
        .find(|(.., answer)| connected(answer))
        .ok_or_else(|| format!("{}: the Coordinator was not reached", row.name))?;
    let here = |text: &str| {
        text.replace(&some_binding().to_string(), &bound_to.to_string())
            .replace(&SOME_TIME.to_string(), "…")
    };
    let (logged_in, expected, whole) = match (&row.expected, answer) {
        (Expected::Admitted, Answer::Activated) => return Ok(()),
        (Expected::Told(text), Answer::Refused(Code::PermissionDenied, message)) => {
            if !fits(&here(text), &message, true) {
                return failed(format!("told {message:?}\nexpected {:?}", here(text)));
            }
            ("reason", message, true)
        }
        (Expected::Withheld(text), Answer::NotReached(last)) if last == NOT_NOW => {
            ("detail", here(text), false)
        }
        (_, Answer::Activated) => return failed("activated".to_owned()),
        (_, Answer::Refused(code, message)) => return failed(format!("refused: {code:?}: {message}")),
        (_, Answer::NotReached(last)) => return failed(format!("put off: {last}\n{}", program.log())),
    };
    let log = program.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(&uuid)).collect();
    let [line] = lines[..] else {
        return failed(format!("expected one line with its UUID, found {lines:?}"));
    };
    let json: Value = serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))?;
    let field = |name: &str| {
        json["fields"]
            .get(name)
            .or(json.get(name))
            .and_then(Value::as_str)
    };
    if field("marble_type") != Some(row.marble_type) || !line.contains("SIMULATION") {
        return failed(format!("logged {line}"));
    }
    match field(logged_in) {
        Some(found) if fits(&expected, found, whole) => Ok(()),
        _ => failed(format!("logged {line}\nexpected {expected:?}")),
    }
}

/// Whether a text is as the pattern says, or with `whole` off has a part that is. `…` is anything.
fn fits(pattern: &str, text: &str, whole: bool) -> bool {
    let mut parts: VecDeque<&str> = pattern.split('…').collect();
    let (mut rest, last) = match whole {
        false => (text, ""),
        true => {
            let first = parts.pop_front().unwrap_or("");
            let Some(last) = parts.pop_back() else {
                return text == first;
            };
            let Some(rest) = text.strip_prefix(first) else {
                return false;
            };
            (rest, last)
        }
    };
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Sends all rows to one Coordinator.
pub async fn check_all(program: Program, rows: Vec<Row>) {
    let began = Instant::now();
    let (program, rows) = (Arc::new(program), Arc::new(Mutex::new(VecDeque::from(rows))));
    let mut marbles = JoinSet::new();
    for _ in 0..MARBLES {
        let (program, rows) = (Arc::clone(&program), Arc::clone(&rows));
        marbles.spawn_blocking(move || {
            let next = || rows.lock().unwrap().pop_front();
            let mut failures = Vec::new();
            while let Some(row) = next() {
                failures.extend(check(&program, &row).err());
            }
            failures
        });
    }
    finish(began, &marbles.join_all().await);
}

/// All rows did what they say, and in time.
pub fn finish(began: Instant, failures: &[Vec<String>]) {
    let failures = failures.concat();
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n\n"));
    let took = began.elapsed();
    println!("{took:?}");
    assert!(took < LIMIT, "{took:?}");
}

#[test]
fn patterns_say_what_fits() {
    for (pattern, text, whole, part) in [
        ("found 1", "found 1", true, true),
        ("found 1", "found 12", false, true),
        ("found 1", "found 2", false, false),
        ("found …", "found 1", true, true),
        ("a … c … e", "a b c d e", true, true),
        ("a … c … e", "a b c d e f", false, true),
        ("a … d … c … e", "a b c d e", false, false),
        ("…b", "a b", true, true),
        ("…b", "a c", false, false),
        ("x… b", "a b", false, false),
    ] {
        assert_eq!(fits(pattern, text, true), whole, "{pattern:?} {text:?}");
        assert_eq!(fits(pattern, text, false), part, "{pattern:?} {text:?}");
    }
}
