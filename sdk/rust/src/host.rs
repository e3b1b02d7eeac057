//! The imports of the module `faasm`.

#[link(wasm_import_module = "faasm")]
extern "C" {
    pub fn input_size() -> i32;
    pub fn input_read(offset: u32, buffer: *mut u8, length: u32) -> i32;
    pub fn output_write(data: *const u8, length: u32) -> i32;
    pub fn chain(name: *const u8, name_length: u32, data: *const u8, length: u32) -> i32;
    pub fn call_start(name: *const u8, name_length: u32, data: *const u8, length: u32) -> i64;
    pub fn call_wait(call: i64, timeout_ms: i64) -> i32;
    pub fn call_wait_any(calls: *const i64, count: u32, timeout_ms: i64) -> i32;
    pub fn call_output_size(call: i64) -> i32;
    pub fn call_output_read(call: i64, offset: u32, buffer: *mut u8, length: u32) -> i32;
    pub fn call_info(field: i32, buffer: *mut u8, size: u32) -> i32;
    pub fn http_header(name: *const u8, name_length: u32, buffer: *mut u8, size: u32) -> i32;
    pub fn http_status(status: u32) -> i32;
    pub fn http_header_set(name: *const u8, name_length: u32, data: *const u8, length: u32) -> i32;
    pub fn http_flush() -> i32;
    pub fn log(level: i32, text: *const u8, length: u32) -> i32;
}
