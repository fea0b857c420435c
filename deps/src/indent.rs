//! The `indent` filter as Jinja2 has it; minijinja's drops the line break that a text ends with.

use minijinja::value::{Kwargs, Rest, Value};
use minijinja::{Error, ErrorKind, State};

const WIDTH_MAX: usize = 1024;

/// `value|indent(width=4, first=False, blank=False)`; width may be the text to put in front.
pub fn indent(
    state: &State,
    text: String,
    positional: Rest<Value>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let given = |at: usize, name: &str| match positional.get(at) {
        Some(value) => Ok(Some(value.clone())),
        None => kwargs.get::<Option<Value>>(name),
    };
    let width = given(0, "width")?;
    let first = given(1, "first")?.is_some_and(|flag| flag.is_true());
    let blank = given(2, "blank")?.is_some_and(|flag| flag.is_true());
    kwargs.assert_all_used()?;
    let front = front(width)?;
    let mut out = String::new();
    for (at, line) in lines(&text).into_iter().enumerate() {
        let wanted = if at == 0 { first } else { blank || !line.is_empty() };
        state.consume_fuel(1 + (front.len() + line.len()) as u64 / 64)?;
        if at > 0 {
            out.push('\n');
        }
        if wanted {
            out.push_str(&front);
        }
        out.push_str(line);
    }
    Ok(out)
}

fn front(width: Option<Value>) -> Result<String, Error> {
    let Some(width) = width else { return Ok(" ".repeat(4)) };
    if let Some(text) = width.as_str() {
        return Ok(text.to_string());
    }
    match usize::try_from(width) {
        Ok(width) if width <= WIDTH_MAX => Ok(" ".repeat(width)),
        _ => Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("indent's width must be text or a number up to {WIDTH_MAX}"),
        )),
    }
}

/// Python's `(text + "\n").splitlines()`.
fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    loop {
        let Some(end) = rest.find(is_break) else {
            lines.push(rest);
            return lines;
        };
        let (line, after) = rest.split_at(end);
        lines.push(line);
        let mut skipped = after.chars();
        if skipped.next() == Some('\r') && after.starts_with("\r\n") {
            skipped.next();
        }
        rest = skipped.as_str();
    }
}

fn is_break(c: char) -> bool {
    let rare = matches!(c, '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}');
    rare || c == '\n' || c == '\r'
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn lines_are_pythons() {
        assert_eq!(lines("{\n"), ["{", ""]);
        assert_eq!(lines("a\r\nb\rc"), ["a", "b", "c"]);
        assert_eq!(lines(""), [""]);
    }
}
