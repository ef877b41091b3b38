//! A marble that greets `hello-server` over mutual TLS, prints the answer and ends.
//!
//! Environment: `HELLO_CONNECT` (address of the server), `HELLO_SERVER_NAME` (name the server's certificate must
//! have, default `localhost`), `HELLO_FILES` as for the server.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use marblerun_marble::{Identity, tls};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

#[path = "shared/received.rs"]
mod received;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let identity = Identity::from_env()?;
    println!("hello-client is marble {}", identity.name());
    received::print_names();

    let address =
        std::env::var("HELLO_CONNECT").map_err(|_| "HELLO_CONNECT is not set: expected host:port")?;
    let server = std::env::var("HELLO_SERVER_NAME").unwrap_or_else(|_| "localhost".to_owned());
    let connector = TlsConnector::from(Arc::new(tls::client_config(&identity)?));
    let answer = tokio::time::timeout(Duration::from_secs(10), async {
        let stream = TcpStream::connect(&address).await?;
        let mut stream = connector.connect(ServerName::try_from(server)?, stream).await?;
        stream
            .write_all(format!("hello from {}\n", identity.name().uuid).as_bytes())
            .await?;
        let mut answer = String::new();
        stream.take(1024).read_to_string(&mut answer).await?;
        Ok::<_, Box<dyn Error>>(answer)
    })
    .await??;
    println!("{address} answers: {}", answer.trim_end());
    if answer.is_empty() {
        Err("the server did not answer".into())
    } else {
        Ok(())
    }
}
