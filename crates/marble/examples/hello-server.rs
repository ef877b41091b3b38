//! A marble that greets other marbles over mutual TLS.
//!
//! Environment: `HELLO_LISTEN` (address to listen on, default `127.0.0.1:0`), `HELLO_ADDRESS_FILE` (file that the
//! address it listens on is written to), `HELLO_FILES` (comma-separated paths of files the manifest should have
//! written).

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use marblerun_marble::{Identity, MarbleName, tls};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

#[path = "shared/received.rs"]
mod received;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let identity = Identity::from_env()?;
    println!("hello-server is marble {}", identity.name());
    received::print_names();

    let listen = std::env::var("HELLO_LISTEN").unwrap_or_else(|_| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(&listen).await?;
    let address = listener.local_addr()?;
    println!("listening on {address}");
    if let Some(path) = std::env::var_os("HELLO_ADDRESS_FILE") {
        std::fs::write(path, address.to_string())?;
    }

    let acceptor = TlsAcceptor::from(Arc::new(tls::server_config(&identity)?));
    let name = identity.name().clone();
    loop {
        let (stream, from) = listener.accept().await?;
        let acceptor = acceptor.clone();
        let name = name.clone();
        // One silent or refused client must not keep others waiting.
        tokio::spawn(async move {
            let greeting = tokio::time::timeout(Duration::from_secs(10), greet(acceptor, stream, &name));
            match greeting.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => println!("{from} refused: {error}"),
                Err(_) => println!("{from} refused: too slow"),
            }
        });
    }
}

async fn greet(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    own: &MarbleName,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut stream = acceptor.accept(stream).await?;
    let certificate = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first());
    let caller = MarbleName::of_verified_certificate(certificate.ok_or("no client certificate")?)?;

    let mut line = String::new();
    BufReader::new(&mut stream)
        .take(1024)
        .read_line(&mut line)
        .await?;
    println!("marble {caller} says: {}", line.trim_end());
    stream
        .write_all(format!("hello {}, this is {own}\n", caller.uuid).as_bytes())
        .await?;
    stream.shutdown().await?;
    Ok(())
}
