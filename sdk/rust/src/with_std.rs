//! What needs the standard library: memory that grows, and its traits.

use std::io;

use crate::{Call, Error, Result};

/// The whole input.
pub fn input() -> Vec<u8> {
    let mut buffer = Vec::with_capacity(crate::input_size());
    // What cannot be read is as the end.
    let _ = io::Read::read_to_end(&mut Input::default(), &mut buffer);
    buffer
}

/// Reads the input from its beginning.
#[derive(Default)]
pub struct Input {
    offset: usize,
}

impl io::Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = crate::input_read(self.offset, buffer);
        self.offset += got;
        Ok(got)
    }
}

/// Appends to the output.
#[derive(Default)]
pub struct Output;

impl io::Write for Output {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        crate::output_write(data)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Call {
    /// Waits for ever, and takes the output of a call that has succeeded; [`Error::CHILD`] for one
    /// with another exit code than 0.
    pub fn output(self) -> Result<Vec<u8>> {
        if self.wait(None)? != 0 {
            return Err(Error::CHILD);
        }
        let mut buffer = vec![0; self.output_size()?];
        let size = self.output_read(0, &mut buffer)?;
        buffer.truncate(size);
        Ok(buffer)
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match error {
            Error::NOT_FOUND => io::ErrorKind::NotFound,
            Error::TIMED_OUT => io::ErrorKind::TimedOut,
            Error::INVALID => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}
