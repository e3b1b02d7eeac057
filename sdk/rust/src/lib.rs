//! What a [Faasm](https://github.com/lsds/faasm) function asks of its platform.
//!
//! ```ignore
//! fn exec() -> faasm::Result<()> {
//!     let name = faasm::input();
//!     faasm::output_write(b"Hello ")?;
//!     faasm::output_write(&name)
//! }
//! faasm::entry!(exec);
//! ```
//!
//! With the feature `std` (the default) that is a program for the target `wasm32-wasip1`, or
//! `wasm32-wasi` in older compilers. Without it, it is a `cdylib` for `wasm32-unknown-unknown`: the
//! crate brings the panic handler, which tells the call's log, and needs no allocator.
//!
//! Built with `std` for another target, the same source is an ordinary program from standard input
//! to standard output, so `cargo test` and a debugger work.
//!
//! A function that calls [`output_write`] anywhere has what it writes there as its output, and its
//! standard output goes to the log. One that does not has its standard output as its output.
#![cfg_attr(not(feature = "std"), no_std)]
#![warn(missing_docs)]

use core::fmt;
use core::time::Duration;

#[cfg_attr(target_arch = "wasm32", path = "host.rs")]
#[cfg_attr(not(target_arch = "wasm32"), path = "native.rs")]
mod host;

#[cfg(feature = "std")]
mod with_std;
#[cfg(feature = "std")]
pub use with_std::{input, Input, Output};

/// Why the host refused: a number of WASI's `errno`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error(i32);

/// A result with the host's [`Error`].
pub type Result<T> = core::result::Result<T, Error>;

macro_rules! errors {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        impl Error {
            $(#[doc = $text] pub const $name: Error = Error($number);)*

            fn text(self) -> Option<&'static str> {
                match self {
                    $(Error::$name => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

errors! {
    TOO_BIG = 1, "the input is over the limit of the called function";
    AGAIN = 6, "over a limit, now or at all";
    ALREADY = 7, "the answer has begun";
    CANCELED = 11, "the call was cancelled";
    CHILD = 12, "the exit code of the call is not 0";
    QUOTA = 19, "the call broke a limit";
    FAULT = 21, "the call trapped";
    INVALID = 28, "not a valid name or argument";
    IO = 29, "an error of the server";
    NOT_FOUND = 44, "no such function or call";
    NO_MEMORY = 48, "out of memory";
    NO_SPACE = 51, "over the limit of the output, or of the buffer";
    NOT_SUPPORTED = 58, "this call answers no HTTP request";
    TIMED_OUT = 73, "the time is over, and the call goes on";
}

impl Error {
    /// The number of `errno`, which is greater than 0.
    pub fn errno(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            Some(text) => f.write_str(text),
            None => write!(f, "error {}", self.0),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Results below 0 are errors; others are sizes, counts and exit codes.
fn check(result: i32) -> Result<u32> {
    u32::try_from(result).map_err(|_| Error(result.wrapping_neg()))
}

/// The host takes 32-bit lengths, and no slice of a function is longer.
fn length(data: &[u8]) -> u32 {
    data.len() as u32
}

// --- input, output, log --------------------------------------------------------------------------

/// Bytes of input; 0 where nobody knows: of a request's body, sent in chunks, of which more has come
/// than is held unread.
pub fn input_size() -> usize {
    check(unsafe { host::input_size() }).unwrap_or(0) as usize
}

/// Copies the input from `offset` on into `buffer`, as much as fits. Returns how many bytes that
/// were: 0 at the end of the input. Of a request's body it waits for some, and may give fewer than
/// there will be; behind its first 64 KiB it only goes forward.
pub fn input_read(offset: usize, buffer: &mut [u8]) -> usize {
    let offset = u32::try_from(offset).unwrap_or(u32::MAX);
    let got = unsafe { host::input_read(offset, buffer.as_mut_ptr(), length(buffer)) };
    check(got).unwrap_or(0) as usize
}

/// Appends to the output. [`Error::NO_SPACE`] is its limit, and then the call fails whatever the
/// function goes on to do.
pub fn output_write(data: &[u8]) -> Result<()> {
    check(unsafe { host::output_write(data.as_ptr(), length(data)) }).map(drop)
}

/// How important a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For whoever looks for a mistake.
    Debug = 0,
    /// What happens normally.
    Info = 1,
    /// What should not happen often.
    Warning = 2,
    /// What should not happen.
    Error = 3,
}

/// One line for the call's log.
pub fn log(level: Level, text: &str) {
    // There is nowhere to report a full log to.
    unsafe { host::log(level as i32, text.as_ptr(), length(text.as_bytes())) };
}

// --- calls ---------------------------------------------------------------------------------------

/// When this call has succeeded, `name` of the same user is called with this input. Returns how
/// many calls are chained so far.
pub fn chain(name: &str, input: &[u8]) -> Result<u32> {
    let (name_length, input_length) = (length(name.as_bytes()), length(input));
    check(unsafe { host::chain(name.as_ptr(), name_length, input.as_ptr(), input_length) })
}

/// A call that this one has started; a number that means something to this call alone. A call that
/// is under way when this one ends is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Call(i64);

/// Starts a call of `name` of the same user now. [`Error::AGAIN`] is a limit, and a function may
/// well do the work itself then.
pub fn call_start(name: &str, input: &[u8]) -> Result<Call> {
    let (name_length, input_length) = (length(name.as_bytes()), length(input));
    let handle =
        unsafe { host::call_start(name.as_ptr(), name_length, input.as_ptr(), input_length) };
    if handle < 0 {
        return Err(Error((-handle) as i32));
    }
    Ok(Call(handle))
}

/// Whole milliseconds, rounded up, so that a short time does not become none.
fn milliseconds(timeout: Option<Duration>) -> i64 {
    match timeout {
        None => -1,
        Some(time) => {
            let rounded = time.as_nanos().saturating_add(999_999) / 1_000_000;
            i64::try_from(rounded).unwrap_or(i64::MAX)
        }
    }
}

/// Waits until one of up to 1024 calls has ended, for ever or until the time is over. Returns the
/// index of the first.
pub fn call_wait_any(calls: &[Call], timeout: Option<Duration>) -> Result<usize> {
    let time = milliseconds(timeout);
    // A Call has the representation of its number.
    let handles = calls.as_ptr() as *const i64;
    check(unsafe { host::call_wait_any(handles, calls.len() as u32, time) })
        .map(|index| index as usize)
}

impl Call {
    /// Waits until the call has ended, without using CPU time, for ever or until the time is over.
    /// Returns its exit code. May be asked again and again.
    pub fn wait(self, timeout: Option<Duration>) -> Result<u8> {
        let code = check(unsafe { host::call_wait(self.0, milliseconds(timeout)) })?;
        Ok(code as u8)
    }

    /// Bytes of output of a call that has ended, whether it succeeded or not.
    pub fn output_size(self) -> Result<usize> {
        check(unsafe { host::call_output_size(self.0) }).map(|size| size as usize)
    }

    /// Copies its output from `offset` on into `buffer`, as much as fits. Returns how many bytes
    /// that were: 0 at its end.
    pub fn output_read(self, offset: usize, buffer: &mut [u8]) -> Result<usize> {
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        let size = length(buffer);
        check(unsafe { host::call_output_read(self.0, offset, buffer.as_mut_ptr(), size) })
            .map(|got| got as usize)
    }
}

/// What [`call_info`] tells about the running call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Info {
    /// Its id.
    Id = 0,
    /// Whose function it is.
    User = 1,
    /// The function's name.
    Function = 2,
    /// The function's version.
    Version = 3,
    /// Which attempt this is, counted from 1.
    Attempt = 4,
    /// When it must have ended, in milliseconds since 1970.
    Deadline = 5,
    /// The id of the call that made it; may be empty.
    Parent = 6,
}

/// Text about the running call, at the beginning of `buffer`; empty where there is nothing to
/// tell. Names have up to 64 characters. [`Error::NO_SPACE`]: it is longer than the buffer.
pub fn call_info(field: Info, buffer: &mut [u8]) -> Result<&str> {
    let size = length(buffer);
    let got = check(unsafe { host::call_info(field as i32, buffer.as_mut_ptr(), size) })? as usize;
    let text = buffer.get(..got).ok_or(Error::NO_SPACE)?;
    core::str::from_utf8(text).map_err(|_| Error::IO)
}

// --- HTTP ----------------------------------------------------------------------------------------

// For a function that answers HTTP requests (/h/<user>/<function>/...), whose input is the request's
// body and whose output is the answer's. In other calls all of these are Error::NOT_SUPPORTED.

/// A header of the request, in any case of letters, or `:method`, `:path`, `:query`, at the beginning
/// of `buffer`. [`Error::NOT_FOUND`]: there is none. [`Error::NO_SPACE`]: it is longer than the
/// buffer.
pub fn http_header<'a>(name: &str, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
    let (name_length, size) = (length(name.as_bytes()), length(buffer));
    let got =
        check(unsafe { host::http_header(name.as_ptr(), name_length, buffer.as_mut_ptr(), size) })?;
    buffer.get(..got as usize).ok_or(Error::NO_SPACE)
}

/// The status of the answer, 200 to 599; 200 if nothing is said. [`Error::ALREADY`]: the answer has
/// begun.
pub fn http_status(status: u16) -> Result<()> {
    check(unsafe { host::http_status(u32::from(status)) }).map(drop)
}

/// A header of the answer, in place of one of that name (beside others if it is `Set-Cookie`); no
/// value takes it away.
pub fn http_header_set(name: &str, value: &str) -> Result<()> {
    let (name_length, value_length) = (length(name.as_bytes()), length(value.as_bytes()));
    check(unsafe {
        host::http_header_set(name.as_ptr(), name_length, value.as_ptr(), value_length)
    })
    .map(drop)
}

/// The answer begins, with status, headers and what was written so far; from then on
/// [`output_write`] sends at once what it is given.
pub fn http_flush() -> Result<()> {
    check(unsafe { host::http_flush() }).map(drop)
}

// --- entry ---------------------------------------------------------------------------------------

/// What a function may return: nothing, its exit code, or a `Result`, whose error is told to the
/// log and is exit code 1.
pub trait Outcome {
    /// The exit code: other than 0, the call has failed.
    fn exit_code(self) -> i32;
}

impl Outcome for () {
    fn exit_code(self) -> i32 {
        0
    }
}

impl Outcome for i32 {
    fn exit_code(self) -> i32 {
        self
    }
}

impl<T: Outcome, E: fmt::Display> Outcome for core::result::Result<T, E> {
    fn exit_code(self) -> i32 {
        match self {
            Ok(value) => value.exit_code(),
            Err(error) => {
                log_display(&error);
                1
            }
        }
    }
}

/// A line in memory, cut where it is full: an error has to be told without an allocator.
struct Line {
    text: [u8; 500],
    length: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.text.len() - self.length;
        let mut taken = text.len().min(room);
        while !text.is_char_boundary(taken) {
            taken -= 1;
        }
        self.text[self.length..self.length + taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.length += taken;
        if taken < text.len() {
            return Err(fmt::Error);
        }
        Ok(())
    }
}

fn log_display(value: &dyn fmt::Display) {
    let mut line = Line {
        text: [0; 500],
        length: 0,
    };
    let _cut = fmt::write(&mut line, format_args!("{}", value));
    if let Ok(text) = core::str::from_utf8(&line.text[..line.length]) {
        log(Level::Error, text);
    }
}

/// Makes a `fn()` that returns an [`Outcome`] the function that calls run.
#[cfg(feature = "std")]
#[macro_export]
macro_rules! entry {
    ($exec:path) => {
        fn main() {
            ::std::process::exit($crate::Outcome::exit_code($exec()));
        }
    };
}

/// Makes a `fn()` that returns an [`Outcome`] the function that calls run.
#[cfg(not(feature = "std"))]
#[macro_export]
macro_rules! entry {
    ($exec:path) => {
        #[no_mangle]
        pub extern "C" fn handle() -> i32 {
            $crate::Outcome::exit_code($exec())
        }
    };
}

#[cfg(all(not(feature = "std"), target_arch = "wasm32"))]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    log_display(info);
    core::arch::wasm32::unreachable()
}
