//! The compile cache: what a compilation may take over from an earlier one of the same function.
//!
//! The compiler asks for each body (of a WebAssembly function, or of one of its own trampolines) by
//! a key, the SHA-256 of the body as it is to be compiled and of everything in the settings and the
//! processor that it is compiled for; what it then gets is what it would have made. The keys and
//! the entries are Cranelift's (`cranelift_codegen::incremental_cache`). Ours is where they lie:
//!
//! ```text
//!     header    magic "FAASMFC1", entries                        8 bytes, u32
//!     index     {key, offset, length}..., by key                 32 bytes, 2 x u32
//!     entries   end to end; an offset counts from the first
//! ```
//!
//! All numbers are little endian. What follows the last entry is not looked at. A compilation reads
//! one such file and writes the next one, in which is only what it has asked for: what a function no
//! longer contains is gone with the next upload. The file is read in the compile process alone. Its
//! index is checked, and an entry that is not there in full is not there; what an entry holds is
//! believed, as machine code is.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use wasmtime_c_api::wasmtime::{CacheStore, Config};
use wasmtime_c_api::{wasm_byte_vec_t, wasm_config_t};

const MAGIC: &[u8; 8] = b"FAASMFC1";
const KEY_BYTES: usize = 32;
const HEADER_BYTES: usize = 12;
const ROW_BYTES: usize = KEY_BYTES + 8;

type Key = [u8; KEY_BYTES];

/// What an earlier compilation has left.
#[derive(Debug, Clone, Copy)]
struct Earlier {
    index: &'static [u8],
    entries: &'static [u8],
}

impl Earlier {
    fn new(bytes: &'static [u8]) -> Option<Earlier> {
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
        let (magic, count) = header.split_at(MAGIC.len());
        let count = u32::from_le_bytes(count.try_into().ok()?) as usize;
        let (index, entries) = rest.split_at_checked(count.checked_mul(ROW_BYTES)?)?;
        (magic == MAGIC).then_some(Earlier { index, entries })
    }

    fn row(&self, number: usize) -> (&'static [u8], &'static [u8]) {
        self.index[number * ROW_BYTES..][..ROW_BYTES].split_at(KEY_BYTES)
    }

    fn get(&self, key: &Key) -> Option<&'static [u8]> {
        let mut from = 0;
        let mut to = self.index.len() / ROW_BYTES;
        while from < to {
            let middle = from + (to - from) / 2;
            if self.row(middle).0 < key.as_slice() {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        if from == self.index.len() / ROW_BYTES || self.row(from).0 != key {
            return None;
        }
        let (offset, length) = self.row(from).1.split_at(4);
        let offset = u32::from_le_bytes(offset.try_into().ok()?) as usize;
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        self.entries.get(offset..)?.get(..length)
    }
}

#[derive(Debug, Default)]
struct Taken {
    entries: BTreeMap<Key, Cow<'static, [u8]>>,
    reused: u64,
    compiled: u64,
}

#[derive(Debug, Default)]
pub struct Cache {
    earlier: OnceLock<Earlier>,
    taken: Mutex<Taken>,
}

impl CacheStore for Cache {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let key: Key = key.try_into().ok()?;
        let mut taken = self.taken.lock().unwrap();
        // The same body twice in one module.
        if let Some(entry) = taken.entries.get(&key).cloned() {
            taken.reused += 1;
            return Some(entry);
        }
        let entry = self.earlier.get()?.get(&key)?;
        taken.entries.insert(key, Cow::Borrowed(entry));
        taken.reused += 1;
        Some(Cow::Borrowed(entry))
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let Ok(key) = key.try_into() else {
            return false;
        };
        let mut taken = self.taken.lock().unwrap();
        taken.compiled += 1;
        taken.entries.insert(key, Cow::Owned(value));
        true
    }
}

impl Taken {
    /// None: over the bound, or there is no memory for it.
    fn write(&self, bytes_max: usize) -> Option<Vec<u8>> {
        let entries_bytes: usize = self.entries.values().map(|entry| entry.len()).sum();
        let bytes = HEADER_BYTES + self.entries.len() * ROW_BYTES + entries_bytes;
        if bytes > bytes_max || u32::try_from(bytes).is_err() {
            return None;
        }
        let mut file = Vec::new();
        file.try_reserve_exact(bytes).ok()?;
        file.extend_from_slice(MAGIC);
        file.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
        let mut offset = 0;
        for (key, entry) in &self.entries {
            file.extend_from_slice(key);
            file.extend_from_slice(&(offset as u32).to_le_bytes());
            file.extend_from_slice(&(entry.len() as u32).to_le_bytes());
            offset += entry.len();
        }
        for entry in self.entries.values() {
            file.extend_from_slice(entry);
        }
        Some(file)
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn fm_wt_cache_new() -> Box<Arc<Cache>> {
    Box::default()
}

#[unsafe(no_mangle)]
pub extern "C" fn fm_wt_cache_delete(_cache: Option<Box<Arc<Cache>>>) {}

/// What the configured engine compiles goes by the cache.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fm_wt_config_cache(config: &mut wasm_config_t, cache: &Arc<Cache>) {
    let config = unsafe { &mut *(&raw mut *config).cast::<Config>() };
    let store: Arc<dyn CacheStore> = cache.clone();
    config
        .enable_incremental_compilation(store)
        .expect("it only notes the store");
}

/// Once, before anything is compiled. The bytes stay until the cache has gone. False: they are
/// not such a file, and nothing is taken over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fm_wt_cache_fill(
    cache: &Arc<Cache>,
    bytes: *const u8,
    length: usize,
) -> bool {
    let bytes = unsafe { std::slice::from_raw_parts(bytes, length) };
    match Earlier::new(bytes) {
        Some(earlier) => cache.earlier.set(earlier).is_ok(),
        None => false,
    }
}

/// What the next compilation can take over. False: that would be over `bytes_max`, or there is no
/// memory for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fm_wt_cache_write(
    cache: &Arc<Cache>,
    bytes_max: usize,
    file: &mut wasm_byte_vec_t,
) -> bool {
    match cache.taken.lock().unwrap().write(bytes_max) {
        Some(bytes) => {
            file.set_buffer(bytes);
            true
        }
        None => false,
    }
}

/// Bodies that were found, and that were compiled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fm_wt_cache_counts(
    cache: &Arc<Cache>,
    reused: &mut u64,
    compiled: &mut u64,
) {
    let taken = cache.taken.lock().unwrap();
    *reused = taken.reused;
    *compiled = taken.compiled;
}
