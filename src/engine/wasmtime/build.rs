//! Copies the C headers that fit this build of the library to `$FAASM_ENGINE_INCLUDE`.
//! They must come from the same build: a feature changes the size of `wasmtime_val_t`.

use std::{env, fs, io, path::Path};

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-env-changed=FAASM_ENGINE_INCLUDE");
    let from = env::var("DEP_WASMTIME_C_API_INCLUDE").expect("set by wasmtime-c-api-impl");
    if let Ok(to) = env::var("FAASM_ENGINE_INCLUDE") {
        copy_tree(Path::new(&from), Path::new(&to))?;
    }
    Ok(())
}
