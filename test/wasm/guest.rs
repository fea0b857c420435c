//! A guest as Rust tools build it: static data from 1 MiB up, an allocator under
//! wasm-bindgen's name that takes the prompt over, and leftovers of wasm-bindgen
//! among its imports, one of which it calls when the prompt says so.
use std::alloc::{alloc, Layout};
use std::ffi::CString;
use std::os::raw::c_char;

#[link(wasm_import_module = "env")]
extern "C" {
    fn realm_host_generate(
        model: u32,
        prompt: *const u8,
        n: u32,
        options: u32,
        out: *mut u8,
        max: u32,
    ) -> i32;
}

#[link(wasm_import_module = "__wbindgen_placeholder__")]
extern "C" {
    fn __wbindgen_throw(text: *const u8, n: u32);
}

#[link(wasm_import_module = "__wbindgen_externref_xform__")]
extern "C" {
    fn __wbindgen_externref_table_grow(n: u32) -> u32;
}

static GREETING: &str = "Rust: ";

#[no_mangle]
pub extern "C" fn __wbindgen_malloc(n: usize, align: usize) -> *mut u8 {
    unsafe { alloc(Layout::from_size_align(n, align).unwrap()) }
}

#[no_mangle]
pub extern "C" fn generate(prompt: *mut u8, n: usize, model: u32, options: u32) -> *mut c_char {
    let prompt = unsafe { Vec::from_raw_parts(prompt, n, n) };
    if prompt == b"throw" {
        unsafe { __wbindgen_throw(prompt.as_ptr(), n as u32) };
    }
    if prompt == b"grow" {
        unsafe { __wbindgen_externref_table_grow(1) };
    }
    if prompt == b"panic" {
        panic!("as it was told");
    }
    let mut text = vec![0u8; 65536];
    let wrote = unsafe {
        realm_host_generate(model, prompt.as_ptr(), n as u32, options, text.as_mut_ptr(), 65536)
    };
    drop(prompt);
    if wrote < 0 {
        return std::ptr::null_mut();
    }
    text.truncate(wrote as usize - 1);
    let mut answer = GREETING.as_bytes().to_vec();
    answer.append(&mut text);
    CString::new(answer).unwrap().into_raw()
}
