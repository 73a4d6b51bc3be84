//! The readers under the tar library: they keep the budget, and remember why they stopped, since an error that has passed
//! through other readers has lost its meaning.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use super::{Limit, TarballError};

/// Why a reader below stopped; the first reason stays.
#[derive(Clone, Default)]
pub(super) struct Trouble(Rc<Cell<Option<TarballError>>>);

impl Trouble {
    fn note(&self, error: TarballError) -> io::Error {
        let first = self.0.take().unwrap_or(error);
        self.0.set(Some(first));
        io::Error::other("stopped below")
    }

    pub(super) fn take(&self) -> Option<TarballError> {
        self.0.take()
    }
}

/// The bytes as uploaded. An error here is ours.
pub(super) struct Source<R> {
    inner: R,
    trouble: Trouble,
}

impl<R> Source<R> {
    pub(super) fn new(inner: R, trouble: Trouble) -> Self {
        Self { inner, trouble }
    }
}

impl<R: BufRead> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| self.trouble.note(TarballError::Io(error)))
    }
}

impl<R: BufRead> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let trouble = &self.trouble;
        self.inner.fill_buf().map_err(|error| trouble.note(TarballError::Io(error)))
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
    }
}

/// The unpacked stream. An error of `inner` is a damaged gzip stream (or one that [`Source`] has noted already).
pub(super) struct Metered<R> {
    inner: R,
    left: u64,
    limit: Limit,
    trouble: Trouble,
}

impl<R> Metered<R> {
    pub(super) fn new(inner: R, limit: Limit, trouble: Trouble) -> Self {
        Self { inner, left: limit.bytes, limit, trouble }
    }

    pub(super) fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = loop {
            match self.inner.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.trouble.note(TarballError::Gzip { why: error.to_string() })),
                Ok(got) => break got,
            }
        };
        let left = self.left.checked_sub(got as u64);
        self.left = left.ok_or_else(|| self.trouble.note(self.limit.refusal()))?;
        Ok(got)
    }
}
