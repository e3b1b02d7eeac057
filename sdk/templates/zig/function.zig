const faasm = @import("faasm.zig");

/// Greets whom the input names.
fn hello() !void {
    var buffer: [1000]u8 = undefined;
    const input = faasm.inputRead(0, &buffer);
    try faasm.outputWrite("Hello ");
    try faasm.outputWrite(if (input.len > 0) input else "faasm");
    try faasm.outputWrite("!");
}

pub fn main() u8 {
    return faasm.run(hello);
}
