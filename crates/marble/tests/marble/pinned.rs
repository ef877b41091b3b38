//! `marble-run` and who it lets tell it what to run.

use std::time::Duration;

use marblerun_wire::marble::{ActivationResp, Parameters};

use crate::support::{Coordinator, Deployment, Server, failing, marble_run, parameters, succeeding};

const UUID: &str = "68a9a66e-4a52-4b3d-8e0b-0f6c2c6b2d11";
const VARIABLE: &str = "EDG_MARBLE_COORDINATOR_ROOT";

/// Shows the Marble root of `server`, and answers with the certificates of `reply`.
fn coordinator(server: &Deployment, reply: Parameters) -> Coordinator {
    let server = Server {
        identity: Some(server.marble_api()),
        ..Server::default()
    };
    Coordinator::start(server, Duration::ZERO, move |_| {
        Ok(ActivationResp {
            parameters: Some(reply.clone()),
        })
    })
}

fn reply(deployment: &Deployment) -> Parameters {
    let environment = deployment.environment(UUID, Some("frontend"), "localhost");
    let environment: Vec<_> = environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    parameters(&[("file", "written")], &environment, &["echo", "started"])
}

#[test]
fn the_pinned_coordinator_is_obeyed() {
    let deployment = Deployment::new();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("root.pem"), deployment.root()).unwrap();
    let coordinator = coordinator(&deployment, reply(&deployment));
    let mut command = marble_run(coordinator.address, directory.path());
    assert_eq!(succeeding(command.env(VARIABLE, "root.pem")), "started\n");
    let log = command.output().unwrap().stderr;
    assert!(!String::from_utf8(log).unwrap().contains("not verified"));
}

#[test]
fn another_coordinator_is_not_and_nothing_of_it_is_applied() {
    let (deployment, stranger) = (Deployment::new(), Deployment::new());
    let mut without_chain = reply(&deployment);
    without_chain
        .env
        .remove("MARBLE_PREDEFINED_MARBLE_CERTIFICATE_CHAIN");
    for (server, reply, expected) in [
        (
            &stranger,
            reply(&stranger),
            "expected an intermediate certificate signed by the pinned root",
        ),
        // He knows the right certificates: any marble does.
        (
            &stranger,
            reply(&deployment),
            "expected the key of the intermediate certificate in the TLS handshake",
        ),
        (
            &deployment,
            without_chain,
            "expected an intermediate certificate behind the marble certificate",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("root.pem"), deployment.root()).unwrap();
        let coordinator = coordinator(server, reply);
        let mut command = marble_run(coordinator.address, directory.path());
        let log = failing(command.env(VARIABLE, "root.pem"), 1);
        assert!(
            log.contains("is not the Coordinator that EDG_MARBLE_COORDINATOR_ROOT names"),
            "{log}"
        );
        assert!(log.contains(expected), "{log}");
        assert!(!directory.path().join("file").exists());
    }
}

#[test]
fn a_pin_that_is_none_costs_no_activation() {
    let deployment = Deployment::new();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("other"), "no certificate").unwrap();
    let coordinator = coordinator(&deployment, reply(&deployment));
    for (file, expected) in [
        (
            "absent",
            "EDG_MARBLE_COORDINATOR_ROOT: cannot read absent: No such file",
        ),
        (
            "other",
            "EDG_MARBLE_COORDINATOR_ROOT: other is no root certificate of a Coordinator",
        ),
    ] {
        let mut command = marble_run(coordinator.address, directory.path());
        let log = failing(command.env(VARIABLE, file), 1);
        assert!(log.contains(expected), "{log}");
    }
    assert_eq!(coordinator.connections(), 0);
}

#[test]
fn without_a_pin_it_is_said_that_nobody_was_verified() {
    let deployment = Deployment::new();
    let directory = tempfile::tempdir().unwrap();
    let coordinator = coordinator(&deployment, reply(&deployment));
    let output = marble_run(coordinator.address, directory.path())
        .output()
        .unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    let warnings: Vec<_> = log
        .lines()
        .filter(|line| line.contains("the Coordinator was not verified"))
        .collect();
    assert!(warnings.len() == 1 && warnings[0].contains(" WARN "), "{log}");
    assert_eq!(output.stdout, b"started\n");
}
