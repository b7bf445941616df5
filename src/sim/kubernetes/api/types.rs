//! Types of objects: what fields they have, and which parts of them can belong to different owners.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use serde_json::Value;

/// The type of a value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Type {
    Text,
    Number,
    Flag,
    /// An amount: `500m`, `1Gi`.
    Quantity,
    /// Anything, as a whole.
    Any,
    /// Anything: maps by their parts, everything else as a whole.
    Free,
    /// One of the table.
    Named(&'static str),
    Map {
        fields: Arc<BTreeMap<String, Field>>,
        /// What other fields are, if it may have any.
        rest: Option<Arc<Type>>,
        /// Whether it comes and goes as a whole.
        whole: bool,
    },
    List(Arc<Type>, Items),
}

/// A field of a map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) of: Type,
    /// What it is where it is not told, if it is a key.
    pub(crate) usual: Option<Value>,
}

/// How the items of a list are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Items {
    /// They are not: it comes and goes as a whole.
    Whole,
    /// Each is there once.
    Set,
    /// By some of their fields, in order.
    Keyed(Vec<String>),
}

type Table = HashMap<&'static str, Type>;

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let lines = include_str!("types.txt").lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(parse_line).collect()
    })
}

fn parse_line(line: &'static str) -> Option<(&'static str, Type)> {
    let mut words = line.split(' ');
    let name = words.next()?;
    let rest: Vec<&'static str> = words.collect();
    if let ["=", of] = rest.as_slice() {
        return Some((name, parse(of)));
    }
    let whole = rest.first() == Some(&"!");
    let fields = rest.iter().filter_map(|word| word.split_once(':')).map(|(name, of)| {
        let (of, usual) = of.split_once('=').map_or((of, None), |(of, usual)| (of, Some(Value::from(usual))));
        (name.to_owned(), Field { of: parse(of), usual })
    });
    Some((name, Type::Map { fields: Arc::new(fields.collect()), rest: None, whole }))
}

fn parse(text: &'static str) -> Type {
    match text {
        "s" => return Type::Text,
        "n" => return Type::Number,
        "b" => return Type::Flag,
        "q" => return Type::Quantity,
        "?" => return Type::Any,
        "~" => return Type::Free,
        _ => {}
    }
    if let Some(of) = text.strip_prefix('{') {
        let (of, whole) = of.strip_suffix("}!").map_or((of.trim_end_matches('}'), false), |of| (of, true));
        return Type::Map { fields: Arc::default(), rest: Some(Arc::new(parse(of))), whole };
    }
    if let Some(of) = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')) {
        return Type::List(Arc::new(parse(of)), Items::Set);
    }
    if let Some(of) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return match of.split_once('|') {
            Some((of, keys)) => {
                Type::List(Arc::new(parse(of)), Items::Keyed(keys.split(',').map(str::to_owned).collect()))
            }
            None => Type::List(Arc::new(parse(of)), Items::Whole),
        };
    }
    match text.strip_suffix('!') {
        // The type of the place says that it comes and goes as a whole, not that of the value.
        Some(_) => Type::Any,
        None => Type::Named(text),
    }
}

/// The type of the objects of a kind that the table knows.
pub(crate) fn of(group: &str, version: &str, kind: &str) -> Option<Type> {
    let group = match group {
        "" => "core",
        group => group.split('.').next().unwrap_or_default(),
    };
    let name = format!("{group}.{version}.{kind}");
    table().get_key_value(name.as_str()).map(|(name, _)| Type::Named(name))
}

/// The type of the metadata that all objects have.
pub(crate) const METADATA: Type = Type::Named("meta.v1.ObjectMeta");

impl Type {
    /// What stands behind a name.
    pub(crate) fn resolved(&self) -> &Type {
        match self {
            // Names come from the table, and a test sees that it holds all that it mentions.
            Type::Named(name) => table().get(name).map_or(&Type::Free, Type::resolved),
            other => other,
        }
    }

    /// A field of it, if it may have one of this name; the second tells whether it is declared.
    pub(crate) fn field(&self, name: &str) -> Option<(Cow<'_, Type>, bool)> {
        match self.resolved() {
            Type::Map { fields, rest, .. } => match (fields.get(name), rest) {
                (Some(field), _) => Some((Cow::Borrowed(&field.of), true)),
                (None, Some(rest)) => Some((Cow::Borrowed(rest), false)),
                (None, None) => None,
            },
            Type::Free => Some((Cow::Borrowed(&Type::Free), false)),
            _ => None,
        }
    }

    /// What the items of it are, and how they are told apart, if it is a list.
    pub(crate) fn items(&self) -> (&Type, &Items) {
        match self.resolved() {
            Type::List(of, items) => (of, items),
            _ => (&Type::Free, &Items::Whole),
        }
    }

    /// Whether it says nothing of what it holds.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.resolved(), Type::Any | Type::Free | Type::Quantity)
    }

    /// Whether a value of it has no parts with owners of their own.
    pub(crate) fn is_whole(&self) -> bool {
        match self.resolved() {
            Type::Map { whole, .. } => *whole,
            Type::List(_, items) => *items == Items::Whole,
            Type::Free => false,
            _ => true,
        }
    }

    /// What a field of it is where it is not told.
    pub(crate) fn usual(&self, name: &str) -> Option<&Value> {
        match self.resolved() {
            Type::Map { fields, .. } => fields.get(name)?.usual.as_ref(),
            _ => None,
        }
    }
}

/// The type that a schema of a custom resource describes.
pub(crate) fn of_schema(schema: &Value) -> Type {
    let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
    if schema["x-kubernetes-int-or-string"] == true {
        return Type::Any;
    }
    match schema["type"].as_str() {
        Some("string") => Type::Text,
        Some("integer" | "number") => Type::Number,
        Some("boolean") => Type::Flag,
        Some("array") => {
            let items = match schema["x-kubernetes-list-type"].as_str() {
                Some("set") => Items::Set,
                Some("map") => {
                    let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
                    Items::Keyed(keys.filter_map(Value::as_str).map(str::to_owned).collect())
                }
                _ => Items::Whole,
            };
            Type::List(Arc::new(of_schema(&schema["items"])), items)
        }
        Some("object") => {
            let own = schema["properties"].as_object().into_iter().flatten();
            let mut fields: BTreeMap<String, Field> = own
                .map(|(name, schema)| {
                    (name.clone(), Field { of: of_schema(schema), usual: schema.get("default").cloned() })
                })
                .collect();
            if schema["x-kubernetes-embedded-resource"] == true {
                with_head(&mut fields);
            }
            let rest = match &schema["additionalProperties"] {
                more @ Value::Object(_) => Some(Arc::new(of_schema(more))),
                Value::Bool(true) => Some(Arc::new(Type::Free)),
                _ if open => Some(Arc::new(Type::Free)),
                _ => None,
            };
            if fields.is_empty() && rest.is_none() && schema.get("properties").is_none() {
                // Nothing is said of what it holds: nothing that it holds is kept.
                return Type::Map { fields: Arc::default(), rest: None, whole: false };
            }
            let whole = schema["x-kubernetes-map-type"] == "atomic";
            Type::Map { fields: Arc::new(fields), rest, whole }
        }
        _ if open => Type::Free,
        _ => Type::Any,
    }
}

/// The type of whole objects with this schema.
pub(crate) fn of_custom(schema: &Value) -> Type {
    match of_schema(schema) {
        Type::Map { fields, rest, whole } => {
            let mut fields = (*fields).clone();
            with_head(&mut fields);
            Type::Map { fields: Arc::new(fields), rest, whole }
        }
        _ => Type::Free,
    }
}

/// Adds what every object has.
fn with_head(fields: &mut BTreeMap<String, Field>) {
    for (name, of) in [("apiVersion", Type::Text), ("kind", Type::Text), ("metadata", METADATA)] {
        fields.insert(name.to_owned(), Field { of, usual: None });
    }
}

#[cfg(test)]
mod tests {
    use super::super::kinds;
    use super::*;

    fn names(of: &Type, all: &mut Vec<&'static str>) {
        match of {
            Type::Named(name) => all.push(name),
            Type::Map { fields, rest, .. } => {
                fields.values().for_each(|field| names(&field.of, all));
                rest.iter().for_each(|rest| names(rest, all));
            }
            Type::List(of, _) => names(of, all),
            _ => {}
        }
    }

    #[test]
    fn the_table_holds_all_that_it_mentions() {
        let mut all = Vec::new();
        table().values().for_each(|of| names(of, &mut all));
        let missing: Vec<_> = all.into_iter().filter(|name| !table().contains_key(name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let lines = include_str!("types.txt").lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(table().len(), lines);
    }

    #[test]
    fn every_kind_that_is_kept_has_a_type() {
        let kept = kinds::all().iter().filter(|kind| kind.verbs.contains(&"update"));
        let without: Vec<String> = kept
            .filter(|kind| of(&kind.group, &kind.version, &kind.kind).is_none())
            .map(|kind| kind.full_name())
            .collect();
        let custom = ["helmcharts.helm.cattle.io", "helmchartconfigs.helm.cattle.io", "addons.k3s.cattle.io"];
        assert!(
            without.iter().all(|name| custom.contains(&name.as_str()) || name == "etcdsnapshotfiles.k3s.cattle.io"),
            "{without:?}"
        );
    }

    #[test]
    fn lists_are_told_apart_by_what_the_table_says() {
        let service = of("", "v1", "Service").unwrap();
        let spec = service.field("spec").unwrap().0.into_owned();
        let ports = spec.field("ports").unwrap().0.into_owned();
        let (port, items) = ports.items();
        assert_eq!(*items, Items::Keyed(vec!["port".into(), "protocol".into()]));
        assert_eq!(port.usual("protocol"), Some(&Value::from("TCP")));
        assert!(spec.field("selector").unwrap().0.is_whole());
    }
}
