//! Snapshots: a module whose initialisation has run becomes a module that begins where it ended.
//!
//! The work is `wasmtime-wizer`'s; running the initialisation is ours, in a sandbox with our own
//! imports and limits. So there are two halves: a module that exports all of its state, and, when an
//! instance of it has been initialised, the module with that state in it.

use std::collections::HashMap;
use std::ffi::c_char;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wasmtime_c_api::wasmtime::{Extern, Instance, StoreContextMut, Val};
use wasmtime_c_api::*;
use wasmtime_wizer::{InstanceState, SnapshotVal, ValType, Wizer};

use crate::put_text;

fn wizer(export: &str) -> Wizer {
    let mut wizer = Wizer::new();
    wizer.init_func(export);
    wizer
}

/// Whether a binary module exports something by that name. One that is malformed does not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fm_wt_exports(
    wasm: *const u8,
    length: usize,
    name: *const u8,
    name_length: usize,
) -> bool {
    let wasm = unsafe { std::slice::from_raw_parts(wasm, length) };
    let name = unsafe { std::slice::from_raw_parts(name, name_length) };
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        match payload {
            Ok(wasmparser::Payload::ExportSection(exports)) => {
                return exports
                    .into_iter()
                    .any(|export| export.is_ok_and(|export| export.name.as_bytes() == name));
            }
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    false
}

/// The first half. False: this module cannot be one, and `text` says why.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fm_wt_snapshot_instrument(
    wasm: *const u8,
    length: usize,
    instrumented: &mut wasm_byte_vec_t,
    text: *mut c_char,
    size: usize,
) -> bool {
    let wasm = unsafe { std::slice::from_raw_parts(wasm, length) };
    match Wizer::new().instrument(wasm) {
        Ok((_, bytes)) => {
            instrumented.set_buffer(bytes);
            true
        }
        Err(error) => {
            unsafe { put_text(&format!("{error:#}"), text, size) };
            false
        }
    }
}

/// The state of an instance, by name of its exports.
struct State<'a> {
    globals: HashMap<String, Val>,
    memories: HashMap<String, &'a [u8]>,
}

// SAFETY: only numbers are taken out of `globals`, and nobody but the future below sees it.
unsafe impl Send for State<'_> {}

impl InstanceState for State<'_> {
    async fn global_get(&mut self, name: &str, _: ValType) -> SnapshotVal {
        match self.globals.get(name) {
            Some(Val::I32(number)) => SnapshotVal::I32(*number),
            Some(Val::I64(number)) => SnapshotVal::I64(*number),
            Some(Val::F32(bits)) => SnapshotVal::F32(*bits),
            Some(Val::F64(bits)) => SnapshotVal::F64(*bits),
            Some(Val::V128(bits)) => SnapshotVal::V128(bits.as_u128()),
            _ => unreachable!("instrumenting lets no other type pass"),
        }
    }

    async fn memory_contents(&mut self, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        contents(self.memories.get(name).copied().unwrap_or(&[]));
    }
}

/// The second half: `wasm` is what was instrumented, `instance` one of the result, initialised.
/// The export `export` is left out, and `_initialize`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fm_wt_snapshot(
    wasm: *const u8,
    length: usize,
    export: *const u8,
    export_length: usize,
    mut store: StoreContextMut<'_, WasmtimeStoreData>,
    instance: &Instance,
    snapshot: &mut wasm_byte_vec_t,
    text: *mut c_char,
    size: usize,
) -> bool {
    let wasm = unsafe { std::slice::from_raw_parts(wasm, length) };
    let export = unsafe { std::slice::from_raw_parts(export, export_length) };
    let wizer = wizer(&String::from_utf8_lossy(export));
    let exports: Vec<(String, Extern)> = instance
        .exports(&mut store)
        .map(|export| (export.name().to_string(), export.into_extern()))
        .collect();
    let mut state = State {
        globals: HashMap::new(),
        memories: HashMap::new(),
    };
    for (name, item) in &exports {
        if let Extern::Global(global) = item {
            state.globals.insert(name.clone(), global.get(&mut store));
        }
    }
    for (name, item) in &exports {
        if let Extern::Memory(memory) = item {
            state.memories.insert(name.clone(), memory.data(&store));
        }
    }
    let result = wizer.instrument(wasm).and_then(|(context, _)| {
        let mut future = pin!(wizer.snapshot(&context, &mut state));
        match future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(result) => result,
            Poll::Pending => unreachable!("nothing in it waits"),
        }
    });
    match result {
        Ok(bytes) => {
            snapshot.set_buffer(bytes);
            true
        }
        Err(error) => {
            unsafe { put_text(&format!("{error:#}"), text, size) };
            false
        }
    }
}
