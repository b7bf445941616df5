//! Command line options as GNU programs take them.

use crate::sim::host::process::{Process, Stop, not_simulated};

/// The options and operands of a program.
#[derive(Debug, Clone, Default)]
pub struct Options {
    flags: Vec<(char, String)>,
    /// What is not an option.
    pub operands: Vec<String>,
}

impl Options {
    /// Takes the arguments apart. `short` lists letters, those with a value followed by a colon; `long` gives long
    /// names their letter. Options may stand between operands.
    pub fn parse(process: &Process, short: &str, long: &[(&str, char)]) -> Result<Self, Stop> {
        Self::take(process, short, long, false)
    }

    /// The same, up to the first operand: for programs that start others.
    pub fn leading(process: &Process, short: &str, long: &[(&str, char)]) -> Result<Self, Stop> {
        Self::take(process, short, long, true)
    }

    fn take(process: &Process, short: &str, long: &[(&str, char)], leading: bool) -> Result<Self, Stop> {
        let mut options = Options::default();
        let mut arguments = process.operands().iter();
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                options.operands.extend(arguments.by_ref().cloned());
            } else if let Some(text) = argument.strip_prefix("--") {
                let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
                let Some((_, letter)) = long.iter().find(|(known, _)| *known == name) else {
                    return not_simulated(format!("{} --{name}", process.name()));
                };
                let value = match (takes_value(short, *letter), value) {
                    (true, None) => arguments.next().cloned().ok_or_else(|| missing(process, &format!("--{name}")))?,
                    (_, value) => value.unwrap_or_default().to_owned(),
                };
                options.flags.push((*letter, value));
            } else if argument.len() > 1 && argument.starts_with('-') {
                options.take_letters(process, short, &argument[1..], &mut arguments)?;
            } else {
                options.operands.push(argument.clone());
                if leading {
                    options.operands.extend(arguments.by_ref().cloned());
                }
            }
        }
        Ok(options)
    }

    fn take_letters<'a>(
        &mut self,
        process: &Process,
        short: &str,
        letters: &str,
        arguments: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), Stop> {
        for (index, letter) in letters.char_indices() {
            if letter == ':' || !short.contains(letter) {
                return not_simulated(format!("{} -{letter}", process.name()));
            }
            if !takes_value(short, letter) {
                self.flags.push((letter, String::new()));
                continue;
            }
            let rest = &letters[index + letter.len_utf8()..];
            let value = match rest {
                "" => arguments.next().cloned().ok_or_else(|| missing(process, &format!("-{letter}")))?,
                rest => rest.to_owned(),
            };
            self.flags.push((letter, value));
            break;
        }
        Ok(())
    }

    /// Whether an option was given.
    pub fn has(&self, letter: char) -> bool {
        self.flags.iter().any(|(given, _)| *given == letter)
    }

    /// The last of these options that was given.
    pub fn last_of(&self, letters: &str) -> Option<char> {
        self.flags.iter().rev().map(|(given, _)| *given).find(|given| letters.contains(*given))
    }

    /// The value of an option, the last one given.
    pub fn value(&self, letter: char) -> Option<&str> {
        self.flags.iter().rev().find(|(given, _)| *given == letter).map(|(_, value)| value.as_str())
    }

    /// All values of an option.
    pub fn values(&self, letter: char) -> Vec<&str> {
        self.flags.iter().filter(|(given, _)| *given == letter).map(|(_, value)| value.as_str()).collect()
    }

    /// The operands, or standard input when there are none.
    pub fn inputs(&self) -> Vec<String> {
        if self.operands.is_empty() { vec!["-".to_owned()] } else { self.operands.clone() }
    }

    /// The operands, of which there must be one.
    pub fn required(&self) -> Result<&[String], Stop> {
        if self.operands.is_empty() { Err(Stop::Fail(1, "missing operand".to_owned())) } else { Ok(&self.operands) }
    }
}

fn takes_value(short: &str, letter: char) -> bool {
    short.split_once(letter).is_some_and(|(_, rest)| rest.starts_with(':'))
}

fn missing(process: &Process, option: &str) -> Stop {
    Stop::Fail(
        2,
        format!(
            "option requires an argument -- '{}'\nTry '{} --help' for more information.",
            option.trim_start_matches('-'),
            process.name()
        ),
    )
}
