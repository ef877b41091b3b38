//! `top`, with a monitoring address that tells what a test wants.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

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
