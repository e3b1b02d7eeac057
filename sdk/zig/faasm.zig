//! What a Faasm function asks of its platform: input, output, calls of other functions, log.
//!
//!     const faasm = @import("faasm.zig");
//!
//!     fn hello() !void {
//!         try faasm.outputWrite("Hello faasm!");
//!     }
//!
//!     pub fn main() u8 {
//!         return faasm.run(hello);
//!     }
//!
//!     zig build-exe -target wasm32-wasi -OReleaseSmall --stack 262144 function.zig
//!
//! This file needs nothing of Zig's library, so that it does not age with it.
//!
//! A function that uses outputWrite() anywhere has what it writes there as its output, and its
//! standard output goes to the log. One that does not has its standard output as its output.

const host = struct {
    extern "faasm" fn input_size() i32;
    extern "faasm" fn input_read(offset: u32, buffer: [*]u8, length: u32) i32;
    extern "faasm" fn output_write(data: [*]const u8, length: u32) i32;
    extern "faasm" fn chain(name: [*]const u8, name_length: u32, data: [*]const u8, length: u32) i32;
    extern "faasm" fn call_start(name: [*]const u8, name_length: u32, data: [*]const u8, length: u32) i64;
    extern "faasm" fn call_wait(call: i64, timeout_ms: i64) i32;
    extern "faasm" fn call_wait_any(calls: [*]const Call, count: u32, timeout_ms: i64) i32;
    extern "faasm" fn call_output_size(call: i64) i32;
    extern "faasm" fn call_output_read(call: i64, offset: u32, buffer: [*]u8, length: u32) i32;
    extern "faasm" fn call_info(field: i32, buffer: [*]u8, size: u32) i32;
    extern "faasm" fn http_header(name: [*]const u8, name_length: u32, buffer: [*]u8, size: u32) i32;
    extern "faasm" fn http_status(status: u32) i32;
    extern "faasm" fn http_header_set(name: [*]const u8, name_length: u32, value: [*]const u8, value_length: u32) i32;
    extern "faasm" fn http_flush() i32;
    extern "faasm" fn log(level: i32, text: [*]const u8, length: u32) i32;
};

/// Why the host refused.
pub const Error = error{
    TooBig, // the input is over the limit of the called function
    Again, // over a limit, now or at all
    Already, // the answer has begun
    Canceled, // the call was cancelled
    Quota, // the call broke a limit
    Fault, // the call trapped
    Invalid, // not a valid name or argument
    ServerError, // an error of the server
    NotFound, // no such function or call
    NoMemory,
    NoSpace, // over the limit of the output, or of the buffer
    NotSupported, // this call answers no HTTP request
    TimedOut, // the time is over, and the call goes on
    Unexpected,
};

/// A negative number of WASI's errno.
fn errorOf(result: i64) Error {
    return switch (-result) {
        1 => error.TooBig,
        6 => error.Again,
        7 => error.Already,
        11 => error.Canceled,
        19 => error.Quota,
        21 => error.Fault,
        28 => error.Invalid,
        29 => error.ServerError,
        44 => error.NotFound,
        48 => error.NoMemory,
        51 => error.NoSpace,
        58 => error.NotSupported,
        73 => error.TimedOut,
        else => error.Unexpected,
    };
}

fn check(result: i32) Error!u32 {
    return if (result < 0) errorOf(result) else @intCast(result);
}

/// The host takes 32-bit numbers, and no slice of a function is longer.
fn short(number: usize) u32 {
    return if (number > 0xffff_ffff) 0xffff_ffff else @intCast(number);
}

// --- entry ---------------------------------------------------------------------------------------

/// Runs a function that returns nothing, or an error, which is told to the log and is exit code 1.
pub fn run(comptime function: anytype) u8 {
    const result = function();
    if (@typeInfo(@TypeOf(result)) == .error_union) {
        result catch |err| {
            log(.err, @errorName(err));
            return 1;
        };
    }
    return 0;
}

// --- input, output, log --------------------------------------------------------------------------

/// Bytes of input; 0 where nobody knows: of a request's body, sent in chunks, of which more has come
/// than is held unread.
pub fn inputSize() usize {
    return check(host.input_size()) catch 0;
}

/// Copies the input from `offset` on, as much as fits. Returns that part of the buffer: empty at
/// the end of the input. Of a request's body it waits for some, and may give fewer than there will
/// be; behind its first 64 KiB it only goes forward.
pub fn inputRead(offset: usize, buffer: []u8) []u8 {
    const got = check(host.input_read(short(offset), buffer.ptr, short(buffer.len))) catch 0;
    return buffer[0..got];
}

/// Appends to the output. After NoSpace, its limit, the call fails whatever the function does.
pub fn outputWrite(data: []const u8) Error!void {
    _ = try check(host.output_write(data.ptr, short(data.len)));
}

pub const Level = enum(i32) { debug, info, warning, err };

/// One line for the call's log.
pub fn log(level: Level, text: []const u8) void {
    // There is nowhere to report a full log to.
    _ = host.log(@backingInt(level), text.ptr, short(text.len));
}

// --- calls ---------------------------------------------------------------------------------------

/// When this call has succeeded, `name` of the same user is called with this input. Returns how
/// many calls are chained so far.
pub fn chain(name: []const u8, input: []const u8) Error!u32 {
    return check(host.chain(name.ptr, short(name.len), input.ptr, short(input.len)));
}

/// Starts a call of `name` of the same user now. Again is a limit, and a function may well do the
/// work itself then. What is under way when this call ends is cancelled.
pub fn callStart(name: []const u8, input: []const u8) Error!Call {
    const handle = host.call_start(name.ptr, short(name.len), input.ptr, short(input.len));
    return if (handle < 0) errorOf(handle) else .{ .handle = handle };
}

/// A time without end, in milliseconds. 0 does not wait.
pub const for_ever: i64 = -1;

/// Waits until one of up to 1024 calls has ended. Returns the index of the first.
pub fn callWaitAny(calls: []const Call, timeout_ms: i64) Error!usize {
    return check(host.call_wait_any(calls.ptr, short(calls.len), timeout_ms));
}

/// A call that this one has started; a number that means something to this call alone.
pub const Call = extern struct {
    handle: i64,

    /// Waits until the call has ended, without using CPU time. Returns its exit code. May be asked
    /// again and again.
    pub fn wait(call: Call, timeout_ms: i64) Error!u8 {
        return @intCast(try check(host.call_wait(call.handle, timeout_ms)));
    }

    /// Bytes of output of a call that has ended, whether it succeeded or not.
    pub fn outputSize(call: Call) Error!usize {
        return check(host.call_output_size(call.handle));
    }

    /// Copies its output from `offset` on, as much as fits. Returns that part of the buffer: empty
    /// at its end.
    pub fn outputRead(call: Call, offset: usize, buffer: []u8) Error![]u8 {
        const size = short(buffer.len);
        const got = try check(host.call_output_read(call.handle, short(offset), buffer.ptr, size));
        return buffer[0..got];
    }
};

pub const Info = enum(i32) { id, user, function, version, attempt, deadline, parent };

/// Text about the running call, at the beginning of `buffer`; empty where there is nothing to tell.
/// Names have up to 64 characters.
pub fn callInfo(field: Info, buffer: []u8) Error![]u8 {
    const size = try check(host.call_info(@backingInt(field), buffer.ptr, short(buffer.len)));
    return if (size > buffer.len) error.NoSpace else buffer[0..size];
}

// --- HTTP ----------------------------------------------------------------------------------------

// For a function that answers HTTP requests (/h/<user>/<function>/...), whose input is the request's
// body and whose output is the answer's. In other calls all of these are NotSupported.

/// A header of the request, in any case of letters, or `:method`, `:path`, `:query`, at the beginning
/// of `buffer`. NotFound: there is none.
pub fn httpHeader(name: []const u8, buffer: []u8) Error![]u8 {
    const size = try check(host.http_header(name.ptr, short(name.len), buffer.ptr, short(buffer.len)));
    return if (size > buffer.len) error.NoSpace else buffer[0..size];
}

/// The status of the answer, 200 to 599; 200 if nothing is said.
pub fn httpStatus(status: u32) Error!void {
    _ = try check(host.http_status(status));
}

/// A header of the answer, in place of one of that name (beside others if it is Set-Cookie); no
/// value takes it away.
pub fn httpHeaderSet(name: []const u8, value: []const u8) Error!void {
    _ = try check(host.http_header_set(name.ptr, short(name.len), value.ptr, short(value.len)));
}

/// The answer begins, with status, headers and what was written so far; from then on outputWrite()
/// sends at once what it is given.
pub fn httpFlush() Error!void {
    _ = try check(host.http_flush());
}
