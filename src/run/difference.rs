//! What is there against what is wanted, field by field.

use super::event::{Action, FieldDiff};
use super::unknown::Unknown;
use super::value::{Map, State, Value};

/// One field that differs. A side that is `None` is absent.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The field, as in `net0.bridge`; empty for the whole.
    pub path: String,
    /// What is there.
    pub before: Option<Value>,
    /// What is wanted.
    pub after: Option<Value>,
    /// False where one side is not known yet, so that they may turn out equal.
    pub certain: bool,
}

/// A difference between what is there and what is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// What is there.
    pub have: State,
    /// What is wanted.
    pub want: State,
    /// Create, update or delete.
    pub action: Action,
    /// Field by field.
    pub fields: Vec<Field>,
}

impl Difference {
    /// The difference, or `None` where there is nothing to do.
    pub fn between(have: &State, want: &State) -> Option<Difference> {
        let mut fields = Vec::new();
        let action = match (have, want) {
            (State::Absent, State::Absent) => return None,
            (State::Absent, _) => {
                whole(None, Some(want), true, &mut fields);
                Action::Create
            }
            (State::Here(_), State::Absent) => {
                whole(Some(have), None, true, &mut fields);
                Action::Delete
            }
            (State::Here(before), State::Here(after)) => {
                compare("", before, after, &mut fields);
                Action::Update
            }
            (State::Unknown(before), State::Unknown(after)) if before == after => return None,
            (_, State::Absent) => {
                whole(Some(have), None, false, &mut fields);
                Action::Delete
            }
            _ => {
                whole(Some(have), Some(want), false, &mut fields);
                Action::Update
            }
        };
        if fields.is_empty() {
            return None;
        }
        Some(Difference { have: have.clone(), want: want.clone(), action, fields })
    }

    /// Whether it is known to be a difference, whatever the unknowns turn out to be.
    pub fn is_certain(&self) -> bool {
        self.fields.iter().any(|field| field.certain)
    }

    /// Whether a field, or something inside it, differs.
    pub fn touches(&self, path: &str) -> bool {
        self.fields.iter().any(|field| {
            field.path.is_empty()
                || field.path == path
                || field.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))
        })
    }

    /// The wanted value of a field.
    pub fn wanted(&self, field: &str) -> Option<&Value> {
        self.want.here()?.get(field)
    }

    /// The present value of a field.
    pub fn found(&self, field: &str) -> Option<&Value> {
        self.have.here()?.get(field)
    }

    /// The unknowns that are about to be written: wanted and not spent-and-satisfied.
    pub fn unknowns_to_write(&self) -> Vec<&Unknown> {
        self.fields.iter().filter_map(|field| field.after.as_ref()).flat_map(Value::unknowns).collect()
    }

    /// As events carry it.
    pub fn report(&self) -> Vec<FieldDiff> {
        let show = |value: &Option<Value>| value.as_ref().map(Value::to_display_json);
        self.fields
            .iter()
            .map(|field| FieldDiff {
                path: field.path.clone(),
                before: show(&field.before),
                after: show(&field.after),
                unknown: [&field.before, &field.after]
                    .iter()
                    .any(|side| side.as_ref().is_some_and(|value| !value.unknowns().is_empty())),
            })
            .collect()
    }
}

/// A state that comes or goes as a whole, still told field by field where it is a map.
fn whole(before: Option<&State>, after: Option<&State>, certain: bool, fields: &mut Vec<Field>) {
    let side = |state: Option<&State>| state.map(|state| state.clone().into_value());
    match (side(before), side(after)) {
        (None, Some(value)) => one_sided("", value, certain, fields, &|value| (None, Some(value))),
        (Some(value), None) => one_sided("", value, certain, fields, &|value| (Some(value), None)),
        (before, after) => fields.push(Field { path: String::new(), before, after, certain }),
    }
}

type Sides<'a> = &'a dyn Fn(Value) -> (Option<Value>, Option<Value>);

fn one_sided(path: &str, value: Value, certain: bool, fields: &mut Vec<Field>, sides: Sides<'_>) {
    match value {
        Value::Map(map) if !map.is_empty() => {
            for (key, value) in map {
                one_sided(&inside(path, &key), value, certain, fields, sides);
            }
        }
        value => {
            let (before, after) = sides(value);
            fields.push(Field { path: path.to_owned(), before, after, certain });
        }
    }
}

fn inside(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn compare(path: &str, before: &Value, after: &Value, fields: &mut Vec<Field>) {
    match (before, after) {
        (Value::Map(old), Value::Map(new)) => compare_maps(path, old, new, fields),
        // Shown once, and something is there: present, not compared.
        (_, Value::Unknown(unknown)) if unknown.is_spent() => {}
        (Value::Unknown(old), Value::Unknown(new)) if old == new => {}
        (before, after) if same(before, after) => {}
        (before, after) => {
            let certain = before.unknowns().is_empty() && after.unknowns().is_empty();
            fields.push(Field {
                path: path.to_owned(),
                before: Some(before.clone()),
                after: Some(after.clone()),
                certain,
            });
        }
    }
}

fn compare_maps(path: &str, old: &Map, new: &Map, fields: &mut Vec<Field>) {
    for (key, before) in old {
        match new.get(key) {
            Some(after) => compare(&inside(path, key), before, after, fields),
            None => fields.push(Field {
                path: inside(path, key),
                before: Some(before.clone()),
                after: None,
                certain: before.unknowns().is_empty(),
            }),
        }
    }
    for (key, after) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
        fields.push(Field { path: inside(path, key), before: None, after: Some(after.clone()), certain: true });
    }
}

/// Equal, and known to be so. A secret equals the text it hides.
fn same(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Secret(secret), Value::Text(text)) | (Value::Text(text), Value::Secret(secret)) => {
            secret.expose() == text
        }
        (Value::List(old), Value::List(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(before, after)| same(before, after))
        }
        (Value::Map(old), Value::Map(new)) => {
            old.len() == new.len()
                && old.iter().all(|(key, before)| new.get(key).is_some_and(|after| same(before, after)))
        }
        (_, Value::Unknown(unknown)) if unknown.is_spent() => true,
        (Value::Int(whole), Value::Float(number)) | (Value::Float(number), Value::Int(whole)) => {
            *whole as f64 == *number
        }
        (before, after) => before == after && before.unknowns().is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(json: serde_json::Value) -> State {
        State::Here(Value::from(json))
    }

    #[test]
    fn what_is_equal_makes_no_difference() {
        let state = here(serde_json::json!({ "cores": 2, "tags": ["a", "b"] }));
        assert_eq!(Difference::between(&state, &state), None);
        assert_eq!(Difference::between(&State::Absent, &State::Absent), None);
    }

    #[test]
    fn nested_fields_are_told_by_their_path() {
        let difference = Difference::between(
            &here(serde_json::json!({ "net0": { "bridge": "vmbr0", "tag": 11 } })),
            &here(serde_json::json!({ "net0": { "bridge": "vmbr1" } })),
        )
        .expect("they differ");
        let paths: Vec<&str> = difference.fields.iter().map(|field| field.path.as_str()).collect();
        assert_eq!(paths, ["net0.bridge", "net0.tag"]);
        assert!(difference.touches("net0") && !difference.touches("net1"));
        assert!(difference.is_certain());
    }

    #[test]
    fn an_unknown_may_turn_out_equal_and_a_spent_one_is_not_compared() {
        let unknown = Unknown::from_origin("vm.ip");
        let with = |value: Value| State::Here(Value::Map(Map::from([("ip".to_owned(), value)])));
        let difference = Difference::between(&with(Value::from("10.0.0.1")), &with(Value::Unknown(unknown.clone())))
            .expect("may differ");
        assert!(!difference.is_certain());
        assert_eq!(Difference::between(&with(Value::from("x")), &with(Value::Unknown(unknown.spent()))), None);
    }
}
