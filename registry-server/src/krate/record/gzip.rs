//! Single gzip members (RFC 1952) that can grow: bytes are appended without compressing again what is there.
//!
//! A member written here ends with a sync flush, an empty last block and the trailer. So its data end at a byte, and what follows can be
//! compressed with the last 32 KiB as its dictionary and put in place of the last block; the checksum of the whole follows from that of the
//! beginning. A reader sees one member as any other. There is no time and no name in it.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::GzDecoder;
use flate2::{Compress, Compression, FlushCompress, Status};

/// Magic, deflate, no flags, no time, no hints, no system (RFC 1952, 2.3).
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// How a sync flush ends: an empty stored block (RFC 1951, 3.2.4).
const FLUSHED: [u8; 4] = [0, 0, 0xff, 0xff];
/// An empty last block with fixed codes.
const LAST: [u8; 2] = [3, 0];
/// CRC-32 and length of what was compressed.
const TRAILER: usize = 8;
/// How far back a reference may reach (RFC 1951, 2).
const WINDOW: usize = 32 * 1024;

/// The bytes as one member.
pub(super) fn deflate(bytes: &[u8]) -> Bytes {
    let mut crc = crc32fast::Hasher::new();
    crc.update(bytes);
    let data = compress(&[], bytes);
    member(&HEAD, &data, crc.finalize(), bytes.len() as u32)
}

/// A member with `more` behind what it has; `before` is what it inflates to, or at least its last [`WINDOW`] bytes. What was appended one
/// by one takes more room than what was compressed at once, so now and then it should be.
///
/// `None`: it was not written here, or not so that anything can be appended.
pub(super) fn append(member: &[u8], before: &[u8], more: &[u8]) -> Option<Bytes> {
    let (rest, trailer) = member.split_at_checked(member.len().checked_sub(TRAILER)?)?;
    let data = rest.strip_suffix(&LAST)?;
    if !data.starts_with(&HEAD) || !data.ends_with(&FLUSHED) {
        return None;
    }
    let (crc, length) = trailer.split_at(4);
    let [crc, length] = [crc, length].map(|bytes| u32::from_le_bytes(bytes.try_into().expect("four bytes")));
    let mut whole = crc32fast::Hasher::new_with_initial_len(crc, u64::from(length));
    whole.update(more);
    let appended = compress(&before[before.len().saturating_sub(WINDOW)..], more);
    // The length is modulo 2^32 (RFC 1952, 2.3.1).
    Some(self::member(data, &appended, whole.finalize(), length.wrapping_add(more.len() as u32)))
}

fn member(head: &[u8], data: &[u8], crc: u32, length: u32) -> Bytes {
    [head, data, &LAST, &crc.to_le_bytes(), &length.to_le_bytes()].concat().into()
}

/// Blocks up to a sync flush, without a last one.
fn compress(dictionary: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut compress = Compress::new(Compression::default(), false);
    if !dictionary.is_empty() {
        compress.set_dictionary(dictionary).expect("nothing was compressed yet");
    }
    let mut data = Vec::with_capacity(bytes.len() / 4 + 64);
    loop {
        let done = compress.total_in() as usize;
        let status =
            compress.compress_vec(&bytes[done..], &mut data, FlushCompress::Sync).expect("compressing to memory");
        // Room left over says that all is out.
        if status != Status::StreamEnd && compress.total_in() as usize == bytes.len() && data.len() < data.capacity() {
            return data;
        }
        data.reserve(data.capacity());
    }
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
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

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
    fn what_is_appended_reads_as_one_member() {
        let mut rng = StdRng::seed_from_u64(7);
        let (mut bytes, mut member) = (Vec::new(), deflate(b""));
        let mut sizes = Vec::new();
        for round in 0..300 {
            // Lines that are much alike, some longer than the window, some empty.
            let length = [0, 1, 80, 500, 500, 500, 40_000][rng.random_range(0..if round % 50 == 0 { 7 } else { 6 })];
            let more: Vec<u8> =
                (0..length).map(|at| if at % 9 == 0 { rng.random() } else { (at % 61) as u8 }).collect();
            member = append(&member, &bytes, &more).expect("written here");
            bytes.extend_from_slice(&more);
            sizes.push(member.len());
            let (inflated, end) = inflate_first(&member, bytes.len()).unwrap();
            assert!(inflated == bytes && end == member.len(), "round {round}: {sizes:?}");
        }
        // The tail alone is enough of a dictionary, and gives the same.
        let tail = &bytes[bytes.len() - WINDOW..];
        assert_eq!(append(&member, tail, b"more"), append(&member, &bytes, b"more"));
        let whole = deflate(&bytes).len();
        assert!(member.len() < 2 * whole, "{} bytes, {whole} at once", member.len());
    }

    #[test]
    fn nothing_is_appended_to_what_others_wrote() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
        std::io::Write::write_all(&mut encoder, b"lines").unwrap();
        let foreign = encoder.finish().unwrap();
        assert_eq!(append(&foreign, b"lines", b"more"), None);
        for cut in 0..foreign.len() {
            assert_eq!(append(&foreign[..cut], b"lines", b"more"), None, "{cut}");
        }
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
