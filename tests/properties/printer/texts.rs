//! Texts and conditions.

use super::{Kind, Printer};
use crate::language::{Condition, Place, Text};

/// The words that texts are made of.
pub fn word(choice: u8) -> &'static str {
    ["a", "b", "10.0", "x", "none", "old"][usize::from(choice) % 6]
}

impl Printer<'_> {
    /// An expression that gives a text.
    pub fn text(&mut self, text: &Text) -> String {
        match text {
            Text::Word(choice) => format!("\"{}\"", word(*choice)),
            Text::Variable(choice) => self.variable(*choice),
            Text::Read(place) => self.read(place),
            Text::Query(place) => {
                let (host, path) = self.place(place);
                format!("`${{{host}.run(\"cat \" + {path}, #{{ query: true }}).stdout}}`")
            }
            Text::Address(choice) => match self.pick(*choice, &[Kind::Machine]) {
                Some(machine) => format!("{machine}.after.{}", if choice % 3 == 0 { "mac" } else { "ip" }),
                None => format!("\"{}\"", word(*choice)),
            },
            Text::Object(number) => format!("(api.get(\"/in/o{number}\") ?? #{{ v: \"none\" }}).v"),
            Text::Item(choice) => match self.pick(*choice, &[Kind::List]) {
                Some(list) => format!("{list}[0]"),
                None => self.variable(*choice),
            },
            Text::Field(choice) => match self.pick(*choice, &[Kind::Map]) {
                Some(map) => format!("{map}.{}", if choice % 2 == 0 { "k" } else { "l" }),
                None => self.variable(*choice),
            },
            Text::Join(left, right) => self.join(left, right),
            Text::Upper(text) => format!("({}).to_upper()", self.text(text)),
            Text::First(text) => format!("({}).split(\".\")[0]", self.text(text)),
            Text::Choice(condition, yes, no) => {
                let condition = self.condition(condition);
                format!("if {condition} {{ {} }} else {{ {} }}", self.text(yes), self.text(no))
            }
            Text::Match(subject, hit, miss) => {
                let subject = self.text(subject);
                let (hit, miss) = (self.text(hit), self.text(miss));
                format!("switch {subject} {{ \"a\" | \"10.0.0.1\" => {hit}, _ => {miss} }}")
            }
        }
    }

    fn variable(&self, choice: u8) -> String {
        match self.pick(choice, &[Kind::Text, Kind::Fixed]) {
            // A counter is a number.
            Some(name) => format!("`${{{name}}}`"),
            None => format!("\"{}\"", word(choice)),
        }
    }

    fn join(&mut self, left: &Text, right: &Text) -> String {
        let (left, right) = (self.text(left), self.text(right));
        let parts =
            [&left, &right].map(|part| if part.starts_with(['i', 's']) { format!("({part})") } else { part.clone() });
        if left.len() % 2 == 0 {
            return format!("({} + \"-\" + {})", parts[0], parts[1]);
        }
        format!("`${{{left}}}-${{{right}}}`")
    }

    fn read(&mut self, place: &Place) -> String {
        let (host, path) = self.place(place);
        match place.file % 3 {
            0 => format!("({host}.read({path}) ?? \"none\")"),
            _ => format!("`${{{host}.read({path})}}`"),
        }
    }

    /// A host and the path of a file there. Whoever reads it settles it.
    fn place(&mut self, place: &Place) -> (String, String) {
        let host = self.host(place.host);
        let input = if host.starts_with('n') {
            ["\"/etc/hostname\"", "\"/etc/default/grub\"", "\"/opt/x\""][usize::from(place.file) % 3].to_owned()
        } else {
            format!("\"/in{}\"", place.file % 3)
        };
        let (suffix, frame, function) = (self.suffix.clone(), self.frame, self.rules.function);
        let mut own: Vec<_> = self
            .files
            .iter_mut()
            .filter(|file| file.host == host && suffix.starts_with(&file.suffix))
            .filter(|file| file.frame == frame || !function && file.suffix.is_empty())
            .collect();
        let choice = usize::from(place.file / 3) % (own.len() + 1);
        let Some(file) = own.len().checked_sub(choice).and_then(|place| own.get_mut(place)) else {
            return (host, input);
        };
        file.open = false;
        (host, file.path.clone())
    }

    /// A host that is there.
    pub fn host(&self, choice: u8) -> String {
        let hosts = if self.rules.function { &self.hosts[..2] } else { &self.hosts[..] };
        hosts[usize::from(choice) % hosts.len()].clone()
    }

    /// An expression that gives yes or no, in parentheses.
    pub fn condition(&mut self, condition: &Condition) -> String {
        let inner = match condition {
            Condition::Known(truth) => truth.to_string(),
            Condition::Same(left, right) => {
                let (left, right) = (self.text(left), self.text(right));
                format!("({left}) == ({right})")
            }
            Condition::Contains(text, choice) => format!("({}).contains(\"{}\")", self.text(text), word(*choice)),
            Condition::Longer(text, length) => format!("({}).len() > {length}", self.text(text)),
            Condition::Exists(place) => {
                let (host, path) = self.place(place);
                format!("{host}.exists({path})")
            }
            Condition::Not(inner) => format!("!{}", self.condition(inner)),
            Condition::And(left, right) => format!("{} && {}", self.condition(left), self.condition(right)),
            Condition::Or(left, right) => format!("{} || {}", self.condition(left), self.condition(right)),
        };
        format!("({inner})")
    }
}
