//! Adds up the decimal numbers of its input, each half of them by a call of its own if calls can be
//! started; the sample of what faasm.zig has.
const faasm = @import("faasm.zig");

const alone: usize = 16; // fewer bytes are not shared out

fn add(text: []const u8) !u64 {
    var sum: u64 = 0;
    var number: u64 = 0;
    for (text) |byte| switch (byte) {
        '0'...'9' => number = number *% 10 +% (byte - '0'),
        ' ', '\n' => {
            sum +%= number;
            number = 0;
        },
        else => return error.NotANumber,
    };
    return sum +% number;
}

/// What the call found, or if there is none what we find.
fn resultOf(call: faasm.Error!faasm.Call, text: []const u8) !u64 {
    const child = call catch return add(text);
    var buffer: [20]u8 = undefined;
    if (try child.wait(faasm.for_ever) != 0 or try child.outputSize() > buffer.len)
        return error.CallFailed;
    return add(try child.outputRead(0, &buffer));
}

fn write(number: u64) !void {
    var buffer: [20]u8 = undefined;
    var at = buffer.len;
    var rest = number;
    while (true) {
        at -= 1;
        buffer[at] = '0' + @as(u8, @intCast(rest % 10));
        rest /= 10;
        if (rest == 0) break;
    }
    try faasm.outputWrite(buffer[at..]);
}

fn exec() !void {
    var buffer: [65536]u8 = undefined;
    if (faasm.inputSize() > buffer.len) return error.InputTooLong;
    const text = faasm.inputRead(0, &buffer);

    var half = text.len / 2;
    while (half < text.len and text[half] != ' ') half += 1;
    if (text.len < alone or half == text.len) return write(try add(text));

    var name: [64]u8 = undefined;
    const own = try faasm.callInfo(.function, &name);
    const parts = [_][]const u8{ text[0..half], text[half + 1 ..] };
    const calls = [_]faasm.Error!faasm.Call{ faasm.callStart(own, parts[0]), faasm.callStart(own, parts[1]) };
    try write(try resultOf(calls[0], parts[0]) +% try resultOf(calls[1], parts[1]));
}

pub fn main() u8 {
    return faasm.run(exec);
}
