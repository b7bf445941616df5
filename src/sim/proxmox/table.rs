//! Reads the table of calls: plain text, written for people. `calls/access.txt` says how calls are written,
//! `calls/values.txt` how their parameters are.

use std::collections::BTreeMap;

use super::definition::{Api, Fields, Limit, Method, Property, Right, Who};

/// Values come first, for the others refer to them.
const FILES: [&str; 7] = [
    include_str!("calls/values.txt"),
    include_str!("calls/access.txt"),
    include_str!("calls/cluster.txt"),
    include_str!("calls/machines.txt"),
    include_str!("calls/storage.txt"),
    include_str!("calls/tasks.txt"),
    include_str!("calls/guarded.txt"),
];

/// Paths with their methods, nothing more.
const OTHERS: &str = include_str!("calls/others.txt");

/// What went wrong, with the line it went wrong in.
type Read<T> = Result<T, String>;

/// Reads all files.
pub(crate) fn read() -> Read<Api> {
    let mut reader = Reader::default();
    for line in FILES.into_iter().flat_map(lines) {
        if let Some((name, shape)) = line.strip_prefix("shape ").and_then(|rest| rest.split_once(' ')) {
            reader.shapes.insert(name, shape);
        }
    }
    for line in FILES.into_iter().flat_map(lines) {
        reader.line(line).map_err(|wrong| format!("`{line}`: {wrong}"))?;
    }
    reader.finish();
    let mut methods = reader.methods;
    for line in lines(OTHERS) {
        let mut words = line.split_whitespace();
        let path = words.next().unwrap_or_default();
        methods.extend(words.map(|method| new_method(method, path, true)));
    }
    Ok(Api { methods, fields: reader.fields })
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
}

pub(super) fn new_method(method: &'static str, path: &'static str, is_here: bool) -> Method {
    Method { method, path, is_here, who: Who::Anyone, is_ticket_only: false, params: Fields::new() }
}

/// What has been read, and the block that goes on.
#[derive(Default)]
pub(super) struct Reader {
    shapes: BTreeMap<&'static str, &'static str>,
    fields: BTreeMap<&'static str, Fields>,
    methods: Vec<Method>,
    block: Block,
}

#[derive(Default)]
enum Block {
    #[default]
    None,
    Fields(&'static str),
    Method(Method),
}

impl Reader {
    fn line(&mut self, line: &'static str) -> Read<()> {
        if line.starts_with(' ') {
            return self.inner(line.trim());
        }
        self.finish();
        let words: Vec<&'static str> = line.split_whitespace().collect();
        self.block = match words[..] {
            ["shape", ..] => Block::None,
            ["fields", name] => {
                self.fields.insert(name, Fields::new());
                Block::Fields(name)
            }
            [method, path] => Block::Method(new_method(method, path, false)),
            [method, path, "here"] => Block::Method(new_method(method, path, true)),
            _ => return Err("no block begins so".into()),
        };
        Ok(())
    }

    /// Puts a method that is complete with the others.
    fn finish(&mut self) {
        if let Block::Method(mut method) = std::mem::take(&mut self.block) {
            let known = self.fields.get("placeholders");
            for name in method.placeholders().collect::<Vec<_>>() {
                if let Some(property) = known.and_then(|known| known.get(name)) {
                    method.params.entry(name).or_insert_with(|| property.clone());
                }
            }
            self.methods.push(method);
        }
    }

    fn inner(&mut self, line: &'static str) -> Read<()> {
        if let Block::Method(method) = &mut self.block {
            if let Some(rights) = line.strip_prefix("may ") {
                return demand(&mut method.who, rights);
            }
            if line == "tickets only" {
                method.is_ticket_only = true;
                return Ok(());
            }
        }
        let added: Fields = match line.strip_prefix("all of ") {
            Some(name) => self.fields.get(name).ok_or("nothing of this name comes before")?.clone(),
            None => Fields::from([self.field(line)?]),
        };
        match &mut self.block {
            Block::Method(method) => method.params.extend(added),
            Block::Fields(name) => self.fields.entry(name).or_default().extend(added),
            Block::None => return Err("no block has begun".into()),
        }
        Ok(())
    }

    pub(super) fn field(&self, line: &'static str) -> Read<(&'static str, Property)> {
        let mut words = line.split_whitespace();
        let name = words.next().ok_or("there is no name")?;
        let alias = |alias, names| Property { alias: Some(alias), names, is_optional: true, ..Property::default() };
        let rest: Vec<&'static str> = words.clone().collect();
        match rest[..] {
            ["is", other] => return Ok((name, alias(other, None))),
            ["is", other, "naming", key] => return Ok((name, alias(other, Some(key)))),
            _ => {}
        }
        let mut property = self.property(&mut words)?;
        property.is_optional = name.ends_with('?');
        Ok((name.trim_end_matches('?'), property))
    }

    fn property(&self, words: &mut std::str::SplitWhitespace<'static>) -> Read<Property> {
        let kind = words.next().filter(|kind| ["string", "integer", "number", "boolean", "array"].contains(kind));
        let mut property = Property { kind: kind.ok_or("it has no type")?, ..Property::default() };
        while let Some(word) = words.next() {
            if let Some((least, most)) = word.split_once("..") {
                (property.least, property.most) = (number(least)?, number(most)?);
                continue;
            }
            let mut next = || words.next().ok_or(format!("something is missing after {word}"));
            match word {
                "first" => property.is_first = true,
                "never" => property.limit = Some(Limit::Never),
                "only" => property.limit = Some(Limit::Only(next()?)),
                "of" => property.choices = next()?.split('|').collect(),
                "as" => property.format = Some(next()?),
                "needs" => property.needs = Some(next()?),
                "like" => property.shape = Some(self.shapes.get(next()?).ok_or("there is no such shape")?),
                "long" => {
                    let (least, most) = next()?.split_once("..").ok_or("a length is two numbers")?;
                    (property.shortest, property.longest) = (number(least)?, number(most)?);
                }
                "each" => property.items = Some(Box::new(self.property(words)?)),
                _ => return Err(format!("{word} means nothing here")),
            }
        }
        Ok(property)
    }
}

/// A bound; nothing means that there is none.
fn number<T: std::str::FromStr>(text: &str) -> Read<Option<T>> {
    match text {
        "" => Ok(None),
        digits => digits.parse().map(Some).map_err(|_| format!("{digits} is no number")),
    }
}

/// Adds one `may` to those that were there before.
fn demand(who: &mut Who, rights: &'static str) -> Read<()> {
    *who = match (rights, std::mem::replace(who, Who::Anyone)) {
        ("everybody", _) => Who::Everybody,
        ("anyone", _) => Who::Anyone,
        ("root", _) => Who::Root,
        (rights, before) => {
            let mut groups = if let Who::Holders(groups) = before { groups } else { Vec::new() };
            groups.push(alternatives(rights)?);
            Who::Holders(groups)
        }
    };
    Ok(())
}

/// Reads `VM.Allocate on /vms/{newid} or VM.Allocate on /pool/{pool} if pool`.
pub(crate) fn alternatives(text: &'static str) -> Read<Vec<Right>> {
    text.split(" or ").map(right).collect()
}

fn right(text: &'static str) -> Read<Right> {
    let words: Vec<&'static str> = text.split_whitespace().collect();
    let (privileges, path, given) = match words[..] {
        ["self"] => return Ok(Right::Own),
        [privileges, "on", path] => (privileges, path, None),
        [privileges, "on", path, "if", given] => (privileges, path, Some(given)),
        _ => return Err(format!("{text} is no right")),
    };
    let any = privileges.contains('|');
    Ok(Right::On { privileges: privileges.split(['|', ',']).collect(), any, path, given })
}

#[cfg(test)]
mod tests {
    use super::super::definition::api;
    use super::super::verify::matches;
    use super::*;

    #[test]
    fn every_line_of_the_table_is_understood_and_every_shape_compiles() {
        let api = read().unwrap();
        assert!(api.methods.len() > 500);
        let all = api.methods.iter().map(|method| &method.params).chain(api.fields.values()).flat_map(Fields::values);
        for shape in all.filter_map(|property| property.shape) {
            matches(shape, "");
        }
    }

    #[test]
    fn no_call_is_written_twice() {
        let mut seen: Vec<_> = api().methods.iter().map(|method| (method.path, method.method)).collect();
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn a_field_is_read_with_everything_that_is_said_of_it() {
        let (name, field) =
            Reader::default().field("gw6? string long 2..9 of a|b as ipv6 needs ip6 first only 0").unwrap();
        assert_eq!((name, field.kind, field.is_optional, field.is_first), ("gw6", "string", true, true));
        assert_eq!((field.shortest, field.longest, field.choices), (Some(2), Some(9), vec!["a", "b"]));
        assert_eq!((field.format, field.needs, field.limit), (Some("ipv6"), Some("ip6"), Some(Limit::Only("0"))));
        assert!(Reader::default().field("x? string lik y").is_err());
    }

    #[test]
    fn rights_are_any_or_all_of_some_privileges() {
        let read = alternatives("self or A|B on /x or C,D on /y if z").unwrap();
        assert_eq!(read[0], Right::Own);
        let right = |privileges: [&'static str; 2], any, path, given| Right::On {
            privileges: privileges.into(),
            any,
            path,
            given,
        };
        assert_eq!(read[1], right(["A", "B"], true, "/x", None));
        assert_eq!(read[2], right(["C", "D"], false, "/y", Some("z")));
    }
}
