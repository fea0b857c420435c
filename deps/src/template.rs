//! Chat templates behind `include/realm_template.h`, which says what each
//! function promises.
//!
//! Every function that C calls catches panics: unwinding into C is undefined.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::ffi::{c_char, c_int, c_uint, CString};
use std::io::{self, Write};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::{fmt, mem, ptr, slice, str};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind};
use minijinja_contrib::pycompat;

use crate::indent::indent;
use crate::tojson::tojson;

// Keep these beside realm_template.h.
const STEPS_MAX: u64 = 1_000_000;
const SOURCE_BYTES_MAX: usize = 256 * 1024;
const E_SYNTAX: c_int = -1;
const E_CONTEXT: c_int = -2;
const E_RAISED: c_int = -3;
const E_RENDER: c_int = -4;
const E_LIMIT: c_int = -5;
const E_INTERNAL: c_int = -6;

const NAME: &str = "chat template";

#[repr(C)]
pub struct TemplateError {
    line: c_uint,
    message: [c_char; 252],
}

#[repr(C)]
pub struct TemplateOptions {
    output_bytes_max: usize,
    now_s: i64,
}

pub struct Template {
    env: Environment<'static>,
}

/// What a C caller is told: a status and the fields of its error struct.
struct Failure {
    status: c_int,
    line: usize,
    message: String,
}

impl Failure {
    fn new(status: c_int, message: impl Into<String>) -> Failure {
        Failure { status, line: 0, message: message.into() }
    }
}

/// The cause of an error that the template raised itself.
#[derive(Debug)]
struct Raised;

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("raised by the template")
    }
}

impl std::error::Error for Raised {}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message).with_source(Raised))
}

/// What has a length and can be indexed, as in Jinja2: minijinja counts lists only.
fn is_sequence(v: &Value) -> bool {
    v.is_undefined() || matches!(v.kind(), ValueKind::Seq | ValueKind::String | ValueKind::Map)
}

/// The error as C sees it; status is for those that nothing more is known of.
fn failure(error: Error, status: c_int) -> Failure {
    let line = error.line().unwrap_or(0);
    let detail = error.detail().unwrap_or_default().to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.is::<Raised>() {
            return Failure { status: E_RAISED, line, message: detail };
        }
        cause = inner.source();
    }
    let status = if error.kind() == ErrorKind::OutOfFuel { E_LIMIT } else { status };
    let message = if detail.is_empty() {
        error.kind().to_string()
    } else {
        format!("{}: {detail}", error.kind())
    };
    Failure { status, line, message }
}

/// transformers marks the model's own text with {% generation %} for training.
/// As `with` the tags keep their two other effects: the whitespace they trim
/// and the scope they open.
fn neutral_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (text, tag) = rest.split_at(start + 2);
        let Some(end) = tag.find("%}") else { break };
        let word = tag[..end].trim_matches(['-', '+']).trim();
        out.push_str(text);
        match word {
            "generation" => out.push_str(&tag[..end].replace(word, "with")),
            "endgeneration" => out.push_str(&tag[..end].replace(word, "endwith")),
            _ => out.push_str(&tag[..end]),
        }
        rest = &tag[end..];
    }
    out + rest
}

fn compile(source: &[u8]) -> Result<Template, Failure> {
    if source.len() > SOURCE_BYTES_MAX {
        let message = format!("{} bytes, the limit is {SOURCE_BYTES_MAX}", source.len());
        return Err(Failure::new(E_LIMIT, message));
    }
    let source = str::from_utf8(source).map_err(|e| Failure::new(E_SYNTAX, e.to_string()))?;
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();

    let mut env = Environment::new();
    env.set_syntax(syntax.map_err(|e| failure(e, E_INTERNAL))?);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_fuel(Some(STEPS_MAX));
    env.set_unknown_method_callback(pycompat::unknown_method_callback);
    env.add_filter("indent", indent);
    env.add_filter("tojson", tojson);
    env.add_test("iterable", |v: &Value| !v.is_none() && v.try_iter().is_ok());
    env.add_test("sequence", is_sequence);
    env.add_function("raise_exception", raise_exception);
    env.add_template_owned(NAME, neutral_generation_tags(source))
        .map_err(|e| failure(e, E_SYNTAX))?;
    Ok(Template { env })
}

/// strftime of the C library, which is what Python calls too.
fn strftime(format: &str, now_s: i64) -> Result<String, Error> {
    let invalid = |message| Error::new(ErrorKind::InvalidOperation, message);
    let format = CString::new(format).map_err(|_| invalid("NUL in strftime_now's format"))?;
    if format.is_empty() {
        return Ok(String::new());
    }
    let mut text = [0u8; 1024];
    // SAFETY: tm is plain data that localtime_r fills; strftime writes at most text.len().
    let len = unsafe {
        let mut tm: libc::tm = mem::zeroed();
        if libc::localtime_r(&now_s, &mut tm).is_null() {
            return Err(invalid("the time is out of range"));
        }
        libc::strftime(text.as_mut_ptr().cast(), text.len(), format.as_ptr(), &tm)
    };
    Ok(String::from_utf8_lossy(&text[..len]).into_owned())
}

/// The variables of a rendering, with the defaults of transformers.
fn variables(context: &[u8], now_s: i64) -> Result<BTreeMap<String, Value>, Failure> {
    let mut variables: BTreeMap<String, Value> =
        serde_json::from_slice(context).map_err(|e| Failure::new(E_CONTEXT, e.to_string()))?;
    for (name, default) in [
        ("tools", Value::from(())),
        ("documents", Value::from(())),
        ("add_generation_prompt", Value::from(false)),
    ] {
        variables.entry(name.into()).or_insert(default);
    }
    let strftime_now = move |format: String| strftime(&format, now_s);
    variables.insert("strftime_now".into(), Value::from_function(strftime_now));
    Ok(variables)
}

/// Takes up to `room` bytes, then fails.
struct LimitedOutput {
    bytes: Vec<u8>,
    room: usize,
    full: bool,
}

impl Write for LimitedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.room {
            self.full = true;
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.room -= bytes.len();
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn render(tmpl: &Template, context: &[u8], options: &TemplateOptions) -> Result<Vec<u8>, Failure> {
    let variables = variables(context, options.now_s)?;
    let room = options.output_bytes_max;
    let mut out = LimitedOutput { bytes: Vec::new(), room, full: false };
    let template = tmpl.env.get_template(NAME).map_err(|e| failure(e, E_INTERNAL))?;
    match template.render_captured_to(Value::from_pairs(variables), &mut out) {
        Ok(_) => Ok(out.bytes),
        Err(_) if out.full => {
            Err(Failure::new(E_LIMIT, format!("the output is longer than {room} bytes")))
        }
        Err(error) => Err(failure(error, E_RENDER)),
    }
}

/// Runs body and turns its failure, or a panic, into a status and *err.
///
/// SAFETY: err is NULL or valid for writing.
unsafe fn guarded(err: *mut TemplateError, body: impl FnOnce() -> Result<(), Failure>) -> c_int {
    let panicked = |_| Err(Failure::new(E_INTERNAL, "a panic in the template engine"));
    match catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(panicked) {
        Ok(()) => 0,
        Err(failure) => {
            if let Some(err) = err.as_mut() {
                fill(err, &failure);
            }
            failure.status
        }
    }
}

fn fill(err: &mut TemplateError, failure: &Failure) {
    err.line = c_uint::try_from(failure.line).unwrap_or(0);
    err.message.fill(0);
    let mut len = failure.message.len().min(err.message.len() - 1);
    while !failure.message.is_char_boundary(len) {
        len -= 1;
    }
    for (to, from) in err.message.iter_mut().zip(&failure.message.as_bytes()[..len]) {
        // A NUL would end the sentence early.
        *to = if *from == 0 { b' ' } else { *from } as c_char;
    }
}

/// SAFETY: data is valid for len bytes, or len is 0.
unsafe fn bytes<'a>(data: *const c_char, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    slice::from_raw_parts(data.cast(), len)
}

/// A copy that C frees, with a NUL behind it.
fn to_malloc(text: &[u8]) -> Result<*mut c_char, Failure> {
    // SAFETY: the block is checked and one byte longer than the text.
    unsafe {
        let block: *mut u8 = libc::malloc(text.len() + 1).cast();
        if block.is_null() {
            return Err(Failure::new(E_LIMIT, "no memory for the output"));
        }
        ptr::copy_nonoverlapping(text.as_ptr(), block, text.len());
        *block.add(text.len()) = 0;
        Ok(block.cast())
    }
}

/// # Safety
/// As C: source valid for source_len bytes, out valid, err valid or NULL.
#[no_mangle]
pub unsafe extern "C" fn realm_template_compile(
    source: *const c_char,
    source_len: usize,
    out: *mut *mut Template,
    err: *mut TemplateError,
) -> c_int {
    *out = ptr::null_mut();
    guarded(err, || {
        *out = Box::into_raw(Box::new(compile(bytes(source, source_len))?));
        Ok(())
    })
}

/// # Safety
/// As C: tmpl came from realm_template_compile and is not used afterwards, or is NULL.
#[no_mangle]
pub unsafe extern "C" fn realm_template_free(tmpl: *mut Template) {
    if !tmpl.is_null() {
        guarded(ptr::null_mut(), || {
            drop(Box::from_raw(tmpl));
            Ok(())
        });
    }
}

/// # Safety
/// As C: pointers valid for what they name, err valid or NULL.
#[no_mangle]
pub unsafe extern "C" fn realm_template_render(
    tmpl: *const Template,
    context_json: *const c_char,
    context_len: usize,
    options: *const TemplateOptions,
    out: *mut *mut c_char,
    out_len: *mut usize,
    err: *mut TemplateError,
) -> c_int {
    *out = ptr::null_mut();
    *out_len = 0;
    guarded(err, || {
        let text = render(&*tmpl, bytes(context_json, context_len), &*options)?;
        *out = to_malloc(&text)?;
        *out_len = text.len();
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::neutral_generation_tags;

    #[test]
    fn generation_tags_keep_their_whitespace_control() {
        assert_eq!(
            neutral_generation_tags("a{%- generation %}b{% if x %}\n{%  endgeneration -%}\n{%"),
            "a{%- with %}b{% if x %}\n{%  endwith -%}\n{%"
        );
    }
}
