//! A connection whose other side has to take what is sent to it: hyper waits for a client that reads nothing for as long as the client
//! likes, with the answer in memory and the connection taken from others.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Ends with an error when nothing could be sent for a while although there was something to send. Reading is not watched.
#[derive(Debug)]
pub(super) struct Unstalled<I> {
    io: I,
    stall: Duration,
    /// Made when the other side first makes us wait: most never do.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether we wait now.
    waiting: bool,
}

impl<I> Unstalled<I> {
    pub(super) fn new(io: I, stall: Duration) -> Self {
        Self { io, stall, timer: None, waiting: false }
    }

    /// Passes on how a write went; if it has to wait, for so long at most.
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = false;
            return written;
        }
        let until = Instant::now() + self.stall;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if !self.waiting {
            self.waiting = true;
            timer.as_mut().reset(until);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of what is sent to it")))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Unstalled<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Unstalled<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.watch(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const STALL: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_given_up_and_who_is_slow_is_not() {
        let (near, mut far) = tokio::io::duplex(10);
        let begun = Instant::now();
        let sending = tokio::spawn(async move {
            let mut near = Unstalled::new(near, STALL);
            let sent = near.write_all(&[1; 100]).await;
            (sent, begun.elapsed())
        });
        // One byte at a time, each just in time.
        for _ in 0..5 {
            tokio::time::sleep(STALL - Duration::from_secs(1)).await;
            far.read_u8().await.expect("a byte");
        }
        let (sent, took) = sending.await.expect("no panic");
        assert_eq!(sent.expect_err("given up").kind(), io::ErrorKind::TimedOut);
        assert_eq!(took.as_secs(), 5 * (STALL.as_secs() - 1) + STALL.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_all_is_served_however_long_nothing_is_sent() {
        let (near, mut far) = tokio::io::duplex(10);
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            far.read_to_end(&mut all).await.map(|_| all.len())
        });
        let mut near = Unstalled::new(near, STALL);
        near.write_all(&[1; 100]).await.expect("sent");
        tokio::time::sleep(STALL * 10).await;
        near.write_all(&[1; 100]).await.expect("sent");
        drop(near);
        assert_eq!(reading.await.expect("no panic").expect("read"), 200);
    }
}
