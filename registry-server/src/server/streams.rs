//! HTTP/2 streams whose client has to take what is sent to it. On HTTP/2 a client says how much it is ready to take; when that is nothing, no write waits, so
//! [`super::stall`] sees nothing, and the answer stays in memory for as long as the client likes.
//!
//! hyper asks for the next piece of an answer when the client has begun to take the one before. So an answer notes when it hands a piece out, and whoever drives the stream
//! gives up when nobody has come for the next one in time. That resets the stream; the others on the connection go on.
//!
//! The last piece is different: hyper leaves it to h2 as soon as the client is ready for one byte of it, and then nobody drives the stream any more, and nobody can reset it. What is
//! left so is a piece per stream at most, which holds nothing but itself: 200 of 16 KiB, some 3 MiB per connection. When pieces are left and none leaves for long, the connection is cut.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

/// What is handed out at once of an answer: a frame of HTTP/2. It is memory of its own, however small it is, so that a piece that nobody takes holds nothing else. A client that
/// takes so long for one is given up.
const PIECE_BYTES: usize = 16 * 1024;

tokio::task_local! {
    static TAKING: Arc<Taking>;
}

/// What has become of an answer on one stream.
#[derive(Debug, Default)]
struct Taking {
    /// Pieces that were handed out.
    handed: AtomicU64,
    /// Whether it is the client that we wait for.
    outstanding: AtomicBool,
}

/// Runs the streams of HTTP/2 connections, each for as long as its client takes something of its answer now and then.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    stall: Duration,
}

impl Streams {
    pub(super) fn new(stall: Duration) -> Self {
        Self { stall }
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        tokio::spawn(watched(stream, self.stall));
    }
}

/// Drops `stream` when nothing of its answer was taken for a while.
async fn watched(stream: impl Future<Output = ()>, stall: Duration) {
    let taking = Arc::new(Taking::default());
    let mut stream = pin!(TAKING.scope(taking.clone(), stream));
    // Made when a client first makes us wait: most never do.
    let mut timer: Option<Pin<Box<tokio::time::Sleep>>> = None;
    let mut seen = 0;
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let handed = taking.handed.load(Ordering::Relaxed);
        if !taking.outstanding.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        let until = Instant::now() + stall;
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if seen != handed {
            seen = handed;
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx).map(|()| tracing::debug!("a client took nothing of its answer: its stream is reset"))
    })
    .await;
}

/// The pieces of one connection's answers that are on their way into its socket.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pieces: AtomicUsize,
    /// How many have left.
    left: AtomicU64,
}

impl Outbox {
    /// Ends when there were pieces for more than twice the time of `stall` and none left: a stream that can be reset was by then.
    pub(super) async fn stands_still(&self, stall: Duration) {
        let (mut seen, mut still) = (0, 0);
        while still < 3 {
            tokio::time::sleep(stall).await;
            let left = self.left.load(Ordering::Relaxed);
            still = if self.pieces.load(Ordering::Relaxed) > 0 && left == seen { still + 1 } else { 0 };
            seen = left;
        }
    }
}

/// Memory of one piece.
struct Piece {
    bytes: Box<[u8]>,
    outbox: Arc<Outbox>,
}

impl Piece {
    fn copy_of(bytes: &[u8], outbox: &Arc<Outbox>) -> Bytes {
        outbox.pieces.fetch_add(1, Ordering::Relaxed);
        Bytes::from_owner(Self { bytes: bytes.into(), outbox: outbox.clone() })
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.outbox.left.fetch_add(1, Ordering::Relaxed);
        self.outbox.pieces.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer; over HTTP/2 one that notes when it is taken.
pub(super) struct Noted<B> {
    inner: B,
    /// What was not handed out yet of a larger piece.
    rest: Bytes,
    /// `None`: not over HTTP/2.
    outbox: Option<Arc<Outbox>>,
}

impl<B> Noted<B> {
    pub(super) fn new(inner: B, outbox: Option<Arc<Outbox>>) -> Self {
        Self { inner, rest: Bytes::new(), outbox }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Noted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let Some(outbox) = &this.outbox else { return Pin::new(&mut this.inner).poll_frame(cx) };
        let frame = if this.rest.is_empty() {
            match Pin::new(&mut this.inner).poll_frame(cx).map_ok(Frame::into_data) {
                Poll::Ready(Some(Ok(Ok(data)))) => {
                    this.rest = data;
                    None
                }
                Poll::Ready(Some(Ok(Err(other)))) => Some(Poll::Ready(Some(Ok(other)))),
                Poll::Ready(Some(Err(error))) => Some(Poll::Ready(Some(Err(error)))),
                Poll::Ready(None) => Some(Poll::Ready(None)),
                Poll::Pending => Some(Poll::Pending),
            }
        } else {
            None
        };
        let frame = frame.unwrap_or_else(|| {
            let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES));
            Poll::Ready(Some(Ok(Frame::data(Piece::copy_of(&piece, outbox)))))
        });
        // Outside of a stream there is nobody to tell.
        let _ = TAKING.try_with(|taking| {
            taking.outstanding.store(frame.is_ready(), Ordering::Relaxed);
            taking.handed.fetch_add(u64::from(frame.is_ready()), Ordering::Relaxed);
        });
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use http_body_util::{BodyExt as _, Empty, Full};
    use hyper::body::Incoming;
    use hyper::client::conn::http2::SendRequest;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::sync::mpsc;

    use super::*;

    const STALL: Duration = Duration::from_secs(30);
    const WINDOW: usize = 1000;
    const LEN: usize = 100_000;

    /// Says when it is dropped.
    struct Told(Full<Bytes>, mpsc::UnboundedSender<Duration>, Instant);

    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.1.send(self.2.elapsed());
        }
    }

    impl Body for Told {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Pin::new(&mut self.0).poll_frame(cx)
        }
    }

    /// A server of answers of `len` bytes, a client whose windows are small, and how long each answer lived.
    async fn connect(len: usize) -> (SendRequest<Empty<Bytes>>, mpsc::UnboundedReceiver<Duration>) {
        let (near, far) = tokio::io::duplex(1 << 20);
        let (told, lived) = mpsc::unbounded_channel();
        let outbox = Arc::new(Outbox::default());
        let watched = outbox.clone();
        let service = hyper::service::service_fn(move |_: Request<Incoming>| {
            let body = Told(Full::new(Bytes::from(vec![1; len])), told.clone(), Instant::now());
            let response = Response::new(Noted::new(body, Some(outbox.clone())));
            async move { Ok::<_, Infallible>(response) }
        });
        let builder = super::super::listener::builder(STALL, STALL);
        tokio::spawn(async move {
            tokio::select! {
                _ = builder.serve_connection(TokioIo::new(near), service).into_owned() => {}
                () = watched.stands_still(STALL) => {}
            }
        });
        let mut client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        client.initial_stream_window_size(WINDOW as u32);
        let (sender, connection) = client.handshake(TokioIo::new(far)).await.expect("HTTP/2");
        tokio::spawn(connection);
        (sender, lived)
    }

    async fn ask(sender: &mut SendRequest<Empty<Bytes>>) -> Incoming {
        sender.send_request(Request::new(Empty::new())).await.expect("the head of an answer").into_body()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_keeps_its_window_shut_loses_that_stream_and_no_other() {
        let (mut sender, mut lived) = connect(LEN).await;
        let mut shut = ask(&mut sender).await;
        assert_eq!(lived.recv().await.expect("it ends").as_secs(), STALL.as_secs());
        let other = ask(&mut sender).await.collect().await.expect("it is taken whole");
        assert_eq!(other.to_bytes().len(), LEN);
        let mut taken = 0;
        let error = loop {
            match shut.frame().await.expect("it was not all") {
                Ok(frame) => taken += frame.into_data().expect("data").len(),
                Err(error) => break error,
            }
        };
        assert!(taken <= WINDOW, "{taken}");
        assert!(format!("{error:?}").contains("CANCEL"), "{error:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_slow_gets_it_all() {
        let (mut sender, mut lived) = connect(LEN).await;
        let mut body = ask(&mut sender).await;
        let mut taken = 0;
        let begun = Instant::now();
        while let Some(frame) = body.frame().await {
            let frame = frame
                .unwrap_or_else(|error| panic!("given up after {taken} bytes and {:?}: {error:?}", begun.elapsed()));
            taken += frame.into_data().expect("data").len();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert_eq!(taken, LEN);
        assert!(lived.recv().await.expect("it ends") > STALL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_last_piece_that_nobody_takes_ends_the_connection() {
        let (mut sender, mut lived) = connect(10 * WINDOW).await;
        let _shut = ask(&mut sender).await;
        assert_eq!(lived.recv().await.expect("hyper lets go of it"), Duration::ZERO, "nobody waits for the client");
        tokio::time::sleep(STALL * 5 / 2).await;
        sender.ready().await.expect("it lives");
        tokio::time::sleep(STALL).await;
        assert!(sender.ready().await.is_err(), "it was cut");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_lives_on() {
        let (mut sender, _lived) = connect(10).await;
        for _ in 0..3 {
            assert_eq!(ask(&mut sender).await.collect().await.expect("taken").to_bytes().len(), 10);
            tokio::time::sleep(STALL * 10).await;
        }
    }

    #[tokio::test]
    async fn a_piece_holds_nothing_but_itself() {
        for len in [100, PIECE_BYTES, PIECE_BYTES + 100] {
            let large = Bytes::from(vec![7; 1 << 20]);
            let outbox = Arc::new(Outbox::default());
            let mut body = Noted::new(Full::new(large.slice(..len)), Some(outbox.clone()));
            let mut pieces = Vec::new();
            while let Some(frame) = body.frame().await {
                pieces.push(frame.expect("good").into_data().expect("data"));
            }
            drop(body);
            assert!(large.is_unique(), "{len}");
            assert!(pieces.concat() == large[..len]);
            assert_eq!(outbox.pieces.load(Ordering::Relaxed), pieces.len());
            drop(pieces);
            assert_eq!(outbox.pieces.load(Ordering::Relaxed), 0);
        }
    }
}
