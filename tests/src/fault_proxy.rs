//! A TCP proxy that does what networks and busy servers do, in this process, so that a test decides when.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::AbortHandle,
};

/// What happens to connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Nothing.
    Fair,
    /// The request arrives, and the connection is reset before any of its answer is back.
    ResetAfterRequest,
    /// Nothing arrives for as long as this lasts; then all of it.
    Stall,
    /// Half of what the server says next arrives, and then the connection is reset.
    HalfBody,
    /// Nothing arrives, in either direction, and what is sent meanwhile is lost.
    Blackhole,
    /// Every request is answered 503 `SlowDown` without having arrived.
    SlowDown,
}

impl Weather {
    /// All that are bad.
    pub const BAD: [Self; 5] = [Self::ResetAfterRequest, Self::Stall, Self::HalfBody, Self::Blackhole, Self::SlowDown];
}

/// Answers to requests that do not arrive.
const SLOW_DOWN: &[u8] = b"HTTP/1.1 503 Slow Down\r\ncontent-type: application/xml\r\nconnection: close\r\ncontent-length: 80\r\n\r\n<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>";
/// Read at once.
const CHUNK: usize = 64 * 1024;
/// A request that comes in pieces has its pieces within this.
const PIECES_WITHIN: Duration = Duration::from_millis(20);

/// A proxy in front of one address. It stops when dropped, and its connections with it.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    harmed: watch::Sender<u64>,
    accepting: AbortHandle,
}

impl FaultProxy {
    /// Listens on a free port of loopback.
    ///
    /// # Errors
    /// There is none.
    pub async fn start(target: String) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listening for a proxy")?;
        let address = listener.local_addr()?;
        let weather = watch::Sender::new(Weather::Fair);
        let harmed = watch::Sender::new(0);
        let (seen, count) = (weather.subscribe(), harmed.clone());
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let link = Link { weather: seen.clone(), harmed: count.clone() };
                let target = target.clone();
                connections.spawn(async move {
                    // An error is a connection that ended, which is what this is about.
                    let _ = link.carry(client, &target).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, weather, harmed, accepting: accepting.abort_handle() })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, for open connections too.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// How many connections and requests it has harmed.
    #[must_use]
    pub fn harmed(&self) -> u64 {
        *self.harmed.borrow()
    }

    /// Waits until it has harmed more than that.
    pub async fn harms_more_than(&self, before: u64) {
        // There is a sender as long as there is a proxy.
        let _ = self.harmed.subscribe().wait_for(|harmed| *harmed > before).await;
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A close without lingering is a reset.
fn reset(to: &OwnedWriteHalf) -> Result<()> {
    to.as_ref().set_zero_linger()?;
    bail!("reset")
}

/// One connection.
#[derive(Clone)]
struct Link {
    weather: watch::Receiver<Weather>,
    harmed: watch::Sender<u64>,
}

impl Link {
    async fn carry(self, client: TcpStream, target: &str) -> Result<()> {
        client.set_nodelay(true)?;
        if *self.weather.borrow() == Weather::SlowDown {
            return self.slow_down(client).await;
        }
        let server = TcpStream::connect(target).await?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            ended = self.clone().requests(from_client, to_server) => ended,
            ended = self.answers(from_server, to_client) => ended,
        }
    }

    async fn requests(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> Result<()> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = from.read(&mut chunk).await?;
            if read == 0 {
                // The other direction ends the connection when the server has said all.
                to.shutdown().await?;
                return std::future::pending().await;
            }
            match self.settled().await {
                Weather::Blackhole => self.harm(),
                Weather::SlowDown => {
                    self.harm();
                    bail!("a busy server closes open connections")
                }
                _ => to.write_all(&chunk[..read]).await?,
            }
        }
    }

    async fn answers(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> Result<()> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = from.read(&mut chunk).await?;
            if read == 0 {
                return Ok(to.shutdown().await?);
            }
            match self.settled().await {
                Weather::Blackhole => self.harm(),
                Weather::ResetAfterRequest => {
                    self.harm();
                    return reset(&to);
                }
                Weather::HalfBody => {
                    self.harm();
                    to.write_all(&chunk[..read / 2]).await?;
                    // Without this the reset would overtake the half.
                    tokio::time::sleep(PIECES_WITHIN).await;
                    return reset(&to);
                }
                Weather::Fair | Weather::Stall | Weather::SlowDown => to.write_all(&chunk[..read]).await?,
            }
        }
    }

    /// What to do with what has just arrived: while nothing arrives at all, it has not.
    async fn settled(&mut self) -> Weather {
        if *self.weather.borrow() == Weather::Stall {
            self.harm();
            // The proxy has gone: so has the connection.
            let _ = self.weather.wait_for(|weather| *weather != Weather::Stall).await;
        }
        *self.weather.borrow()
    }

    /// Answers without asking the server.
    async fn slow_down(&self, mut client: TcpStream) -> Result<()> {
        let mut chunk = vec![0; CHUNK];
        if client.read(&mut chunk).await? == 0 {
            return Ok(());
        }
        self.harm();
        client.write_all(SLOW_DOWN).await?;
        client.shutdown().await?;
        // A close with unread bytes would be a reset, and the answer lost.
        while client.read(&mut chunk).await? > 0 {}
        Ok(())
    }

    fn harm(&self) {
        self.harmed.send_modify(|harmed| *harmed += 1);
    }
}
