//! A command as a script gives it: text for the shell, or a list of words.

use rhai::Dynamic;

use crate::clients::ssh::{Command, quote};
use crate::error::{Class, Error, Result};
use crate::run::scope;
use crate::run::secret::{DOTS, Secret};
use crate::run::unknown::Unknown;
use crate::run::value::Value;
use crate::script::convert::from_dynamic;

/// A command line.
#[derive(Debug, Clone)]
pub struct Line {
    /// For the shell, secrets in clear; with the template of what is not known yet.
    clear: Secret,
    /// As people may see it.
    shown: String,
    secret: bool,
    unknowns: Vec<Unknown>,
}

impl Line {
    /// Reads a script's value.
    pub fn parse(command: &Dynamic) -> Result<Line> {
        let value = from_dynamic(command)?;
        let mut line = Building::default();
        match &value {
            Value::List(words) if words.is_empty() => return Err(refuse("an empty list")),
            // A word becomes an argument of the program, for everyone on the host to read; in a text for the shell it may
            // as well be fed to standard input.
            Value::List(words) if words.iter().any(Value::holds_secret) => return Err(shows()),
            Value::List(words) => {
                for (index, word) in words.iter().enumerate() {
                    line.push(if index == 0 { "" } else { " " });
                    line.push_value(word, &|text| quote(text))?;
                }
            }
            text => line.push_value(text, &str::to_owned)?,
        }
        if line.shown.trim().is_empty() {
            return Err(refuse("an empty text"));
        }
        let Building { clear, shown, secret, unknowns } = line;
        Ok(Line { clear: Secret::new(clear), shown, secret, unknowns })
    }

    /// What its changes are listed under. An address never holds what is not known yet: the run would list it under
    /// another.
    pub fn label(&self) -> Result<String> {
        match self.unknowns.first() {
            // Cut short only once no secret is in it, of which the cut would leave a part.
            None => Ok(Command::script(scope::clean(&self.shown)).label().to_owned()),
            Some(unknown) => Err(Error::new(Class::Script, "`run`: option `name` is missing")
                .cause(format!(
                    "the command is only known after apply ({}), so it cannot name itself",
                    unknown.origin()
                ))
                .help("say what it does: `name: \"k3s joins the cluster\"`")),
        }
    }

    /// What is about to be run, for people.
    pub fn details(&self, hidden: bool) -> Value {
        match self.unknowns.as_slice() {
            _ if hidden => Value::Secret(self.clear.clone()),
            [] => Value::text(&self.shown),
            unknowns => Value::Unknown(Unknown::join(unknowns).with_template(self.shown.as_str())),
        }
    }

    /// What is not known yet.
    pub fn unknown(&self) -> Option<Unknown> {
        (!self.unknowns.is_empty()).then(|| Unknown::join(&self.unknowns))
    }

    /// Whether a secret is in it.
    pub fn is_secret(&self) -> bool {
        self.secret
    }

    /// The text for the shell, secrets in clear.
    pub fn expose(&self) -> &str {
        self.clear.expose()
    }
}

#[derive(Default)]
struct Building {
    clear: String,
    shown: String,
    secret: bool,
    unknowns: Vec<Unknown>,
}

impl Building {
    fn push(&mut self, text: &str) {
        self.clear.push_str(text);
        self.shown.push_str(text);
    }

    fn push_value(&mut self, value: &Value, write: &dyn Fn(&str) -> String) -> Result<()> {
        match value {
            Value::Text(text) => self.push(&write(text)),
            Value::Int(number) => self.push(&number.to_string()),
            Value::Float(number) => self.push(&number.to_string()),
            Value::Secret(secret) => {
                self.secret = true;
                self.clear.push_str(&write(secret.expose()));
                self.shown.push_str(DOTS);
            }
            Value::Unknown(unknown) => {
                self.shown.push_str(&unknown.template());
                self.unknowns.push(unknown.clone());
            }
            Value::Null => return Err(refuse("()")),
            Value::Bool(truth) => return Err(refuse(&truth.to_string())),
            Value::List(_) => return Err(refuse("a list in a list")),
            Value::Map(_) => return Err(refuse("a map")),
        }
        Ok(())
    }
}

fn shows() -> Error {
    Error::new(Class::Script, "`run`: an argument is a secret, and the host's list of processes shows arguments")
        .help("hand it over by `env:` or `stdin:`, and let the program read it there")
}

fn refuse(what: &str) -> Error {
    Error::new(Class::Script, format!("`run`: {what} is no command"))
        .help("give a text for the shell, or a list of words: `h.run([\"systemctl\", \"restart\", \"k3s\"])`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::convert::to_dynamic;

    fn parse(value: Value) -> Result<Line> {
        Line::parse(&to_dynamic(&value))
    }

    #[test]
    fn words_are_quoted_and_text_is_left_to_the_shell() {
        let words = parse(Value::from(serde_json::json!(["echo", "it's", 5]))).expect("sound");
        assert_eq!(words.expose(), r"echo 'it'\''s' 5");
        assert_eq!(parse(Value::from("a | b")).expect("sound").expose(), "a | b");
    }

    #[test]
    fn a_secret_text_shows_as_dots() {
        let line = parse(Value::Secret(Secret::new("echo tiger | login"))).expect("sound");
        assert_eq!(line.label().ok().as_deref(), Some("•••"));
        assert_eq!((line.expose(), line.is_secret()), ("echo tiger | login", true));
        assert!(!format!("{line:?}").contains("tiger"));
    }

    #[test]
    fn a_secret_argument_is_refused_because_others_would_see_it() {
        let words = Value::List(vec![Value::from("login"), Value::Secret(Secret::new("tiger"))]);
        let error = parse(words).expect_err("refused");
        assert!(error.help_text().expect("helps").contains("stdin"), "{error}");
        assert!(!format!("{error:?}").contains("tiger"));
    }

    #[test]
    fn a_command_that_is_not_known_yet_needs_a_name() {
        let line = parse(Value::Unknown(Unknown::from_origin("web:token").with_template("join ‹web:token›")));
        let error = line.expect("sound").label().expect_err("refused");
        assert!(error.help_text().expect("helps").contains("name:"));
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for value in [serde_json::json!([]), serde_json::json!(" "), serde_json::json!({}), serde_json::json!([true])] {
            assert!(parse(Value::from(value.clone())).is_err(), "{value}");
        }
    }
}
