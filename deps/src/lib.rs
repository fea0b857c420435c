//! The Rust libraries that Realm uses, behind C headers.
//!
//! `wasmtime_c_api` brings its own C symbols; the modules here add ours.

pub use wasmtime_c_api::*;

mod head;
mod indent;
mod template;
mod tojson;
