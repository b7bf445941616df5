//! awk, in the one form that scripts use it for most: fields, optionally of lines that match.

use super::Options;
use super::pattern::{Notation, compile};
use super::text::contents;
use crate::sim::host::process::{Exit, Process, Stop, fail, not_simulated};

/// `awk [-F sep] '[/regex/|NR==n] {print $1, "text" $2}'`; anything else is refused.
pub fn awk(p: &Process) -> Exit {
    let mut options = Options::parse(p, "F:v:", &[])?;
    if options.operands.is_empty() {
        return fail("usage: awk [-F fs] 'program' [file ...]");
    }
    let program = options.operands.remove(0);
    let refuse = || Stop::NotSimulated(format!("awk '{program}'"));
    if options.has('v') {
        return not_simulated("awk -v");
    }
    let (condition, action) = match program.find('{') {
        Some(open) => {
            let body = program[open + 1..].trim_end().strip_suffix('}').ok_or_else(refuse)?;
            (program[..open].trim(), body.trim().trim_end_matches(';').trim())
        }
        None => (program.trim(), "print"),
    };
    let selects = condition_of(condition).ok_or_else(refuse)??;
    let print = print_of(action).ok_or_else(refuse)?;
    let separator = options.value('F').map(str::to_owned);
    let (all, status) = contents(p, &options)?;
    let text: String = all.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect();
    let mut out = String::new();
    for (number, line) in (1..).zip(text.lines()) {
        let fields: Vec<String> = match separator.as_deref() {
            None | Some(" ") => line.split_whitespace().map(str::to_owned).collect(),
            Some(one) if one.chars().count() == 1 => line.split(one).map(str::to_owned).collect(),
            Some(pattern) => {
                let regex = compile(pattern, Notation::Extended, false)?;
                regex.split(line.as_bytes()).map(|field| String::from_utf8_lossy(field).into_owned()).collect()
            }
        };
        if selects(number, line, &fields) {
            out.push_str(
                &print
                    .iter()
                    .map(|group| group.iter().map(|item| item.value(number, line, &fields)).collect::<String>())
                    .collect::<Vec<_>>()
                    .join(" "),
            );
            out.push('\n');
        }
    }
    p.out(out)?;
    Ok(status)
}

type Condition = Box<dyn Fn(usize, &str, &[String]) -> bool>;

fn condition_of(text: &str) -> Option<Result<Condition, Stop>> {
    if text.is_empty() {
        return Some(Ok(Box::new(|_, _, _| true)));
    }
    let (negated, rest) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
    if let Some(pattern) = rest.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
        let regex = compile(&pattern.replace("\\/", "/"), Notation::Extended, false);
        return Some(
            regex.map(|regex| -> Condition { Box::new(move |_, line, _| regex.is_match(line.as_bytes()) != negated) }),
        );
    }
    for operator in ["==", "!=", ">=", "<=", ">", "<"] {
        let Some((left, right)) = text.split_once(operator) else { continue };
        let (left, right) = (item(left.trim())?, item(right.trim())?);
        return Some(Ok(Box::new(move |number, line, fields| {
            let (a, b) = (left.value(number, line, fields), right.value(number, line, fields));
            let order = match (a.parse::<f64>(), b.parse::<f64>()) {
                (Ok(a), Ok(b)) => a.total_cmp(&b),
                _ => a.cmp(&b),
            };
            match operator {
                "==" => order.is_eq(),
                "!=" => order.is_ne(),
                ">=" => order.is_ge(),
                "<=" => order.is_le(),
                ">" => order.is_gt(),
                _ => order.is_lt(),
            }
        })));
    }
    None
}

enum Item {
    Field(usize),
    Last,
    Text(String),
    Line,
    Count,
}

impl Item {
    fn value(&self, number: usize, line: &str, fields: &[String]) -> String {
        match self {
            Item::Field(0) => line.to_owned(),
            Item::Field(index) => fields.get(index - 1).cloned().unwrap_or_default(),
            Item::Last => fields.last().cloned().unwrap_or_default(),
            Item::Text(text) => text.clone(),
            Item::Line => number.to_string(),
            Item::Count => fields.len().to_string(),
        }
    }
}

fn item(text: &str) -> Option<Item> {
    match text {
        "$NF" => Some(Item::Last),
        "NR" => Some(Item::Line),
        "NF" => Some(Item::Count),
        _ if text.starts_with('$') => text[1..].parse().ok().map(Item::Field),
        _ if text.starts_with('"') && text.len() > 1 && text.ends_with('"') => {
            let (bytes, _) = super::unescape(&text[1..text.len() - 1].replace("\\\"", "\""), false);
            Some(Item::Text(String::from_utf8_lossy(&bytes).into_owned()))
        }
        _ => text.parse::<f64>().ok().map(|_| Item::Text(text.to_owned())),
    }
}

/// The arguments of `print`: groups between commas, of items that stand side by side.
fn print_of(action: &str) -> Option<Vec<Vec<Item>>> {
    let rest = action.strip_prefix("print")?.trim();
    if rest.is_empty() {
        return Some(vec![vec![Item::Field(0)]]);
    }
    let mut groups = vec![Vec::new()];
    let mut chars = rest.char_indices().peekable();
    while let Some((start, next)) = chars.next() {
        let end = match next {
            ' ' | '\t' => continue,
            ',' => {
                groups.push(Vec::new());
                continue;
            }
            '"' => {
                let close = rest[start + 1..].find('"')? + start + 2;
                while chars.next_if(|(at, _)| *at < close).is_some() {}
                close
            }
            _ => {
                let mut end = start + next.len_utf8();
                while let Some((at, one)) = chars.next_if(|(_, one)| one.is_ascii_alphanumeric()) {
                    end = at + one.len_utf8();
                }
                end
            }
        };
        groups.last_mut()?.push(item(&rest[start..end])?);
    }
    Some(groups)
}
