//! Peers that stop halfway, and either go after a while or wait until they are sent away.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::pace::{Pace, Part};
use crate::rest::{Sender, beginning, connect, send};
use crate::tls::Connector;

/// How long those stay who go by themselves.
const STAYS: Duration = Duration::from_secs(2);
/// When the server sends away those who do not, and how long a busy machine may take longer for it.
const SENT_AWAY: Duration = Duration::from_secs(10);
const LATE: Duration = Duration::from_secs(15);
/// The begin of a TLS hello: type, version, a length that never comes.
const HALF_HELLO: &[u8] = &[22, 3, 1, 2, 0, 1, 0];
const HALF_HEADER: &[u8] = b"GET /status HTTP/1.1\r\nhost: coordinator\r\nx-half: ";
const HALF_BODY: &[u8] = b"POST /secrets HTTP/1.1\r\nhost: coordinator\r\ncontent-length: 1000\r\n\r\n{";

/// Adds them.
pub fn add(pace: &mut Pace, client: SocketAddr, mesh: SocketAddr) -> Result<()> {
    let tls = Connector::new(client, None, "http/1.1")?;
    for (name, address) in [("half a hello", client), ("half a hello to marbles", mesh)] {
        let slow = |waits| Slow {
            on: On::Tcp(address),
            sends: HALF_HELLO,
            waits,
        };
        pace.add_lasting(name, 1.0, STAYS, slow(false));
        pace.add_lasting("half a hello, sent away", 0.1, SENT_AWAY, slow(true));
    }
    let slow = |sends, waits| Slow {
        on: On::Tls(tls.clone()),
        sends,
        waits,
    };
    pace.add_lasting("half a header", 1.0, STAYS, slow(HALF_HEADER, false));
    pace.add_lasting("half a body", 1.0, STAYS, slow(HALF_BODY, false));
    pace.add_lasting("nothing", 1.0, STAYS, slow(b"", false));
    pace.add_lasting(
        "half a header, sent away",
        0.1,
        SENT_AWAY,
        slow(HALF_HEADER, true),
    );
    Ok(())
}

/// Adds connections that stay: five more a second, on which something is asked often enough for them not to be closed.
pub fn add_planted(pace: &mut Pace, client: SocketAddr) -> Result<()> {
    let connector = Connector::new(client, None, "http/1.1")?;
    pace.add("planted connections", 1.0, Staying(connector));
    Ok(())
}

struct Slow {
    on: On,
    sends: &'static [u8],
    /// To be sent away.
    waits: bool,
}

enum On {
    Tcp(SocketAddr),
    Tls(Connector),
}

impl Part for Slow {
    type Kept = ();

    async fn run(&self, (): &mut ()) -> Result<Duration> {
        match &self.on {
            On::Tcp(address) => self.stop_halfway(TcpStream::connect(address).await?).await,
            On::Tls(connector) => self.stop_halfway(connector.connect().await?).await,
        }
    }
}

impl Slow {
    async fn stop_halfway(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<Duration> {
        let began = Instant::now();
        stream.write_all(self.sends).await?;
        stream.flush().await?;
        if !self.waits {
            sleep(STAYS).await;
            return Ok(began.elapsed());
        }
        let mut answer = Vec::new();
        // However the server ends it.
        let ended = timeout(SENT_AWAY + LATE, stream.read_to_end(&mut answer)).await;
        if ended.is_err() {
            bail!(
                "not sent away within {:?}: {}",
                SENT_AWAY + LATE,
                beginning(&answer)
            );
        }
        Ok(began.elapsed())
    }
}

struct Staying(Connector);

impl Part for Staying {
    type Kept = Vec<Sender>;

    async fn run(&self, kept: &mut Self::Kept) -> Result<Duration> {
        let began = Instant::now();
        for _ in 0..5 {
            kept.push(connect(&self.0).await?);
        }
        for sender in kept {
            send(sender, http::Method::GET, "/status", bytes::Bytes::new()).await?;
        }
        Ok(began.elapsed())
    }
}
