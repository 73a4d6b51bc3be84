//! The body of `PUT /api/v1/crates/new`, taken apart while it streams in.
//!
//! Little-endian u32 length of the metadata, the metadata (JSON), little-endian u32 length of the crate, the crate
//! (Cargo book, "Web API", "Publish"; `crates/crates-io/lib.rs`, `Registry::publish`). A length is compared with its limit
//! before anything is kept. No I/O here: the caller feeds chunks as they arrive and takes events out.

use bytes::{Buf, Bytes};

/// What an upload may weigh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// Longest metadata, in bytes.
    pub metadata_bytes_max: u32,
    /// Largest `.crate` file, in bytes.
    pub crate_bytes_max: u32,
}

impl BodyLimits {
    /// The longest body that can be within the limits, in bytes: for a first look at `Content-Length`.
    #[must_use]
    pub fn body_bytes_max(&self) -> u64 {
        8 + u64::from(self.metadata_bytes_max) + u64::from(self.crate_bytes_max)
    }
}

/// What came out of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyEvent {
    /// The whole metadata, once.
    Metadata(Bytes),
    /// The length of the crate that follows, in bytes; checked, and always before the first [`BodyEvent::Crate`].
    CrateLength(u32),
    /// The next bytes of the crate, without copying.
    Crate(Bytes),
}

/// The parser of one body.
///
/// ```
/// # use bytes::Bytes;
/// # use supercargo_registry::krate::publish_body::*;
/// let mut parser = BodyParser::new(BodyLimits { metadata_bytes_max: 1024, crate_bytes_max: 1024 });
/// let mut krate = Vec::new();
/// for mut chunk in [Bytes::from_static(b"\x02\0\0\0{"), Bytes::from_static(b"}\x03\0\0\0abc")] {
///     while let Some(event) = parser.next(&mut chunk)? {
///         match event {
///             BodyEvent::Metadata(json) => assert_eq!(json, "{}"),
///             BodyEvent::CrateLength(length) => assert_eq!(length, 3),
///             BodyEvent::Crate(bytes) => krate.extend_from_slice(&bytes),
///         }
///     }
/// }
/// parser.finish()?;
/// assert_eq!(krate, b"abc");
/// # Ok::<(), BodyError>(())
/// ```
#[derive(Debug)]
pub struct BodyParser {
    limits: BodyLimits,
    state: State,
}

#[derive(Debug)]
enum State {
    MetadataLength(Length),
    Metadata {
        length: u32,
        got: Vec<u8>,
    },
    CrateLength(Length),
    Crate {
        length: u32,
        left: u32,
    },
    /// A refusal was given; every further call repeats it.
    Refused(BodyError),
}

/// Up to four bytes of a length.
#[derive(Debug, Default)]
struct Length {
    bytes: [u8; 4],
    got: usize,
}

impl Length {
    /// Takes what it needs of the chunk; the length once all four bytes are there.
    fn take(&mut self, chunk: &mut Bytes) -> Option<u32> {
        while self.got < 4 && chunk.has_remaining() {
            self.bytes[self.got] = chunk.get_u8();
            self.got += 1;
        }
        (self.got == 4).then(|| u32::from_le_bytes(self.bytes))
    }
}

/// Before its bytes have arrived, no more than this is set aside for the metadata.
const METADATA_RESERVE_BYTES: usize = 16 * 1024;

impl BodyParser {
    /// A parser at the start of a body.
    #[must_use]
    pub fn new(limits: BodyLimits) -> Self {
        Self { limits, state: State::MetadataLength(Length::default()) }
    }

    /// Takes the next event out of `chunk`, which is advanced. `None` when the chunk is used up; then feed the next one.
    ///
    /// # Errors
    /// A length is above its limit or zero, or bytes follow the crate. The body is refused for good.
    pub fn next(&mut self, chunk: &mut Bytes) -> Result<Option<BodyEvent>, BodyError> {
        loop {
            if let State::Refused(error) = &self.state {
                return Err(error.clone());
            }
            if !chunk.has_remaining() {
                return Ok(None);
            }
            if let Some(event) = self.step(chunk).inspect_err(|error| self.state = State::Refused(error.clone()))? {
                return Ok(Some(event));
            }
        }
    }

    /// One step within the present state; the chunk is not empty.
    fn step(&mut self, chunk: &mut Bytes) -> Result<Option<BodyEvent>, BodyError> {
        match &mut self.state {
            State::MetadataLength(length) => {
                if let Some(length) = length.take(chunk) {
                    check(Part::Metadata, length, self.limits.metadata_bytes_max)?;
                    let got = Vec::with_capacity(METADATA_RESERVE_BYTES.min(length as usize));
                    self.state = State::Metadata { length, got };
                }
                Ok(None)
            }
            State::Metadata { length, got } => {
                let missing = *length as usize - got.len();
                got.extend_from_slice(&chunk.split_to(missing.min(chunk.len())));
                if got.len() < *length as usize {
                    return Ok(None);
                }
                let metadata = Bytes::from(std::mem::take(got));
                self.state = State::CrateLength(Length::default());
                Ok(Some(BodyEvent::Metadata(metadata)))
            }
            State::CrateLength(length) => {
                let Some(length) = length.take(chunk) else { return Ok(None) };
                check(Part::Crate, length, self.limits.crate_bytes_max)?;
                self.state = State::Crate { length, left: length };
                Ok(Some(BodyEvent::CrateLength(length)))
            }
            State::Crate { left: 0, .. } => Err(BodyError::Trailing),
            State::Crate { left, .. } => {
                let bytes = chunk.split_to(chunk.len().min(*left as usize));
                *left -= u32::try_from(bytes.len()).expect("at most `left`, which is a u32");
                Ok(Some(BodyEvent::Crate(bytes)))
            }
            State::Refused(error) => Err(error.clone()),
        }
    }

    /// The body has ended.
    ///
    /// # Errors
    /// It ended too early, or was refused before.
    pub fn finish(self) -> Result<(), BodyError> {
        let cut = |part, got: usize, expected: u32| Err(BodyError::Cut { part, got: got as u64, expected });
        match self.state {
            State::MetadataLength(length) => cut(Part::MetadataLength, length.got, 4),
            State::Metadata { length, got } => cut(Part::Metadata, got.len(), length),
            State::CrateLength(length) => cut(Part::CrateLength, length.got, 4),
            State::Crate { left: 0, .. } => Ok(()),
            State::Crate { length, left } => cut(Part::Crate, (length - left) as usize, length),
            State::Refused(error) => Err(error),
        }
    }
}

fn check(part: Part, length: u32, limit: u32) -> Result<(), BodyError> {
    if length == 0 {
        Err(BodyError::Empty { part })
    } else if length > limit {
        Err(BodyError::TooLong { part, length, limit })
    } else {
        Ok(())
    }
}

/// A part of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The first four bytes.
    MetadataLength,
    /// The JSON.
    Metadata,
    /// The four bytes after the JSON.
    CrateLength,
    /// The `.crate` file.
    Crate,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::MetadataLength => "length of the metadata",
            Self::Metadata => "metadata",
            Self::CrateLength => "length of the crate",
            Self::Crate => "crate",
        })
    }
}

/// Why a body is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// A part is larger than allowed: 413.
    #[error("the {part} is {length} bytes long, and this registry takes at most {limit}{}", advice(*.part))]
    TooLong {
        /// Which part.
        part: Part,
        /// Its length, in bytes.
        length: u32,
        /// The limit, in bytes.
        limit: u32,
    },
    /// A part is announced with length zero.
    #[error("the {part} in the request body is empty: this is not what `cargo publish` sends")]
    Empty {
        /// Which part.
        part: Part,
    },
    /// The body ended early: the client or something between went away.
    #[error("the request body ends within the {part}: {got} of {expected} bytes arrived; repeat the publish")]
    Cut {
        /// Within which part.
        part: Part,
        /// How many bytes of it came.
        got: u64,
        /// How many were announced.
        expected: u32,
    },
    /// More bytes than the lengths announce.
    #[error("the request body goes on after the end of the crate: this is not what `cargo publish` sends")]
    Trailing,
}

fn advice(part: Part) -> &'static str {
    match part {
        Part::Crate => {
            ": leave files out with `package.exclude` in Cargo.toml (`cargo package --list` shows them), or ask the \
             registry's operators to raise `limits.crate_bytes_max`"
        }
        _ => ": shorten the README, or ask the registry's operators to raise `limits.metadata_bytes_max`",
    }
}

#[cfg(test)]
mod tests;
