//! The ready file: tells whoever started the Coordinator where it listens.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// The ready file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the ready file {} cannot be written: {source}", path.display())]
pub struct ReadyFileError {
    path: PathBuf,
    source: io::Error,
}

/// Writes `{"client": "host:port", "mesh": "host:port"}`, with `"metrics"` if that is served; whoever finds the file finds
/// all of it.
///
/// Where the Coordinator listens on all interfaces, the loopback address stands for them.
///
/// # Errors
/// [`ReadyFileError`] if the directory is not writable.
pub fn write(
    path: &Path,
    client: SocketAddr,
    mesh: SocketAddr,
    metrics: Option<SocketAddr>,
) -> Result<(), ReadyFileError> {
    let failed = |source| ReadyFileError {
        path: path.to_owned(),
        source,
    };
    let metrics = metrics.map_or_else(String::new, |metrics| {
        format!(",\"metrics\":\"{}\"", reachable(metrics))
    });
    let text = format!(
        "{{\"client\":\"{}\",\"mesh\":\"{}\"{metrics}}}\n",
        reachable(client),
        reachable(mesh)
    );
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    std::fs::write(&temporary, text).map_err(failed)?;
    std::fs::rename(&temporary, path).map_err(failed)
}

fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        // A socket for all IPv6 interfaces takes IPv4 as well.
        ip if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_addresses_to_connect_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ready");
        let addresses = ["[::]:4433", "[::1]:2001", "0.0.0.0:9944"].map(|address| address.parse().unwrap());
        write(&path, addresses[0], addresses[1], Some(addresses[2])).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(value["metrics"], "127.0.0.1:9944");
        write(&path, addresses[0], addresses[1], None).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(
            value,
            serde_json::json!({"client": "127.0.0.1:4433", "mesh": "[::1]:2001"})
        );
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(
            write(
                Path::new("/nowhere/at/all"),
                "[::]:1".parse().unwrap(),
                "[::]:2".parse().unwrap(),
                None
            )
            .is_err()
        );
    }
}
