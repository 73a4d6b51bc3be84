//! A part of an object, by `Range`. A server may answer a part with the whole object (RFC 9110, 14.2): then it is cut here.

use std::ops::Range;

use super::answer::Failure;
use super::{S3Store, chunks};
use crate::store::body::check_part;
use crate::store::{Etag, Key, Object, ObjectBody, Part, StoreError, StoreErrorKind};

impl S3Store {
    /// See [`Store::get_part`](crate::store::Store::get_part).
    pub(super) async fn part(&self, key: &Key, part: Range<u64>) -> Result<Option<Part>, StoreError> {
        let key = self.object_key(key);
        let request = self.request("GetObject", &key);
        let range = format!("bytes={}-{}", part.start, part.end.saturating_sub(1));
        let sent = self.send(&request, || {
            self.client.get_object().bucket(&self.config.bucket).key(&key).range(range.clone()).send()
        });
        let answer = match sent.await {
            Ok(answer) => answer,
            Err(failure) if failure.is_no_object() => return Ok(None),
            // The object ends before the part begins.
            Err(failure) if failure.status() == Some(416) => {
                let message = failure.into_error().message().to_owned();
                return Err(StoreError::new(StoreErrorKind::Corrupt, message));
            }
            Err(failure) => return Err(failure.into_error()),
        };
        let etag = answer.e_tag().map(Etag::new);
        let sent = answer.content_length().and_then(|len| u64::try_from(len).ok());
        let (Some(etag), Some(sent)) = (etag, sent) else {
            return Err(Failure::incomplete(&request, "an ETag or a length").into_error());
        };
        let Some(said) = answer.content_range() else {
            let body = ObjectBody::new(sent, chunks(request, answer.body));
            return Object { etag, len: sent, body }.part(part).map(Some);
        };
        let Some((got, len)) = content_range(said) else {
            let message = format!("{request}: S3 answered with the odd range `{said}`");
            return Err(StoreError::new(StoreErrorKind::Rejected, message));
        };
        check_part(&part, len)?;
        if got != part || sent != part.end - part.start {
            let message = format!("{request}: S3 answered `{range}` with {sent} bytes as `{said}`");
            return Err(StoreError::new(StoreErrorKind::Rejected, message));
        }
        Ok(Some(Part { etag, len, body: ObjectBody::new(sent, chunks(request, answer.body)) }))
    }
}

/// `bytes 10-109/300`: which part, and of how much.
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, len) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let end = last.parse::<u64>().ok()?.checked_add(1)?;
    Some((first.parse().ok()?..end, len.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_read_or_it_is_not() {
        assert_eq!(content_range("bytes 10-109/300"), Some((10..110, 300)));
        for odd in
            ["", "bytes */300", "bytes 10-109/*", "bytes 10-/300", "10-109/300", "bytes 1-18446744073709551615/9"]
        {
            assert_eq!(content_range(odd), None, "{odd}");
        }
    }
}
