//! Single gzip members (RFC 1952), written so that equal bytes give equal members: no time, no name.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;

/// The bytes as one member.
pub(super) fn deflate(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("writing to memory");
    encoder.finish().expect("writing to memory").into()
}

/// The first member inflated, and where the bytes after it begin.
///
/// # Errors
/// It is damaged (the checksum in it is compared), or longer than `bytes_max`.
pub(super) fn inflate_first(object: &[u8], bytes_max: usize) -> Result<(Vec<u8>, usize), String> {
    let mut decoder = GzDecoder::new(object);
    let mut bytes = Vec::new();
    let limit = bytes_max as u64 + 1;
    decoder.by_ref().take(limit).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > bytes_max {
        return Err(format!("it inflates to more than {bytes_max} bytes"));
    }
    // `take` may have stopped before the trailer was read: the end must be seen.
    match decoder.read(&mut [0]) {
        Ok(0) => Ok((bytes, object.len() - decoder.into_inner().len())),
        Ok(_) => Err(format!("it inflates to more than {bytes_max} bytes")),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_end_where_the_next_begins() {
        let object = [deflate(b"one"), deflate(b""), Bytes::from_static(b"rest")].concat();
        let (one, end) = inflate_first(&object, 3).unwrap();
        assert_eq!(one, b"one");
        let (empty, next) = inflate_first(&object[end..], 0).unwrap();
        assert!(empty.is_empty());
        assert_eq!(&object[end + next..], b"rest");
        assert_eq!(deflate(b"one"), deflate(b"one"));
    }

    #[test]
    fn limits_and_damage() {
        let member = deflate(&[7; 1000]);
        assert!(inflate_first(&member, 999).unwrap_err().contains("more than 999 bytes"));
        assert_eq!(inflate_first(&member, 1000).unwrap().0.len(), 1000);
        for cut in 0..member.len() {
            assert!(inflate_first(&member[..cut], 1000).is_err(), "cut at {cut}");
        }
        // Some bits say nothing: hints in the header, padding in the stream. None may change the contents unseen.
        for bit in 0..member.len() * 8 {
            let mut damaged = member.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok((bytes, _)) = inflate_first(&damaged, 1000) {
                assert_eq!(bytes, [7; 1000], "bit {bit}");
            }
        }
    }
}
