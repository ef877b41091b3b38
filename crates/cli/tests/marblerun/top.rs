//! `top`, with a monitoring address that tells what a test wants.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::{Value, json};

use crate::support::Home;

/// Answers one request after the other with these, and the last one from then on; where.
fn monitoring(answers: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let last = answers.last().cloned().unwrap();
        for answer in answers.into_iter().chain(std::iter::repeat(last)) {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /metrics HTTP/1.0\r\n"));
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

fn metrics(activations: u32) -> String {
    format!(
        "HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\n# TYPE coordinator_state gauge\ncoordinator_state{{mode=\"SIMULATION\"}} 3.0\ncoordinator_marble_activations_total{{mode=\"SIMULATION\",type=\"web\"}} {activations}\ncoordinator_marble_activations_success_total{{mode=\"SIMULATION\",type=\"web\"}} {activations}\n"
    )
}

#[test]
fn it_prints_once_where_there_is_no_terminal() {
    let home = Home::new();
    let address = monitoring(vec![metrics(10), metrics(20)]);
    let outcome = home.run(&["top", &address, "--interval", "0.2"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(
        outcome.stdout.contains("3, accepting marbles   SIMULATION"),
        "{}",
        outcome.stdout
    );
    assert!(!outcome.stdout.contains('\x1b'));

    let address = monitoring(vec![metrics(10), metrics(20)]);
    let outcome = home.run(&["top", &address, "--once", "--interval", "0.2", "--format", "json"]);
    let value: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let web = &value["activations"][0];
    assert_eq!((&web["type"], &web["succeeded"]), (&json!("web"), &json!(20.0)));
    let per_second = web["perSecond"].as_f64().unwrap();
    assert!(per_second > 0.0 && per_second <= 50.0, "{per_second}");
}

#[test]
fn what_is_no_monitoring_address_is_said() {
    let home = Home::new();
    let answer = |text: &str| monitoring(vec![text.to_owned()]);
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    for (address, part) in [
        (
            answer("HTTP/1.0 200 OK\r\n\r\nother_metric 1\n"),
            "does not serve the metrics of a Coordinator",
        ),
        (answer("HTTP/1.0 404 Not Found\r\n\r\n"), "404"),
        (answer("coordinator_state 1\n"), "not HTTP"),
        (closed, "refused"),
        ("nonsense".to_owned(), "expected host:port"),
    ] {
        let outcome = home.run(&["top", &address, "--once", "--interval", "0.1"]);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""), "{part}");
        assert!(
            outcome.stderr.starts_with("Error: ") && outcome.stderr.contains(part),
            "{}",
            outcome.stderr
        );
    }
    for interval in ["0", "nan", "4000"] {
        let outcome = home.run(&["top", "localhost:1", "--interval", interval]);
        assert!(
            outcome.code == 1 && outcome.stderr.contains("expected 0.1 to 3600"),
            "{}",
            outcome.stderr
        );
    }
}

/// Answers one request with this, piece by piece.
fn answering(pieces: impl Iterator<Item = Vec<u8>> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        for piece in pieces {
            if stream.write_all(&piece).is_err() {
                return;
            }
        }
    });
    address
}

#[test]
fn an_answer_that_is_short_or_long_or_slow_is_none() {
    let home = Home::new();
    let header = "HTTP/1.0 200 OK\r\nContent-Length: 99\r\n\r\ncoordinator_state 3\n";
    let short = answering(std::iter::once(header.as_bytes().to_vec()));
    let longest = header.replace("99", &"9".repeat(30));
    let longest = answering(std::iter::once(longest.into_bytes()));
    let pieces = header.replace("Content-Length: 99", "Transfer-Encoding: chunked");
    let pieces = answering(std::iter::once(pieces.into_bytes()));
    let endless = answering(
        std::iter::once(b"HTTP/1.0 200 OK\r\n\r\n".to_vec())
            .chain(std::iter::repeat_n(b"coordinator_state 3\n".repeat(50_000), 100)),
    );
    let slow = answering(std::iter::repeat_with(|| {
        std::thread::sleep(Duration::from_millis(500));
        b"H".to_vec()
    }));
    for (address, part) in [
        (short, "breaks off after 20 bytes"),
        (longest, "breaks off after 20 bytes"),
        (pieces, "encoded"),
        (endless, "more than 16 MiB"),
        (slow, "takes longer than 10 seconds"),
    ] {
        let outcome = home.run(&["top", &address, "--once", "--interval", "0.1"]);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""), "{part}");
        assert!(outcome.stderr.contains(part), "{}", outcome.stderr);
    }
}

#[test]
fn names_do_nothing_to_what_is_shown() {
    let hostile = "x\\nphase 1\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}\u{202e}\u{2028}y";
    let metrics = metrics(1).replace("web", hostile);
    for format in [&[][..], &["--format", "json"], &["--format", "table"]] {
        let home = Home::new();
        let address = monitoring(vec![metrics.clone()]);
        let outcome = home.run(&[&["top", &address, "--interval", "0.1"], format].concat());
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        let hidden = |character: char| {
            character != '\n' && (character.is_control() || "\u{202e}\u{2028}".contains(character))
        };
        assert!(!outcome.stdout.contains(hidden), "{:?}", outcome.stdout);
        assert!(!outcome.stdout.contains("\nphase 1"), "{}", outcome.stdout);
        assert_eq!(
            outcome.stdout.lines().count() > 20,
            format.contains(&"json"),
            "{}",
            outcome.stdout
        );
    }
}

#[test]
fn on_a_terminal_it_goes_on_whatever_the_coordinator_does() {
    let gone = "HTTP/1.0 503 Service Unavailable\r\n\r\n".to_owned();
    let address = monitoring(vec![metrics(10), metrics(20), gone, metrics(30), metrics(50)]);
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let size = Winsize {
        ws_row: 12,
        ws_col: 40,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&terminal, size).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let side = OpenOptions::new()
        .read(true)
        .write(true)
        // It is not to become the terminal of the tests.
        .custom_flags(OFlags::NOCTTY.bits().cast_signed())
        .open(name.to_str().unwrap())
        .unwrap();
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_marblerun"))
        .args(["top", &address, "--interval", "0.1"])
        .stdin(std::process::Stdio::null())
        .stdout(side)
        .spawn()
        .unwrap();
    let mut shown = String::new();
    let mut terminal = std::fs::File::from(terminal);
    let mut piece = [0; 4096];
    let web_again = |shown: &str| {
        let after = shown.split_once("asking again").map_or("", |(_, after)| after);
        after.contains("web  ") && after.contains("REFUSED AS")
    };
    while !web_again(&shown) {
        let length = terminal.read(&mut piece).unwrap();
        shown.push_str(std::str::from_utf8(&piece[..length]).unwrap());
        assert!(shown.len() < 100_000, "{shown}");
    }
    program.kill().unwrap();
    program.wait().unwrap();
    assert!(
        shown.contains("the answer is \"HTTP/1.0 503 Service Unavailable\"; asking again"),
        "{shown}"
    );
    for screen in shown
        .split("\x1b[H\x1b[2J")
        .filter(|screen| screen.contains("web"))
    {
        let lines: Vec<&str> = screen.split("\r\n").collect();
        assert!(lines.len() <= 12, "more than the terminal has: {screen:?}");
        assert!(lines.iter().all(|line| line.chars().count() <= 40), "{screen:?}");
    }
}
