//! The body of a publish: every way to cut it gives the same, and each refusal has its own text.

use proptest::prelude::*;

use super::*;

const LIMITS: BodyLimits = BodyLimits { metadata_bytes_max: 100, crate_bytes_max: 1000 };

fn body(metadata: &[u8], krate: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_le_bytes();
    [&length(metadata)[..], metadata, &length(krate)[..], krate].concat()
}

/// What comes out, all crate chunks together.
#[derive(Debug, PartialEq, Eq, Default)]
struct Out {
    metadata: Option<Bytes>,
    crate_length: Option<u32>,
    krate: Vec<u8>,
}

fn parse(chunks: impl IntoIterator<Item = Bytes>) -> Result<Out, BodyError> {
    let mut parser = BodyParser::new(LIMITS);
    let mut out = Out::default();
    for mut chunk in chunks {
        while let Some(event) = parser.next(&mut chunk)? {
            match event {
                BodyEvent::Metadata(metadata) => assert_eq!(out.metadata.replace(metadata), None),
                BodyEvent::CrateLength(length) => assert_eq!(out.crate_length.replace(length), None),
                BodyEvent::Crate(bytes) => {
                    assert!(!bytes.is_empty() && out.crate_length.is_some());
                    out.krate.extend_from_slice(&bytes);
                }
            }
        }
        assert!(chunk.is_empty());
    }
    parser.finish()?;
    Ok(out)
}

fn whole(bytes: &[u8]) -> Result<Out, BodyError> {
    parse([Bytes::copy_from_slice(bytes)])
}

#[test]
fn lengths_are_compared_before_anything_is_kept() {
    let huge = u32::MAX.to_le_bytes();
    assert_eq!(whole(&huge), Err(BodyError::TooLong { part: Part::Metadata, length: u32::MAX, limit: 100 }));
    let body = [&2_u32.to_le_bytes()[..], b"{}", &huge].concat();
    let error = whole(&body).unwrap_err();
    assert_eq!(error, BodyError::TooLong { part: Part::Crate, length: u32::MAX, limit: 1000 });
    assert!(error.to_string().contains("at most 1000: leave files out with `package.exclude`"), "{error}");

    let mut parser = BodyParser::new(BodyLimits { metadata_bytes_max: u32::MAX, crate_bytes_max: 1 });
    assert_eq!(parser.next(&mut Bytes::copy_from_slice(&[255, 255, 255, 255, b'x'])), Ok(None));
    match parser.state {
        State::Metadata { length: u32::MAX, got } => assert!(got.capacity() <= METADATA_RESERVE_BYTES),
        other => panic!("{other:?}"),
    }
}

#[test]
fn limits_are_inclusive() {
    assert!(whole(&body(&[b'x'; 100], &[b'y'; 1000])).is_ok());
    assert!(whole(&body(&[b'x'; 101], &[b'y'; 1000])).is_err());
    assert!(whole(&body(&[b'x'; 100], &[b'y'; 1001])).is_err());
    assert_eq!(LIMITS.body_bytes_max(), body(&[b'x'; 100], &[b'y'; 1000]).len() as u64);
    let most = BodyLimits { metadata_bytes_max: u32::MAX, crate_bytes_max: u32::MAX };
    assert_eq!(most.body_bytes_max(), 8 + 2 * u64::from(u32::MAX));
}

#[test]
fn empty_parts_and_trailing_bytes() {
    assert_eq!(whole(&body(b"", b"y")), Err(BodyError::Empty { part: Part::Metadata }));
    assert_eq!(whole(&body(b"x", b"")), Err(BodyError::Empty { part: Part::Crate }));
    assert_eq!(whole(&[body(b"x", b"y"), b"z".to_vec()].concat()), Err(BodyError::Trailing));
}

#[test]
fn a_refused_body_stays_refused() {
    let mut parser = BodyParser::new(LIMITS);
    let mut chunk = Bytes::from(body(b"", b"y"));
    let error = parser.next(&mut chunk).unwrap_err();
    assert_eq!(parser.next(&mut Bytes::from(body(b"x", b"y"))), Err(error.clone()));
    assert_eq!(parser.finish(), Err(error));
}

#[test]
fn each_cut_is_told() {
    let body = body(b"{}", b"abc");
    for (end, part, got, expected) in [
        (0, Part::MetadataLength, 0, 4),
        (3, Part::MetadataLength, 3, 4),
        (4, Part::Metadata, 0, 2),
        (5, Part::Metadata, 1, 2),
        (6, Part::CrateLength, 0, 4),
        (9, Part::CrateLength, 3, 4),
        (10, Part::Crate, 0, 3),
        (12, Part::Crate, 2, 3),
    ] {
        assert_eq!(whole(&body[..end]), Err(BodyError::Cut { part, got, expected }), "cut at {end}");
    }
    assert!(whole(&body).is_ok());
}

proptest! {
    /// However the body is cut into chunks, the same comes out, also for a body that is refused.
    #[test]
    fn chunks_do_not_matter(
        metadata in prop::collection::vec(any::<u8>(), 0..110),
        krate in prop::collection::vec(any::<u8>(), 0..50),
        extra in prop::collection::vec(any::<u8>(), 0..3),
        missing in 0_usize..4,
        mut cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut bytes = body(&metadata, &krate);
        bytes.extend_from_slice(&extra);
        bytes.truncate(bytes.len() - missing);
        let mut places: Vec<_> = cuts.drain(..).map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let chunks = places.windows(2).map(|pair| Bytes::copy_from_slice(&bytes[pair[0]..pair[1]]));
        let got = parse(chunks);
        prop_assert_eq!(&got, &whole(&bytes));
        let one_by_one = parse(bytes.iter().map(|byte| Bytes::copy_from_slice(&[*byte])));
        prop_assert_eq!(&got, &one_by_one);
        if let Ok(out) = got {
            prop_assert_eq!(out.metadata.unwrap(), metadata);
            prop_assert_eq!(out.crate_length.unwrap() as usize, krate.len());
            prop_assert_eq!(out.krate, krate);
        }
    }
}
