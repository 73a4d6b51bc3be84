//! Which answers count as downloads.

use http::header::CONTENT_RANGE;
use http::{Method, Response, StatusCode};

/// Whether this answers a download with the bytes, their beginning, or the address of the bytes. Later parts of a file, `HEAD`, and "you have it
/// already" are not downloads.
pub(super) fn is_counted<B>(method: &Method, response: &Response<B>) -> bool {
    let begins =
        || response.headers().get(CONTENT_RANGE).is_some_and(|range| range.as_bytes().starts_with(b"bytes 0-"));
    method == Method::GET
        && match response.status() {
            StatusCode::OK | StatusCode::FOUND => true,
            StatusCode::PARTIAL_CONTENT => begins(),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use warp::Reply;

    use super::*;

    #[test]
    fn only_the_beginning_counts() {
        let counts = |method: Method, status: u16, range: &str| {
            let mut response = StatusCode::from_u16(status).expect("a status").into_response();
            if !range.is_empty() {
                response.headers_mut().insert(CONTENT_RANGE, range.parse().expect("a range"));
            }
            is_counted(&method, &response)
        };
        assert!(counts(Method::GET, 200, "") && counts(Method::GET, 302, ""));
        assert!(counts(Method::GET, 206, "bytes 0-99/200") && !counts(Method::GET, 206, "bytes 100-199/200"));
        for status in [304, 401, 404, 416, 500] {
            assert!(!counts(Method::GET, status, ""), "{status}");
        }
        assert!(!counts(Method::HEAD, 200, ""));
    }
}
