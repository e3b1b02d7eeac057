//! Wasmtime's C API, and the settings that it lacks. Every extra symbol starts with `fm_wt_`
//! and is declared in `src/engine/wt.h`.
//!
//! The casts below rely on `wasm_config_t`, `wasmtime_pooling_allocation_config_t` and
//! `wasm_engine_t` being `#[repr(C)]` structs with one field, the Rust object. The exact version is
//! pinned and the sizes are checked at compile time, so an upgrade that changes this does not build.

mod cache;
mod coredump;
mod lines;
mod snapshot;

use std::ffi::c_char;
use std::mem::{MaybeUninit, align_of, size_of};
use std::num::NonZeroUsize;

use wasmtime_c_api::wasmtime::{
    Config, Enabled, Engine, Error, Instance, Module, ModuleExport, PoolingAllocationConfig,
    StoreContextMut, WasmBacktraceDetails,
};
pub use wasmtime_c_api::*;

use rustix as _; // only for its features: see Cargo.toml

const _: () = assert!(size_of::<wasm_config_t>() == size_of::<Config>());
const _: () = assert!(align_of::<wasm_config_t>() == align_of::<Config>());
const _: () = assert!(size_of::<wasm_engine_t>() == size_of::<Engine>());
const _: () = assert!(align_of::<wasm_engine_t>() == align_of::<Engine>());
const _: () = assert!(
    size_of::<wasmtime_pooling_allocation_config_t>() == size_of::<PoolingAllocationConfig>()
);
const _: () = assert!(size_of::<wasmtime_error_t>() == size_of::<Error>());
const _: () = assert!(align_of::<wasmtime_error_t>() == align_of::<Error>());
const _: () = assert!(size_of::<wasmtime_module_t>() == size_of::<Module>());

/// Writes `message` as a C string of at most `size` bytes, cut at a character's end.
pub(crate) unsafe fn put_text(message: &str, text: *mut c_char, size: usize) {
    if size == 0 {
        return;
    }
    let mut length = message.len().min(size - 1);
    while !message.is_char_boundary(length) {
        length -= 1;
    }
    unsafe {
        std::ptr::copy_nonoverlapping(message.as_ptr(), text.cast::<u8>(), length);
        *text.add(length) = 0;
    }
}

/// `wasm_engine_new_with_config` that can fail: it takes the configuration, and returns null and
/// a message where the original would abort the process (a bad setting, a refused reservation).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fm_wt_engine_new(
    config: Box<wasm_config_t>,
    text: *mut c_char,
    size: usize,
) -> Option<Box<wasm_engine_t>> {
    let rust_config = unsafe { &*(&raw const *config).cast::<Config>() };
    match Engine::new(rust_config) {
        Ok(engine) => {
            let raw = Box::into_raw(Box::new(engine)).cast::<wasm_engine_t>();
            Some(unsafe { Box::from_raw(raw) })
        }
        Err(error) => {
            unsafe { put_text(&format!("{error:#}"), text, size) };
            None
        }
    }
}

/// Lets the pool find the pages that a call dirtied by asking the kernel (PAGEMAP_SCAN,
/// Linux >= 6.7), where the kernel can tell.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fm_wt_pool_pagemap_scan(
    pool: &mut wasmtime_pooling_allocation_config_t,
    on: bool,
) {
    let pool = unsafe { &mut *(&raw mut *pool).cast::<PoolingAllocationConfig>() };
    pool.pagemap_scan(if on { Enabled::Yes } else { Enabled::No });
}

/// Whether this kernel has PAGEMAP_SCAN.
#[unsafe(no_mangle)]
pub extern "C" fn fm_wt_pagemap_scan_available() -> bool {
    PoolingAllocationConfig::is_pagemap_scan_available()
}

/// Backtraces of traps: at most `frames_max` frames, and no look at a module's DWARF (lines.rs).
/// Set in code so that the environment cannot change what a compiled module must look like.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fm_wt_config_backtrace(config: &mut wasm_config_t, frames_max: usize) {
    let config = unsafe { &mut *(&raw mut *config).cast::<Config>() };
    config.wasm_backtrace_max_frames(NonZeroUsize::new(frames_max));
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
}

/// The innermost cause of an error, without backtraces and what else the engine has put around it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fm_wt_root_cause(
    error: &wasmtime_error_t,
    text: *mut c_char,
    size: usize,
) {
    let error = unsafe { &*(&raw const *error).cast::<Error>() };
    unsafe { put_text(&error.root_cause().to_string(), text, size) };
}

/// Prepares the calling thread for guests (its signal stack), so that the first call need not.
#[unsafe(no_mangle)]
pub extern "C" fn fm_wt_thread_init() {
    Engine::tls_eager_initialize();
}

/// The place of an export in its module, with which an instance's export is found without a search
/// by name; null when there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fm_wt_module_export(
    module: &wasmtime_module_t,
    name: *const u8,
    length: usize,
) -> Option<Box<ModuleExport>> {
    let module = unsafe { &*(&raw const *module).cast::<Module>() };
    let name = std::str::from_utf8(unsafe { std::slice::from_raw_parts(name, length) }).ok()?;
    module.get_export_index(name).map(Box::new)
}

#[unsafe(no_mangle)]
pub extern "C" fn fm_wt_module_export_delete(_export: Option<Box<ModuleExport>>) {}

/// `wasmtime_instance_export_get` by place. The instance must be of the export's module.
#[unsafe(no_mangle)]
pub extern "C" fn fm_wt_instance_export(
    store: StoreContextMut<'_, WasmtimeStoreData>,
    instance: &Instance,
    export: &ModuleExport,
    item: &mut MaybeUninit<wasmtime_extern_t>,
) -> bool {
    match instance.get_module_export(store, export) {
        Some(found) => {
            item.write(found.into());
            true
        }
        None => false,
    }
}
