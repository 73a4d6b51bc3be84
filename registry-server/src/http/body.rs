//! Request bodies that are read whole, under a limit.

use std::pin::pin;

use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt};

use crate::registry::RegistryError;

/// Reads a body of at most `bytes_max`.
///
/// # Errors
/// It is longer, or was cut.
pub(super) async fn collect(
    body: impl Stream<Item = Result<impl Buf, warp::Error>>,
    bytes_max: usize,
) -> Result<Bytes, RegistryError> {
    let mut body = pin!(body);
    let mut all = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.map_err(|error| cut(&error))?;
        if all.len() + chunk.remaining() > bytes_max {
            return Err(RegistryError::TooLarge(format!(
                "the body of this request may be {bytes_max} bytes long at most"
            )));
        }
        all.extend_from_slice(&chunk.copy_to_bytes(chunk.remaining()));
    }
    Ok(all.freeze())
}

/// A body that did not arrive whole.
pub(super) fn cut(error: &warp::Error) -> RegistryError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.is::<tower_http::timeout::TimeoutError>() {
            return RegistryError::TooSlow(
                "the body of the request took longer to arrive than limits.body_read_secs allows; nothing was stored",
            );
        }
        source = error.source();
    }
    RegistryError::Invalid(format!("the body of the request was cut ({error}); nothing was stored"))
}

/// Reads `T` from JSON; the text says what is wrong and where.
pub(super) fn json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, RegistryError> {
    serde_json::from_slice(body)
        .map_err(|error| RegistryError::Invalid(format!("the body of this request is not as expected: {error}")))
}
