//! The example marbles, through `marble-run`, greeting each other.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Coordinator, Deployment, SECRET, marble_run, parameters, succeeding};

const SERVER: &str = "68a9a66e-4a52-4b3d-8e0b-0f6c2c6b2d11";
const CLIENT: &str = "0f9b6f0e-1111-4b3d-8e0b-0f6c2c6b2d22";

/// Cargo builds examples beside the programs whenever it runs all tests of a package.
fn example(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_marble-run"))
        .with_file_name("examples")
        .join(name);
    assert!(
        path.exists(),
        "{} does not exist: expected cargo build --examples before",
        path.display()
    );
    path
}

fn coordinator(deployment: &Deployment, uuid: &str, marble_type: &str) -> Coordinator {
    let mut given = parameters(
        &[("key", SECRET)],
        &[("HELLO_TOKEN", SECRET), ("HELLO_FILES", "key,absent")],
        &[],
    );
    let identity = deployment.environment(uuid, Some(marble_type), "localhost");
    given.env.extend(
        identity
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into_bytes())),
    );
    Coordinator::giving(given)
}

/// Ends a server when the test does.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn the_example_marbles_greet_each_other_and_show_no_values() {
    let (directory, deployment) = (tempfile::tempdir().unwrap(), Deployment::new());
    let serving = coordinator(&deployment, SERVER, "server");
    let log = std::fs::File::create(directory.path().join("server.log")).unwrap();
    let _server = Running(
        marble_run(serving.address, directory.path())
            .arg(example("hello-server"))
            .env("HELLO_ADDRESS_FILE", "address")
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let begin = Instant::now();
    let address = loop {
        match std::fs::read_to_string(directory.path().join("address")) {
            Ok(address) if !address.is_empty() => break address,
            _ => assert!(
                begin.elapsed() < Duration::from_secs(20),
                "the server does not come up"
            ),
        }
        std::thread::sleep(Duration::from_millis(20));
    };

    let calling = coordinator(&deployment, CLIENT, "client");
    let output = succeeding(
        marble_run(calling.address, directory.path())
            .arg(example("hello-client"))
            .env("HELLO_CONNECT", &address),
    );
    assert!(
        output.contains(&format!(
            "{address} answers: hello {CLIENT}, this is {SERVER} (server)"
        )),
        "{output}"
    );
    let server = std::fs::read_to_string(directory.path().join("server.log")).unwrap();
    assert!(
        server.contains(&format!("marble {CLIENT} (client) says: hello from {CLIENT}")),
        "{server}"
    );
    for printed in [output, server] {
        assert!(printed.contains("received variable HELLO_TOKEN\n"), "{printed}");
        assert!(printed.contains("received file key (6 bytes)\n"), "{printed}");
        assert!(printed.contains("missing file absent: "), "{printed}");
        assert!(
            !printed.contains(SECRET) && !printed.contains("BEGIN"),
            "{printed}"
        );
    }
}
