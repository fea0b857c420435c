//! The `tojson` filter as transformers defines it: Python's `json.dumps` with
//! `ensure_ascii=False`, not Jinja's own filter, which escapes for HTML.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

/// A template can nest values as deep as its steps allow; the writer recurses.
const DEPTH_MAX: usize = 128;

/// One step for so many bytes written: walking a value costs more than copying text.
const BYTES_PER_STEP: usize = 4;

struct Style {
    ensure_ascii: bool,
    sort_keys: bool,
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
}

struct Writer<'a> {
    style: &'a Style,
    state: &'a State<'a, 'a>,
    out: String,
    charged: usize,
    depth: usize,
}

/// `value|tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`
pub fn tojson(
    state: &State,
    value: &Value,
    ensure_ascii: Option<Value>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let style = Style::from_arguments(ensure_ascii, &kwargs)?;
    let mut writer = Writer { style: &style, state, out: String::new(), charged: 0, depth: 0 };
    writer.value(value)?;
    Ok(Value::from(writer.out))
}

impl Style {
    fn from_arguments(ensure_ascii: Option<Value>, kwargs: &Kwargs) -> Result<Style, Error> {
        let ensure_ascii = match ensure_ascii {
            Some(flag) => flag.is_true(),
            None => kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        };
        let sort_keys = kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
        let indent = kwargs.get::<Option<Value>>("indent")?;
        let separators = kwargs.get::<Option<Vec<String>>>("separators")?;
        kwargs.assert_all_used()?;

        let indent = indent.filter(|v| !v.is_none()).map(indent_text).transpose()?;
        let (item_separator, key_separator) = match separators.as_deref() {
            Some([item, key]) => (item.clone(), key.clone()),
            Some(_) => return Err(invalid("separators of tojson must be a pair")),
            None if indent.is_some() => (",".into(), ": ".into()),
            None => (", ".into(), ": ".into()),
        };
        Ok(Style { ensure_ascii, sort_keys, indent, item_separator, key_separator })
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// Python takes the text of one level, or how many spaces it has; a negative
/// count means none.
fn indent_text(indent: Value) -> Result<String, Error> {
    if let Some(text) = indent.as_str() {
        return Ok(text.to_string());
    }
    match i64::try_from(indent) {
        Ok(width) if width <= 64 => Ok(" ".repeat(width.max(0) as usize)),
        _ => Err(invalid("indent of tojson must be text or a number up to 64")),
    }
}

impl Writer<'_> {
    fn value(&mut self, value: &Value) -> Result<(), Error> {
        self.charge()?;
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.out.push_str(&number(value)?),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => self.list(value)?,
            ValueKind::Map => self.map(value)?,
            kind => return Err(invalid(format!("{kind} is not JSON serializable"))),
        }
        Ok(())
    }

    /// Pays for what was written since the last call.
    fn charge(&mut self) -> Result<(), Error> {
        let steps = 1 + (self.out.len() - self.charged) / BYTES_PER_STEP;
        self.charged = self.out.len();
        self.state.consume_fuel(steps as u64)
    }

    fn list(&mut self, list: &Value) -> Result<(), Error> {
        let items: Vec<Value> = list.try_iter()?.collect();
        self.open('[')?;
        for (i, item) in items.iter().enumerate() {
            self.separate(i > 0);
            self.value(item)?;
        }
        self.close(']', items.is_empty());
        Ok(())
    }

    fn map(&mut self, map: &Value) -> Result<(), Error> {
        let mut pairs = Vec::new();
        for key in map.try_iter()? {
            let value = map.get_item(&key)?;
            pairs.push((key_text(&key)?, value));
        }
        if self.style.sort_keys {
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
        }
        self.open('{')?;
        for (i, (key, value)) in pairs.iter().enumerate() {
            self.separate(i > 0);
            self.string(key);
            self.out.push_str(&self.style.key_separator);
            self.value(value)?;
        }
        self.close('}', pairs.is_empty());
        Ok(())
    }

    fn open(&mut self, bracket: char) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(invalid("a value is nested too deep for tojson"));
        }
        self.out.push(bracket);
        Ok(())
    }

    fn separate(&mut self, between: bool) {
        if between {
            self.out.push_str(&self.style.item_separator);
        }
        self.new_line();
    }

    fn close(&mut self, bracket: char, empty: bool) {
        self.depth -= 1;
        if !empty {
            self.new_line();
        }
        self.out.push(bracket);
    }

    fn new_line(&mut self) {
        if let Some(indent) = &self.style.indent {
            self.out.push('\n');
            for _ in 0..self.depth {
                self.out.push_str(indent);
            }
        }
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                c if c < ' ' || (self.style.ensure_ascii && c > '~') => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        self.out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

fn key_text(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.as_str().unwrap_or_default().to_string()),
        ValueKind::Number => number(key),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.into()),
        ValueKind::None => Ok("null".into()),
        kind => Err(invalid(format!("keys must be str, int, float, bool or None, not {kind}"))),
    }
}

fn number(value: &Value) -> Result<String, Error> {
    if value.is_integer() {
        return Ok(value.to_string());
    }
    Ok(python_float(f64::try_from(value.clone())?))
}

/// Python's `repr` of a float: the shortest digits that read back the same,
/// with an exponent below 1e-4 and from 1e16 on.
fn python_float(x: f64) -> String {
    if x.is_nan() {
        return "NaN".into();
    }
    if x.is_infinite() {
        return if x > 0.0 { "Infinity" } else { "-Infinity" }.into();
    }
    let scientific = format!("{x:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        return format!("{x:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::python_float;

    #[test]
    fn floats_look_like_pythons() {
        for (x, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (-1234.5, "-1234.5"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e16, "1.5e+16"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.25e-7, "1.25e-07"),
            (1e100, "1e+100"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "Infinity"),
        ] {
            assert_eq!(python_float(x), text);
        }
    }
}
