//! Parts of a file: `Range` and `If-Range` (RFC 9110, 13.1.5 and 14). One range at a time; a request for several gets the whole file, which
//! the standard allows.

use std::ops::Range;

use http::header::{IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method};

/// What of a file is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    Whole,
    /// These bytes; never none, never more than there are.
    Part(Range<u64>),
    /// What is not there.
    Nothing,
}

/// What of a file of `len` bytes under this strong ETag is asked for.
pub(super) fn wanted(method: &Method, headers: &HeaderMap, etag: &HeaderValue, len: u64) -> Wanted {
    let mut ranges = headers.get_all(RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else { return Wanted::Whole };
    // A date is none of ours: what it is compared with is not sent.
    let same = headers.get(IF_RANGE).is_none_or(|condition| condition == etag);
    if *method != Method::GET || !same {
        return Wanted::Whole;
    }
    range.to_str().ok().and_then(|text| parse(text, len)).unwrap_or(Wanted::Whole)
}

/// `None`: not a range of bytes, or several.
fn parse(text: &str, len: u64) -> Option<Wanted> {
    let (unit, range) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Larger than any number is larger than any file.
    let number = |text: &str| digits(text).then(|| text.parse().unwrap_or(u64::MAX));
    let part = match (first, last) {
        ("", last) => len.saturating_sub(number(last)?)..len,
        (first, "") => number(first)?..len,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            first..len.min(last.saturating_add(1))
        }
    };
    Some(if part.start < part.end { Wanted::Part(part) } else { Wanted::Nothing })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_of_bytes_is_taken() {
        use Wanted::{Nothing, Part, Whole};
        for (text, expected) in [
            ("bytes=0-", Part(0..10)),
            ("bytes=0-0", Part(0..1)),
            ("Bytes=3-5", Part(3..6)),
            ("bytes= 9-", Part(9..10)),
            ("bytes=2-99", Part(2..10)),
            ("bytes=-3", Part(7..10)),
            ("bytes=-99", Part(0..10)),
            ("bytes=0-99999999999999999999999", Part(0..10)),
            ("bytes=10-", Nothing),
            ("bytes=10-11", Nothing),
            ("bytes=-0", Nothing),
            ("bytes=5-3", Whole),
            ("bytes=0-1,3-4", Whole),
            ("bytes=-", Whole),
            ("bytes=a-b", Whole),
            ("bytes=+1-2", Whole),
            ("lines=1-2", Whole),
            ("bytes", Whole),
        ] {
            let headers = HeaderMap::from_iter([(RANGE, HeaderValue::try_from(text).expect("a value"))]);
            let etag = HeaderValue::from_static("\"e\"");
            assert_eq!(wanted(&Method::GET, &headers, &etag, 10), expected, "{text}");
            assert_eq!(wanted(&Method::HEAD, &headers, &etag, 10), Whole, "{text}");
        }
        let none = HeaderMap::from_iter([(RANGE, HeaderValue::from_static("bytes=0-"))]);
        assert_eq!(wanted(&Method::GET, &none, &HeaderValue::from_static("\"e\""), 0), Nothing, "of an empty file");
    }

    #[test]
    fn a_range_of_another_version_of_the_file_is_all_of_it() {
        let etag = HeaderValue::from_static("\"e\"");
        for (condition, expected) in [
            ("\"e\"", Wanted::Part(1..3)),
            ("\"f\"", Wanted::Whole),
            ("W/\"e\"", Wanted::Whole),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Wanted::Whole),
        ] {
            let headers = HeaderMap::from_iter([
                (RANGE, HeaderValue::from_static("bytes=1-2")),
                (IF_RANGE, HeaderValue::from_static(condition)),
            ]);
            assert_eq!(wanted(&Method::GET, &headers, &etag, 10), expected, "{condition}");
        }
    }
}
