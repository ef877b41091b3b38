//! `cargo xtask demo`: one deployment, once through, with the real programs.
//!
//! Everything happens in a temporary folder and on free ports of 127.0.0.1. What the marbles received is shown by
//! name; values are never read here.

mod process;
pub mod programs;

pub use programs::executables;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};

use process::{Process, run_to_end};
use programs::Programs;

/// The folder that the manifest writes its files to; replaced by that of the run.
const FOLDER_IN_MANIFEST: &str = "/tmp/marblerun-demo";
/// Stands in the manifest for the measurement of the server's program, which is known when it is built.
const MEASUREMENT_IN_MANIFEST: &str = "0000000000000000000000000000000000000000000000000000000000000001";
/// What the Coordinator's evidence has to show: the software TEE signs everything with one key, so that it says little.
const EXPECTED_COORDINATOR: &str = r#"{"SignerID": "5151515151515151515151515151515151515151515151515151515151515151", "ProductID": 1, "SecurityVersion": 1}"#;
/// Where the manifest tells the server to write its address, below that folder.
const ADDRESS_FILE: &str = "server/address";
/// Longest wait for one step.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the demo; with `keep` the processes and the folder stay.
pub fn run(root: &Path, keep: bool) -> anyhow::Result<()> {
    println!("Building the programs …");
    let programs = Programs::build(root)?;
    let folder = tempfile::Builder::new().prefix("marblerun-demo-").tempdir()?;
    let deployment = Deployment::start(root, &programs, folder.path())?;
    if keep {
        let folder = folder.keep();
        println!("\nEverything is still running. Try:\n");
        println!("{}", deployment.commands(&programs, &folder));
        deployment.leave_running();
        return Ok(());
    }
    deployment.stop()?;
    folder.close().context("removing the temporary folder")?;
    println!("\nAll processes have ended, the folder is removed.");
    println!("Next: `cargo xtask demo --keep` leaves everything running and prints commands to try.");
    println!("README.md shows how to run a Coordinator and marbles of your own.");
    Ok(())
}

/// A Coordinator with its manifest, and the server marble.
struct Deployment {
    coordinator: Process,
    server: Process,
    addresses: Addresses,
    greeting_address: String,
}

/// Where the Coordinator listens.
struct Addresses {
    client: String,
    mesh: String,
}

impl Deployment {
    fn start(root: &Path, programs: &Programs, folder: &Path) -> anyhow::Result<Self> {
        heading("1. A Coordinator starts, in strict simulation");
        let (coordinator, addresses) = start_coordinator(programs, folder)?;
        println!("   client API (people, tools) on {}", addresses.client);
        println!("   Marble API (marbles)       on {}", addresses.mesh);
        println!(
            "   its state, encrypted, in      {}",
            folder.join("state").display()
        );
        println!(
            "   SIMULATION: evidence comes from a software TEE whose keys everybody knows. It is verified as that"
        );
        println!("   of hardware would be, but nothing is protected.");

        heading("2. The Coordinator proves itself, and the manifest is set: examples/demo/manifest.json");
        println!(
            "   Its paths are moved to this folder, and the server's UniqueID is the hash of its program."
        );
        let manifest = render_manifest(root, folder, &measurement(&programs.hello_server)?)?;
        std::fs::write(policy(folder), EXPECTED_COORDINATOR)?;
        let mut set = programs.command(&programs.marblerun);
        set.args(["manifest", "set"])
            .arg(&manifest)
            .arg(&addresses.client)
            .args(["--accept-simulation", "--nonce", "demo", "--era-config"])
            .arg(policy(folder));
        set.arg("--coordinator-cert").arg(pinned_certificate(folder));
        print_indented(&run_to_end("marblerun manifest set", set, folder, PATIENCE)?);
        println!("   The very bytes that were set are in {}.", manifest.display());
        println!("   The Coordinator made its keys and secrets, and from now on keeps to this manifest.");
        let sealed = folder.join("state/sealed_data");
        let size = std::fs::metadata(&sealed)
            .with_context(|| format!("the manifest was set, but there is no {}", sealed.display()))?
            .len();
        println!("   All of it is sealed in state/sealed_data, {size} bytes.");

        heading("3. A server marble proves itself and starts, through marble-run");
        let mut command = marble(programs, folder, &addresses, "server");
        command.arg(&programs.hello_server);
        let mut server = Process::start("the server marble", command, folder)?;
        let greeting_address = server.wait_for_file(&folder.join(ADDRESS_FILE), PATIENCE)?;
        print_indented(&server.output()?);

        heading("4. A client marble does the same and greets the server, over mutual TLS");
        let mut command = marble(programs, folder, &addresses, "client");
        command.arg(&programs.hello_client);
        // The one variable that does not come from the manifest: the server's port is drawn at its start.
        command.env("HELLO_CONNECT", &greeting_address);
        print_indented(&run_to_end("the client marble", command, folder, PATIENCE)?);
        println!("   (HELLO_CONNECT was set from outside, the others by the Coordinator.)");
        println!("   And what the server saw:");
        print_indented(&server.wait_for_line(" says: ", PATIENCE)?);
        println!("   Each knows the other by the certificate the Coordinator gave it: marble type and UUID.");

        heading("5. Another program asks to be the server");
        println!(
            "   Its measurement is not the one in the manifest. It is to be refused, and its log says why:"
        );
        let mut command = marble(programs, folder, &addresses, "server");
        command.arg(&programs.hello_client);
        print_indented(&process::run_to_refusal(
            "the stranger",
            command,
            folder,
            PATIENCE,
        )?);
        println!("   It got nothing and was not started.");
        Ok(Self {
            coordinator,
            server,
            addresses,
            greeting_address,
        })
    }

    fn stop(self) -> anyhow::Result<()> {
        heading("6. Everything stops");
        self.server.kill()?;
        println!("   the server marble was ended");
        let status = self.coordinator.terminate(PATIENCE)?;
        if !status.success() {
            bail!("the Coordinator was asked to stop and ended with {status}, expected exit status 0");
        }
        println!("   the Coordinator finished its work and ended with exit status 0");
        Ok(())
    }

    /// What to type while the deployment is running.
    fn commands(&self, programs: &Programs, folder: &Path) -> String {
        let Self {
            coordinator,
            server,
            addresses,
            greeting_address,
        } = self;
        let marblerun = programs.marblerun.display();
        let pinned = pinned_certificate(folder);
        let with_pin = format!("{} --coordinator-cert {}", addresses.client, pinned.display());
        let manifest = folder.join("manifest.json");
        let uuid = folder.join("client.uuid");
        [
            "# Ask the Coordinator".to_owned(),
            format!("{marblerun} status {with_pin}"),
            format!(
                "{marblerun} manifest verify {} {with_pin} --accept-simulation --era-config {}",
                manifest.display(),
                policy(folder).display()
            ),
            format!("{marblerun} manifest log {with_pin}"),
            format!("curl --silent --insecure https://{}/api/v2/status", addresses.client),
            String::new(),
            "# Start the client marble once more".to_owned(),
            format!(
                "OE_SIMULATION=1 EDG_MARBLE_TYPE=client EDG_MARBLE_COORDINATOR_ADDR={} EDG_MARBLE_UUID_FILE={} HELLO_CONNECT={greeting_address} {} {}",
                addresses.mesh,
                uuid.display(),
                programs.marble_run.display(),
                programs.hello_client.display(),
            ),
            String::new(),
            "# Stop and remove everything".to_owned(),
            format!("kill {} {} && rm -r {}", server.id(), coordinator.id(), folder.display()),
        ]
        .join("\n")
    }

    fn leave_running(self) {
        self.coordinator.leave_running();
        self.server.leave_running();
    }
}

fn start_coordinator(programs: &Programs, folder: &Path) -> anyhow::Result<(Process, Addresses)> {
    let ready_file = folder.join("ready.json");
    let mut command = programs.command(&programs.coordinator);
    command.arg("--simulation-strict");
    command.args(["--client-addr", "127.0.0.1:0", "--mesh-addr", "127.0.0.1:0"]);
    command.args(["--dns-names", "localhost"]);
    command.arg("--seal-dir").arg(folder.join("state"));
    command.arg("--ready-file").arg(&ready_file);
    let mut coordinator = Process::start("the Coordinator", command, folder)?;
    let ready = coordinator.wait_for_file(&ready_file, PATIENCE)?;
    Ok((coordinator, read_addresses(&ready)?))
}

fn read_addresses(ready: &str) -> anyhow::Result<Addresses> {
    let value: serde_json::Value = serde_json::from_str(ready).context("reading the ready file")?;
    let address = |name: &str| {
        let found = value
            .get(name)
            .and_then(serde_json::Value::as_str)
            .map(str::to_owned);
        found.with_context(|| format!("the ready file names no `{name}` address: {ready}"))
    };
    Ok(Addresses {
        client: address("client")?,
        mesh: address("mesh")?,
    })
}

/// `marble-run` for a marble type, without the program it becomes.
fn marble(
    programs: &Programs,
    folder: &Path,
    addresses: &Addresses,
    marble_type: &str,
) -> std::process::Command {
    let mut command = programs.command(&programs.marble_run);
    command
        .env("OE_SIMULATION", "1")
        .env("EDG_MARBLE_TYPE", marble_type)
        .env("EDG_MARBLE_COORDINATOR_ADDR", &addresses.mesh)
        .env("EDG_MARBLE_UUID_FILE", folder.join(format!("{marble_type}.uuid")))
        .env("EDG_MARBLE_DNS_NAMES", "localhost")
        .arg("--");
    command
}

/// What the software TEE measures of a program: SHA-256, in hex.
fn measurement(program: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(program).with_context(|| format!("reading {}", program.display()))?;
    Ok(hex::encode(aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        &bytes,
    )))
}

/// The file that says which Coordinator is expected.
fn policy(folder: &Path) -> std::path::PathBuf {
    folder.join("era-config.json")
}

/// Writes the manifest with the folder and the measurement of this run in it.
fn render_manifest(root: &Path, folder: &Path, measurement: &str) -> anyhow::Result<std::path::PathBuf> {
    let source = root.join("examples/demo/manifest.json");
    let text = std::fs::read_to_string(&source).with_context(|| format!("reading {}", source.display()))?;
    let rendered = folder.join("manifest.json");
    let here = folder
        .to_str()
        .context("the temporary folder has a name that is not UTF-8")?;
    let text = text
        .replace(FOLDER_IN_MANIFEST, here)
        .replace(MEASUREMENT_IN_MANIFEST, measurement);
    std::fs::write(&rendered, text)?;
    Ok(rendered)
}

fn pinned_certificate(folder: &Path) -> std::path::PathBuf {
    folder.join("coordinator-cert.pem")
}

fn heading(text: &str) {
    println!("\n{text}");
}

fn print_indented(text: &str) {
    for line in text.lines() {
        println!("   | {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_is_rendered_for_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let rendered = render_manifest(&crate::repository_root(), folder.path(), &"ab".repeat(32)).unwrap();
        let text = std::fs::read_to_string(rendered).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let files = value["Marbles"]["server"]["Parameters"]["Files"]
            .as_object()
            .unwrap();
        assert!(!files.is_empty());
        for path in files.keys() {
            assert!(Path::new(path).starts_with(folder.path()), "{path}");
        }
        assert!(!text.contains(&format!("\"{FOLDER_IN_MANIFEST}/")));
        assert_eq!(value["Packages"]["hello-server"]["UniqueID"], "ab".repeat(32));
    }

    #[test]
    fn addresses_are_read_from_the_ready_file() {
        let addresses = read_addresses(r#"{"client":"127.0.0.1:1","mesh":"127.0.0.1:2"}"#).unwrap();
        assert_eq!(
            (addresses.client.as_str(), addresses.mesh.as_str()),
            ("127.0.0.1:1", "127.0.0.1:2")
        );
        let missing = read_addresses(r#"{"client":"127.0.0.1:1"}"#).err().unwrap();
        assert!(missing.to_string().contains("`mesh`"));
    }
}
