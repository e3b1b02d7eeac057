//! The host of ordinary programs, as include/faasm/faasm-native.h is for C: standard input is the
//! input, standard output the output; the log and chained calls are told on standard error, and no
//! calls are started.
//!
//! Safe but for what its callers promise as they do to the imports: that an address and a length
//! are those of a slice.

use std::io::{self, Read, Write};
use std::slice;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::Once;

const AGAIN: i32 = -6;
const INVALID: i32 = -28;
const IO: i32 = -29;
const NOT_FOUND: i32 = -44;
const NOT_SUPPORTED: i32 = -58;

static mut INPUT: Vec<u8> = Vec::new();
static READ: Once = Once::new();
static CHAINED: AtomicI32 = AtomicI32::new(0);

fn input() -> &'static [u8] {
    // The only access that is not shared is the one that the Once guards.
    unsafe {
        let input = std::ptr::addr_of_mut!(INPUT);
        READ.call_once(|| {
            if let Err(error) = io::stdin().lock().read_to_end(&mut *input) {
                eprintln!("faasm: cannot read standard input: {}", error);
                std::process::exit(75);
            }
        });
        (*input).as_slice()
    }
}

unsafe fn text<'a>(data: *const u8, length: u32) -> std::borrow::Cow<'a, str> {
    String::from_utf8_lossy(slice::from_raw_parts(data, length as usize))
}

pub unsafe fn input_size() -> i32 {
    i32::try_from(input().len()).unwrap_or(i32::MAX)
}

pub unsafe fn input_read(offset: u32, buffer: *mut u8, length: u32) -> i32 {
    let rest = input().get(offset as usize..).unwrap_or(&[]);
    let count = rest.len().min(length as usize);
    slice::from_raw_parts_mut(buffer, count).copy_from_slice(&rest[..count]);
    count as i32
}

pub unsafe fn output_write(data: *const u8, length: u32) -> i32 {
    let mut output = io::stdout().lock();
    match output
        .write_all(slice::from_raw_parts(data, length as usize))
        .and_then(|()| output.flush())
    {
        Ok(()) => 0,
        Err(_) => IO,
    }
}

pub unsafe fn chain(name: *const u8, name_length: u32, _data: *const u8, length: u32) -> i32 {
    eprintln!(
        "faasm: chains {} with {} bytes",
        text(name, name_length),
        length
    );
    CHAINED.fetch_add(1, Ordering::Relaxed) + 1
}

pub unsafe fn call_start(name: *const u8, name_length: u32, _data: *const u8, length: u32) -> i64 {
    eprintln!(
        "faasm: cannot start {} with {} bytes",
        text(name, name_length),
        length
    );
    AGAIN as i64
}

pub unsafe fn call_wait(_call: i64, _timeout_ms: i64) -> i32 {
    NOT_FOUND
}

pub unsafe fn call_wait_any(_calls: *const i64, count: u32, _timeout_ms: i64) -> i32 {
    if count == 0 {
        INVALID
    } else {
        NOT_FOUND
    }
}

pub unsafe fn call_output_size(_call: i64) -> i32 {
    NOT_FOUND
}

pub unsafe fn call_output_read(_call: i64, _offset: u32, _buffer: *mut u8, _length: u32) -> i32 {
    NOT_FOUND
}

/// An ordinary program is the first attempt, and nothing else is known of it.
pub unsafe fn call_info(field: i32, buffer: *mut u8, size: u32) -> i32 {
    if field != 4 {
        return 0;
    }
    if size > 0 {
        *buffer = b'1';
    }
    1
}

pub unsafe fn http_header(
    _name: *const u8,
    _name_length: u32,
    _buffer: *mut u8,
    _size: u32,
) -> i32 {
    NOT_SUPPORTED
}

pub unsafe fn http_status(_status: u32) -> i32 {
    NOT_SUPPORTED
}

pub unsafe fn http_header_set(
    _name: *const u8,
    _name_length: u32,
    _value: *const u8,
    _value_length: u32,
) -> i32 {
    NOT_SUPPORTED
}

pub unsafe fn http_flush() -> i32 {
    NOT_SUPPORTED
}

pub unsafe fn log(level: i32, line: *const u8, length: u32) -> i32 {
    let level = ["debug", "info", "warning", "error"][level as usize];
    eprintln!("faasm: {}: {}", level, text(line, length));
    0
}
