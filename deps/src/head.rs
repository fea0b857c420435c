//! Heads of HTTP requests behind `include/realm_http.h`, which says what each
//! function promises.

use std::ffi::{c_char, c_long, c_uint};
use std::mem::MaybeUninit;
use std::panic::catch_unwind;
use std::slice;

// Keep these beside realm_http.h.
const FIELDS_MAX: usize = 256;
const PARTIAL: c_long = 0;
const E_MALFORMED: c_long = -1;
const E_FIELDS: c_long = -2;
const E_VERSION: c_long = -3;

#[repr(C)]
pub struct Field {
    name: *const c_char,
    value: *const c_char,
    name_len: usize,
    value_len: usize,
}

#[repr(C)]
pub struct Head {
    method: *const c_char,
    target: *const c_char,
    method_len: usize,
    target_len: usize,
    minor: c_uint,
    n_fields: usize,
}

fn parse(bytes: &[u8], fields: &mut [MaybeUninit<Field>], out: &mut Head) -> c_long {
    let mut room = [const { MaybeUninit::<httparse::Header>::uninit() }; FIELDS_MAX];
    let max = fields.len().min(FIELDS_MAX);
    let mut request = httparse::Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(bytes, &mut room[..max]) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return PARTIAL,
        Err(httparse::Error::TooManyHeaders) => return E_FIELDS,
        Err(httparse::Error::Version) => return E_VERSION,
        Err(_) => return E_MALFORMED,
    };
    let (Some(method), Some(target), Some(minor), Ok(length)) =
        (request.method, request.path, request.version, c_long::try_from(length))
    else {
        return E_MALFORMED;
    };
    for (to, from) in fields.iter_mut().zip(request.headers.iter()) {
        to.write(Field {
            name: from.name.as_ptr().cast(),
            value: from.value.as_ptr().cast(),
            name_len: from.name.len(),
            value_len: from.value.len(),
        });
    }
    *out = Head {
        method: method.as_ptr().cast(),
        target: target.as_ptr().cast(),
        method_len: method.len(),
        target_len: target.len(),
        minor: c_uint::from(minor),
        n_fields: request.headers.len(),
    };
    length
}

/// # Safety
/// As C: bytes valid for n bytes, fields for fields_max entries, out for writing.
#[no_mangle]
pub unsafe extern "C" fn realm_http_parse(
    bytes: *const c_char,
    n: usize,
    fields: *mut MaybeUninit<Field>,
    fields_max: usize,
    out: *mut Head,
) -> c_long {
    if n == 0 || fields_max == 0 {
        return PARTIAL;
    }
    catch_unwind(|| {
        // SAFETY: as the caller promises.
        let (bytes, fields, out) = unsafe {
            (
                slice::from_raw_parts(bytes.cast::<u8>(), n),
                slice::from_raw_parts_mut(fields, fields_max),
                &mut *out,
            )
        };
        parse(bytes, fields, out)
    })
    .unwrap_or(E_MALFORMED)
}
