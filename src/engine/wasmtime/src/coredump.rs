//! A core dump of a guest that has just trapped, in the form of the tool conventions
//! (`Coredump.md`): everything but the content of its memory, which `src/engine/coredump.c` appends
//! piece by piece as the last section, since it can be large.
//!
//! The engine keeps what is needed with a trap's error (`fm_wt_config_coredump`), without looking at
//! any of it. It does not know locals and operands, so there are none.

use std::mem::{align_of, size_of};

use wasm_encoder::{
    ConstExpr, CoreDumpInstancesSection, CoreDumpModulesSection, CoreDumpSection,
    CoreDumpStackSection, GlobalSection, GlobalType, HeapType, MemorySection, MemoryType, Module,
    RefType, ValType as EncodedType,
};
use wasmtime_c_api::wasmtime::{
    AsContextMut, Config, Error, Mutability, StoreContextMut, Val, ValType, WasmCoreDump,
};
use wasmtime_c_api::*;

const _: () = assert!(size_of::<wasm_trap_t>() == size_of::<Error>());
const _: () = assert!(align_of::<wasm_trap_t>() == align_of::<Error>());

/// Whether a trap's error holds on to what a core dump is made of.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fm_wt_config_coredump(config: &mut wasm_config_t, on: bool) {
    let config = unsafe { &mut *(&raw mut *config).cast::<Config>() };
    config.coredump_on_trap(on);
}

fn encode_value(value: &Val) -> Option<ConstExpr> {
    Some(match value {
        Val::I32(number) => ConstExpr::i32_const(*number),
        Val::I64(number) => ConstExpr::i64_const(*number),
        Val::F32(bits) => ConstExpr::f32_const(f32::from_bits(*bits).into()),
        Val::F64(bits) => ConstExpr::f64_const(f64::from_bits(*bits).into()),
        Val::V128(bits) => ConstExpr::v128_const(bits.as_u128().cast_signed()),
        Val::FuncRef(_) => ConstExpr::ref_null(HeapType::FUNC),
        Val::ExternRef(_) => ConstExpr::ref_null(HeapType::EXTERN),
        _ => return None,
    })
}

fn encode_type(kind: &ValType) -> Option<EncodedType> {
    Some(match kind {
        ValType::I32 => EncodedType::I32,
        ValType::I64 => EncodedType::I64,
        ValType::F32 => EncodedType::F32,
        ValType::F64 => EncodedType::F64,
        ValType::V128 => EncodedType::V128,
        ValType::Ref(kind) if kind.matches(&wasmtime_c_api::wasmtime::RefType::FUNCREF) => {
            EncodedType::Ref(RefType::FUNCREF)
        }
        ValType::Ref(kind) if kind.matches(&wasmtime_c_api::wasmtime::RefType::EXTERNREF) => {
            EncodedType::Ref(RefType::EXTERNREF)
        }
        _ => return None,
    })
}

/// The globals of the store, all of which are the one instance's. One whose type has no constant
/// stands as an i32 of 0, so that the others keep their numbers.
fn globals(dump: &WasmCoreDump, mut store: impl AsContextMut) -> GlobalSection {
    let mut section = GlobalSection::new();
    for global in dump.globals() {
        let kind = global.ty(&store);
        let value = global.get(&mut store);
        let (val_type, init) = match (encode_type(kind.content()), encode_value(&value)) {
            (Some(val_type), Some(init)) => (val_type, init),
            _ => (EncodedType::I32, ConstExpr::i32_const(0)),
        };
        let encoded = GlobalType {
            val_type,
            mutable: matches!(kind.mutability(), Mutability::Var),
            shared: false,
        };
        section.global(encoded, &init);
    }
    section
}

fn memories(dump: &WasmCoreDump, mut store: impl AsContextMut) -> MemorySection {
    let mut section = MemorySection::new();
    for memory in dump.memories() {
        let kind = memory.ty(&store);
        section.memory(MemoryType {
            minimum: memory.size(&mut store),
            maximum: kind.maximum(),
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
    }
    section
}

fn stack(dump: &WasmCoreDump) -> CoreDumpStackSection {
    let mut section = CoreDumpStackSection::new("main");
    for frame in dump.frames() {
        let offset = frame.func_offset().and_then(|at| u32::try_from(at).ok());
        section.frame(0, frame.func_index(), offset.unwrap_or(0), [], []);
    }
    section
}

/// `trap` or `error` is what the guest ended with, the other null. False: it holds nothing to make
/// a dump of.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fm_wt_coredump(
    mut store: StoreContextMut<'_, WasmtimeStoreData>,
    trap: Option<&wasm_trap_t>,
    error: Option<&wasmtime_error_t>,
    name: *const u8,
    name_length: usize,
    head: &mut wasm_byte_vec_t,
) -> bool {
    let error = match (trap, error) {
        (Some(trap), _) => unsafe { &*(&raw const *trap).cast::<Error>() },
        (None, Some(error)) => unsafe { &*(&raw const *error).cast::<Error>() },
        (None, None) => return false,
    };
    let Some(dump) = error.downcast_ref::<WasmCoreDump>() else {
        return false;
    };
    let name = unsafe { std::slice::from_raw_parts(name, name_length) };
    let name = String::from_utf8_lossy(name);

    let mut modules = CoreDumpModulesSection::new();
    modules.module(&*name);
    let mut instances = CoreDumpInstancesSection::new();
    let memory_numbers = 0..dump.memories().len() as u32;
    let global_numbers = 0..dump.globals().len() as u32;
    instances.instance(
        0,
        memory_numbers.collect::<Vec<_>>(),
        global_numbers.collect::<Vec<_>>(),
    );

    let mut module = Module::new();
    module.section(&CoreDumpSection::new(&*name));
    module.section(&modules);
    module.section(&instances);
    module.section(&stack(dump));
    module.section(&memories(dump, &mut store));
    module.section(&globals(dump, &mut store));
    head.set_buffer(module.finish());
    true
}
