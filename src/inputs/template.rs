//! Templates in the language of Jinja. A name that nobody gave a value is an error, at its place in the template.
//!
//! A line that holds nothing but a block tag leaves no empty line behind, and nothing is escaped: templates are
//! configuration files, not web pages. Maps are walked in the order of their keys.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};
use serde_json::Value;

use crate::error::{Class, Error, Result};
use crate::inputs::text::Text;
use crate::suggest;

/// Where templates come from: the text of a name, `None` when there is none.
pub type Source = Arc<dyn Fn(&str) -> Result<Option<String>> + Send + Sync>;

/// The files of a folder. A name cannot lead out of it.
pub fn folder(root: impl Into<PathBuf>) -> Source {
    let root = root.into();
    Arc::new(move |name| {
        if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            let error = Error::new(Class::InputMissing, format!("{name}: leads out of the folder of the templates"));
            return Err(error.help("name it by its path below the project"));
        }
        Ok(Text::load_optional(&root, name)?.map(|text| text.text().to_string()))
    })
}

/// Renders the template of a name with a map of values. Templates that it includes come from the same source.
pub fn render(source: &Source, name: &str, values: &Value) -> Result<String> {
    if source(name)?.is_none() {
        return Err(Error::new(Class::InputMissing, format!("{name}: no such template"))
            .help("name it by its path below the project, as in `templates/motd.j2`"));
    }
    let environment = environment(source.clone())?;
    let rendered = environment.get_template(name).and_then(|template| template.render(template_value(values)));
    rendered.map_err(|error| refused(name, &error, values))
}

fn environment(source: Source) -> Result<Environment<'static>> {
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    let mut environment = Environment::new();
    environment.set_syntax(syntax.map_err(|error| Error::new(Class::Bug, "the syntax of templates").cause(error))?);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    // Without it, errors do not know their place.
    environment.set_debug(true);
    environment.set_loader(move |name| {
        source(name).map_err(|error| minijinja::Error::new(ErrorKind::InvalidOperation, error.to_string()))
    });
    Ok(environment)
}

fn template_value(value: &Value) -> minijinja::Value {
    match value {
        Value::Null => minijinja::Value::from(()),
        Value::Bool(truth) => (*truth).into(),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), ..) => number.into(),
            (_, Some(number), _) => number.into(),
            (.., number) => number.into(),
        },
        Value::String(text) => text.into(),
        Value::Array(items) => items.iter().map(template_value).collect::<Vec<_>>().into(),
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.clone(), template_value(value))).collect::<BTreeMap<_, _>>().into()
        }
    }
}

/// The error of the innermost template: the outer ones only say that they included it.
fn refused(name: &str, error: &minijinja::Error, values: &Value) -> Error {
    let mut innermost = error;
    while let Some(inner) = std::error::Error::source(innermost).and_then(|error| error.downcast_ref()) {
        innermost = inner;
    }
    let name = innermost.name().unwrap_or(name);
    let place = innermost.line().map_or(name.to_string(), |line| format!("{name} line {line}"));
    let what = innermost.detail().map_or_else(|| innermost.kind().to_string(), str::to_string);
    let mut refused = Error::new(Class::InputMissing, format!("{place}: {what}"));
    if let (Some(text), Some(range)) = (innermost.template_source(), innermost.range()) {
        let text = Text::new(name, text);
        let label = text.label(range, innermost.kind().to_string());
        if let (ErrorKind::UndefinedError, Value::Object(values)) = (innermost.kind(), values) {
            let asked = &label.text[label.span.clone()];
            let first = asked.split(['.', '[', '|', ' ']).next().unwrap_or_default();
            if !values.contains_key(first) {
                refused = refused.help(suggest::help(first, "values", values.keys().map(String::as_str)));
            }
        }
        refused = refused.at(label);
    }
    refused
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn source(templates: &'static [(&'static str, &'static str)]) -> Source {
        Arc::new(|name| Ok(templates.iter().find(|(key, _)| *key == name).map(|(_, text)| text.to_string())))
    }

    fn rendered(text: &'static str, values: Value) -> Result<String> {
        let templates = Vec::from([("x.j2", text)]);
        let source: Source = Arc::new(move |name| Ok((name == "x.j2").then(|| templates[0].1.to_string())));
        render(&source, "x.j2", &values)
    }

    #[test]
    fn blocks_on_lines_of_their_own_leave_no_trace() {
        let text = "servers:\n{% for ip in ips %}\n  - {{ ip }}\n{% endfor %}\nn: {{ n + 1 }} <&>\n";
        let values = json!({ "ips": ["10.0.0.1", "10.0.0.2"], "n": 2 });
        assert_eq!(rendered(text, values).unwrap(), "servers:\n  - 10.0.0.1\n  - 10.0.0.2\nn: 3 <&>\n");
    }

    #[test]
    fn a_name_without_a_value_is_an_error_at_its_place() {
        let error = rendered("a\nb {{ adress }} c\n", json!({ "address": 1 })).unwrap_err();
        assert_eq!(error.class(), Class::InputMissing);
        assert!(error.message().starts_with("x.j2 line 2: "), "{error}");
        let label = &error.labels()[0];
        assert_eq!((label.file.as_str(), &label.text[label.span.clone()]), ("x.j2", "adress"));
        assert_eq!(error.help_text(), Some("did you mean `address`? values: address"));
    }

    #[test]
    fn a_member_without_a_value_is_an_error_too() {
        let error = rendered("{{ vm.name }}", json!({ "vm": {} })).unwrap_err();
        let label = &error.labels()[0];
        assert_eq!(&label.text[label.span.clone()], "vm.name");
    }

    #[test]
    fn an_error_of_the_language_is_an_error_at_its_place() {
        let error = rendered("fine\n{% if %}\n", json!({})).unwrap_err();
        assert!(error.message().starts_with("x.j2 line 2: "), "{error}");
        assert!(error.labels()[0].span.start >= 5);
    }

    #[test]
    fn an_error_in_an_included_template_points_into_that_one() {
        let source = source(&[("a.j2", "{% include 'b.j2' %}"), ("b.j2", "\n{{ missing }}")]);
        let error = render(&source, "a.j2", &json!({})).unwrap_err();
        assert!(error.message().starts_with("b.j2 line 2: "), "{error}");
        assert_eq!(error.labels()[0].file, "b.j2");
    }

    #[test]
    fn a_name_cannot_lead_out_of_the_folder() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a.j2"), "{% include '../b.j2' %}").unwrap();
        let source = folder(root.path());
        let error = render(&source, "a.j2", &json!({})).unwrap_err();
        assert!(error.to_string().contains("leads out of the folder"), "{error}");
        assert!(render(&source, "/etc/hostname", &json!({})).is_err());
        assert_eq!(render(&source, "c.j2", &json!({})).unwrap_err().message(), "c.j2: no such template");
    }
}
