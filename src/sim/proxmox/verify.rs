//! Checking parameters against the definition, with the API's own words.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

use regex::Regex;

use super::answer::Refusal;
use super::definition::{Limit, Method, Property, lookup};
use super::form::{Form, Given};
use super::formats;

/// A parameter that must be there.
pub(crate) const MISSING: &str = "property is missing and it is not optional";
/// A parameter that nobody asked for.
pub(crate) const UNKNOWN: &str =
    "property is not defined in schema and the schema does not allow additional properties";

/// Parameters after the check.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params {
    single: BTreeMap<String, String>,
    lists: BTreeMap<String, Vec<String>>,
}

impl Params {
    /// The value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.single.get(name).map(String::as_str)
    }

    /// Whether a parameter was given.
    fn has(&self, name: &str) -> bool {
        self.single.contains_key(name) || self.lists.contains_key(name)
    }

    /// The value of a parameter that the check has found present, or the empty text.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// A boolean, false when absent.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.get(name) == Some("1")
    }

    /// A number.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name)?.parse().ok()
    }

    /// The values of an array.
    pub(crate) fn list(&self, name: &str) -> &[String] {
        self.lists.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// All single values but these.
    pub(crate) fn without(&self, names: &[&str]) -> BTreeMap<String, String> {
        let rest = self.single.iter().filter(|(name, _)| !names.contains(&name.as_str()));
        rest.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// Checks what came against what the method takes.
pub(crate) fn verify(method: &Method, form: Form) -> Result<Params, Refusal> {
    let mut errors = BTreeMap::new();
    let mut params = Params::default();
    for (name, given) in &form {
        let Some(property) = lookup(&method.params, name) else {
            errors.insert(name.clone(), UNKNOWN.to_string());
            continue;
        };
        if let Some(needed) = property.needs.filter(|needed| !form.contains_key(*needed)) {
            errors.entry(needed.to_string()).or_insert(format!("missing property required by '{name}'"));
        }
        check(property, name, given, &mut params, &mut errors);
    }
    for (name, property) in &method.params {
        if !property.is_optional && !name.ends_with(']') && !form.contains_key(*name) {
            errors.entry(name.to_string()).or_insert(MISSING.to_string());
        }
    }
    if !errors.is_empty() {
        return Err(Refusal::parameters(errors));
    }
    refuse_what_is_not_simulated(method, &params)?;
    Ok(params)
}

/// Refuses parameters that are right, but would be ignored here.
fn refuse_what_is_not_simulated(method: &Method, params: &Params) -> Result<(), Refusal> {
    let beyond = |name: &&str, property: &Property| match property.limit {
        Some(Limit::Never) => params.has(name),
        Some(Limit::Only(value)) => params.get(name).is_some_and(|given| given != value),
        None => false,
    };
    match method.params.iter().find(|(name, property)| beyond(name, property)) {
        Some((name, _)) => {
            Err(Refusal::not_simulated(&format!("parameter {name} of {} {}", method.method, method.path)))
        }
        None => Ok(()),
    }
}

fn check(property: &Property, name: &str, given: &Given, params: &mut Params, errors: &mut BTreeMap<String, String>) {
    let is_array = property.kind == "array";
    let values = match given {
        Given::One(value) if !is_array => {
            match check_text(property, name, value) {
                Ok(()) => drop(params.single.insert(name.to_string(), value.clone())),
                Err(text) => drop(errors.insert(name.to_string(), text)),
            }
            return;
        }
        Given::One(value) => vec![value.clone()],
        Given::Many(values) if is_array => values.clone(),
        Given::Many(_) => return wrong_type(property, name, "ARRAY", errors),
        Given::Odd(what) => return wrong_type(property, name, what, errors),
    };
    for (index, value) in values.iter().enumerate() {
        let at = format!("{name}[{index}]");
        let checked = property.items.as_deref().map_or(Ok(()), |item| check_text(item, &at, value));
        if let Err(text) = checked {
            errors.insert(at, text);
        }
    }
    params.lists.insert(name.to_string(), values);
}

fn wrong_type(property: &Property, name: &str, got: &str, errors: &mut BTreeMap<String, String>) {
    let kind = property.kind;
    errors.insert(name.to_string(), format!("type check ('{kind}') failed - got {got}"));
}

/// Checks one value. `at` is its name in error texts of property strings.
pub(crate) fn check_text(property: &Property, at: &str, value: &str) -> Result<(), String> {
    let kind = property.kind;
    let is_number = matches!(kind, "integer" | "number");
    let right_type = match kind {
        "integer" => {
            value.trim_start_matches(['-', '+']).chars().all(|c| c.is_ascii_digit()) && value.parse::<f64>().is_ok()
        }
        "number" => value.parse::<f64>().is_ok_and(f64::is_finite),
        "boolean" => value == "0" || value == "1",
        _ => true,
    };
    if !right_type {
        return Err(format!("type check ('{kind}') failed - got '{value}'"));
    }
    if let Some(name) = property.format {
        formats::check(name, at, value).map_err(|text| format!("invalid format - {text}"))?;
    }
    if property.shape.is_some_and(|shape| !matches(shape, value)) {
        return Err("value does not match the regex pattern".into());
    }
    check_limits(property, value, is_number)
}

fn check_limits(property: &Property, value: &str, is_number: bool) -> Result<(), String> {
    let number = value.parse::<f64>().ok().filter(|_| is_number);
    let length = if is_number { None } else { Some(value.chars().count()) };
    if let (Some(number), Some(least)) = (number, property.least)
        && number < least
    {
        return Err(format!("value must have a minimum value of {least}"));
    }
    if let (Some(number), Some(most)) = (number, property.most)
        && number > most
    {
        return Err(format!("value must have a maximum value of {most}"));
    }
    if let (Some(length), Some(most)) = (length, property.longest)
        && length > most
    {
        return Err(format!("value may only be {most} characters long"));
    }
    if let (Some(length), Some(least)) = (length, property.shortest)
        && length < least
    {
        return Err(format!("value must be at least {least} characters long"));
    }
    if property.choices.is_empty() || property.choices.contains(&value) {
        return Ok(());
    }
    Err(format!("value '{value}' does not have a value in the enumeration '{}'", property.choices.join(", ")))
}

/// Whether a whole value matches a shape of the definition, or another regular expression of this program.
pub(crate) fn matches(pattern: &str, value: &str) -> bool {
    static COMPILED: LazyLock<Mutex<BTreeMap<String, Regex>>> = LazyLock::new(Mutex::default);
    // A panic cannot leave a map of compiled expressions half done.
    let mut compiled = COMPILED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let regex = compiled.entry(pattern.to_string()).or_insert_with(|| {
        // The expressions are part of the program; a test compiles those of the definition.
        Regex::new(&format!("^(?:{pattern})$")).expect("a pattern of the definition does not compile")
    });
    regex.is_match(value)
}

#[cfg(test)]
mod tests {
    use super::super::definition::api;
    use super::super::form::decode;
    use super::*;

    fn errors(method: &str, path: &str, query: &str) -> BTreeMap<String, String> {
        let (method, _) = api().find(method, path).unwrap();
        verify(method, decode(query)).map(|_| BTreeMap::new()).unwrap_or_else(|refusal| refusal.errors)
    }

    #[test]
    fn several_wrong_parameters_are_named_at_once() {
        let errors = errors("GET", "/version", "a=1&b=2");
        assert_eq!(errors.len(), 2);
        assert_eq!(errors["a"], UNKNOWN);
    }

    #[test]
    fn a_missing_parameter_and_a_repeated_scalar_are_refused() {
        assert_eq!(errors("POST", "/pools", "")["poolid"], MISSING);
        assert_eq!(
            errors("POST", "/pools", "poolid=p5&poolid=p6")["poolid"],
            "type check ('string') failed - got ARRAY"
        );
    }

    #[test]
    fn numbers_and_choices_have_their_own_texts() {
        assert_eq!(
            errors("GET", "/nodes/a/tasks", "node=a&limit=abc")["limit"],
            "type check ('integer') failed - got 'abc'"
        );
        assert_eq!(errors("GET", "/nodes/a/tasks", "node=a&limit=-1")["limit"], "value must have a minimum value of 0");
        let text = "value 'bogus' does not have a value in the enumeration 'vm, storage, node, sdn'";
        assert_eq!(errors("GET", "/cluster/resources", "type=bogus")["type"], text);
    }

    #[test]
    fn an_array_wants_its_keys_and_names_the_item() {
        let errors = errors("POST", "/cluster/mapping/pci", "id=gpu&map=node=pve1,path=0000:01:00.0");
        assert_eq!(errors["map[0]"], format!("invalid format - format error\nmap[0].id: {MISSING}\n"));
    }

    #[test]
    fn a_parameter_that_would_be_ignored_is_refused_and_the_value_that_changes_nothing_is_not() {
        let refused = |query: &str| {
            let (method, _) = api().find("POST", "/nodes/a/qemu/100/status/stop").unwrap();
            verify(method, decode(query)).err().map(|refusal| refusal.reason)
        };
        let reason = "not simulated: parameter keepActive of POST /nodes/{node}/qemu/{vmid}/status/stop";
        assert_eq!(refused("node=a&vmid=100&keepActive=1").as_deref(), Some(reason));
        assert_eq!(refused("node=a&vmid=100&keepActive=0"), None);
        assert!(refused("node=a&vmid=100&migratedfrom=b").is_some_and(|reason| reason.contains("migratedfrom")));
    }
}
