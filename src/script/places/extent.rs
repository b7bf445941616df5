//! How far a thing reaches in the text, given where it starts.

/// The end of the name, literal or bracket that starts at a byte, never further than its line unless it is a literal
/// text.
pub fn end(text: &str, start: usize) -> usize {
    let rest = &text[start..];
    let Some(first) = rest.chars().next() else { return start };
    let length = match first {
        '"' => quoted(rest, '"'),
        '\'' => quoted(rest, '\''),
        '`' => quoted(rest, '`'),
        '[' | '(' | '{' | '#' => bracketed(rest),
        '|' => closure_head(rest),
        '-' | '0'..='9' => number(rest),
        first if first == '_' || first.is_alphabetic() => name(rest),
        '\n' => 0,
        first => first.len_utf8(),
    };
    start + length.min(rest.len())
}

fn name(rest: &str) -> usize {
    rest.find(|character: char| !(character == '_' || character.is_alphanumeric())).unwrap_or(rest.len())
}

fn number(rest: &str) -> usize {
    let sign = usize::from(rest.starts_with('-'));
    let digits = &rest[sign..];
    let length = digits.find(|character: char| !(character == '_' || character.is_ascii_alphanumeric()));
    let length = length.unwrap_or(digits.len());
    // A fraction, but not the range `1..5` nor the method of a number.
    let fraction = digits[length..].strip_prefix('.').map_or(0, |after| {
        let places = after.find(|character: char| !character.is_ascii_digit()).unwrap_or(after.len());
        if places == 0 { 0 } else { places + 1 }
    });
    (sign + length + fraction).max(1)
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (offset, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            // A backslash escapes nothing in a template.
            '\\' if quote != '`' => escaped = true,
            _ if character == quote => return offset + 1,
            _ => {}
        }
    }
    first_line(rest)
}

fn bracketed(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut skip_to = 0;
    for (offset, character) in rest.char_indices() {
        match character {
            _ if offset < skip_to => {}
            '"' | '`' => skip_to = offset + quoted(&rest[offset..], character),
            '[' | '(' | '{' => depth += 1,
            ']' | ')' | '}' if depth == 1 => return offset + 1,
            ']' | ')' | '}' => depth = depth.saturating_sub(1),
            '\n' => return first_line(rest),
            _ => {}
        }
    }
    first_line(rest)
}

fn closure_head(rest: &str) -> usize {
    rest[1..].find('|').map_or(1, |second| second + 2).min(first_line(rest))
}

fn first_line(rest: &str) -> usize {
    let line = rest.lines().next().unwrap_or_default();
    line.trim_end().len()
}
