//! Hands Wasmtime's headers on to `scripts/deps`.
//!
//! The C API's own build script writes the `wasmtime/conf.h` that fits the
//! features it was built with.  Headers and library must come from one build:
//! with another conf.h the sizes of structs differ and nothing notices.

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

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=REALM_DEPS_INCLUDE");
    let headers = env::var_os("DEP_WASMTIME_C_API_INCLUDE")
        .expect("wasmtime-c-api-impl names its headers' folder");
    // Beside the library when scripts/deps asks for it, out of the way otherwise.
    let target = env::var_os("REALM_DEPS_INCLUDE")
        .or_else(|| env::var_os("OUT_DIR"))
        .expect("cargo sets OUT_DIR");
    copy_tree(Path::new(&headers), Path::new(&target)).expect("copying Wasmtime's headers");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,librealmdeps.so");
}
