//! A request body that stops in the middle until it is told to go on: the stalled put of the start-up proof.

use std::pin::Pin;
use std::task::{Context, Poll};

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;

/// The body, in three states.
struct Halves {
    first: Option<Bytes>,
    handed_over: Option<oneshot::Sender<()>>,
    go_on: BoxFuture<'static, ()>,
    waiting: bool,
    second: Option<Bytes>,
}

/// A body of `bytes` whose second half waits for `go_on`; `handed_over` is told when the first half has been taken by the connection and
/// it asked for more.
pub(super) fn body(bytes: Bytes, handed_over: oneshot::Sender<()>, go_on: BoxFuture<'static, ()>) -> ByteStream {
    let middle = bytes.len() / 2;
    let halves = Halves {
        first: Some(bytes.slice(..middle)),
        handed_over: Some(handed_over),
        go_on,
        waiting: true,
        second: Some(bytes.slice(middle..)),
    };
    // The SDK wants `Sync`; a body is only ever polled by one task.
    ByteStream::new(SdkBody::from_body_1_x(SyncBody(std::sync::Mutex::new(halves))))
}

struct SyncBody(std::sync::Mutex<Halves>);

impl Body for SyncBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let halves = self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(first) = halves.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if let Some(handed_over) = halves.handed_over.take() {
            // Whoever listened may have given up; the put goes on.
            let _ = handed_over.send(());
        }
        if halves.waiting {
            std::task::ready!(halves.go_on.poll_unpin(cx));
            halves.waiting = false;
        }
        Poll::Ready(halves.second.take().map(|second| Ok(Frame::data(second))))
    }

    fn size_hint(&self) -> SizeHint {
        let halves = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let left = |half: &Option<Bytes>| half.as_ref().map_or(0, |bytes| bytes.len() as u64);
        SizeHint::with_exact(left(&halves.first) + left(&halves.second))
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }
}
