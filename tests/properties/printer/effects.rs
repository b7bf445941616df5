//! Statements that change something. Each place that does has a thing of its own.

use super::{File, Kind, Printer, texts::word};
use crate::language::Text;

impl Printer<'_> {
    /// Takes a path of its own on a host: the expression that gives it. `drift` says what is there already.
    fn own(&mut self, host: &str, drift: Option<&str>) -> (String, usize) {
        let number = self.next();
        let stem = format!("/f{number}");
        if let Some(content) = drift {
            self.plant(host, &stem, content);
        }
        (self.suffixed(&stem), number)
    }

    /// Puts a file into the world. In a loop it is that of the first round.
    fn plant(&mut self, host: &str, stem: &str, content: &str) {
        let path = match self.suffix.len() {
            0 => stem.to_owned(),
            1 => format!("{stem}.0"),
            _ => return,
        };
        if let Some(files) = self.printed.files.get_mut(host) {
            files.insert(path, content.to_owned());
        }
    }

    fn owned(&mut self, host: &str, path: &str, open: bool, whole: bool) {
        let (host, path, suffix, frame) = (host.to_owned(), path.to_owned(), self.suffix.clone(), self.frame);
        self.files.push(File { host, path, suffix, frame, open, whole });
    }

    fn drifted(drift: u8, text: &Text) -> Option<String> {
        match (drift, text) {
            (1, _) => Some("drifted".to_owned()),
            (2, Text::Word(choice)) => Some(word(*choice).to_owned()),
            _ => None,
        }
    }

    /// A file with a content.
    pub fn file(&mut self, host: u8, content: &Text, drift: u8) {
        let host = self.host(host);
        let content_text = self.text(content);
        let (path, number) = self.own(&host, Self::drifted(drift, content).as_deref());
        self.line(format!("let o{number} = {host}.file(#{{ path: {path}, content: {content_text} }});"));
        self.owned(&host, &path, false, true);
        self.declare(format!("o{number}"), Kind::Outcome);
    }

    /// A file that must not be there.
    pub fn absent(&mut self, host: u8, drift: u8) {
        let host = self.host(host);
        let (path, number) = self.own(&host, (drift > 1).then_some("drifted"));
        self.line(format!("let o{number} = {host}.file(#{{ path: {path}, absent: true }});"));
        self.owned(&host, &path, false, false);
        self.declare(format!("o{number}"), Kind::Outcome);
    }

    /// A line in a file that has other lines, or in one of its own.
    pub fn line_in(&mut self, host: u8, fresh: bool, text: &Text, drift: u8) {
        // A line is one line, also where its text was read from a file of several.
        let line = format!("({}).split(\"\\n\")[0]", self.text(text));
        let open = |file: &&mut File| {
            file.open && file.frame == self.frame && file.suffix == self.suffix && self.hosts.contains(&file.host)
        };
        let shared = self.files.iter_mut().rfind(open).filter(|_| !fresh);
        let (host, path) = match shared.map(|file| (file.host.clone(), file.path.clone())) {
            Some(shared) => shared,
            None => {
                let host = self.host(host);
                let (path, _) = self.own(&host, [None, Some("k=1\n"), Some("other\n"), None][usize::from(drift % 4)]);
                self.owned(&host, &path, true, false);
                (host, path)
            }
        };
        let number = self.next();
        self.line(format!(
            "let o{number} = {host}.line(#{{ path: {path}, key: \"k{number}=\", line: `k{number}=${{{line}}}` }});"
        ));
        self.declare(format!("o{number}"), Kind::Outcome);
    }

    /// A machine, with the host that it brings.
    pub fn machine(&mut self, name: u8, memory: u8) {
        let name = name + 1;
        let elsewhere = self.rules.later || self.rules.function || self.rules.on_change || !self.suffix.is_empty();
        if elsewhere || self.made.contains(&name) {
            return self.file(name, &Text::Word(memory), name);
        }
        self.made.push(name);
        let number = self.next();
        let memory = ["", ", memory: \"8GiB\"", ", memory: 4096"][usize::from(memory % 3)];
        self.line(format!("let vm{number} = api.vm(#{{ name: \"n{name}\"{memory} }});"));
        self.declare(format!("vm{number}"), Kind::Machine);
        self.hosts.push(format!("n{name}"));
    }

    /// An object of the API, as a resource written in Rhai.
    pub fn object(&mut self, content: &Text, drift: u8, absent: bool) {
        let text = self.text(content);
        let number = self.next();
        let path = self.suffixed(&format!("/obj/{number}"));
        let there = [None, Some("drifted"), Some("a"), None][usize::from(drift % 4)];
        if let Some(there) = there.filter(|_| self.suffix.is_empty()) {
            let object = serde_json::json!({ "v": there, "extra": 1 });
            self.printed.objects.insert(format!("/obj/{number}"), object);
        }
        let want = if absent { "()".to_owned() } else { format!("#{{ v: {text} }}") };
        let address = self.suffixed(&format!("obj:{number}"));
        self.line(format!("let o{number} = ensure(#{{ address: {address}, read: || api.get({path}), want: {want},"));
        self.line(format!(
            "    create: |w| api.put({path}, w), update: |h, w| api.put({path}, w), delete: |h| api.remove({path}) }});"
        ));
        self.declare(format!("o{number}"), Kind::Outcome);
    }

    /// A file that commands bring about, as a resource written in Rhai.
    pub fn scripted(&mut self, host: u8, content: &Text, drift: u8) {
        let host = self.host(host);
        let text = self.text(content);
        let (path, number) = self.own(&host, Self::drifted(drift, content).as_deref());
        let address = self.suffixed(&format!("scripted:{number}"));
        let read = format!("|| if {host}.exists({path}) {{ #{{ text: {host}.read({path}) }} }}");
        let set = format!("{host}.run(\"set \" + {path} + \" \" + w.text)");
        self.line(format!("let o{number} = ensure(#{{ address: {address}, read: {read},"));
        self.line(format!("    want: #{{ text: {text} }}, create: |w| {set}, update: |h, w| {set} }});"));
        self.owned(&host, &path, false, false);
        self.declare(format!("o{number}"), Kind::Outcome);
    }

    /// A command with a guard.
    pub fn command(&mut self, host: u8, text: &Text, guard: u8, declared: bool, drift: u8) {
        let host = self.host(host);
        let text = self.text(text);
        let (path, number) = self.own(&host, (drift == 1).then_some("drifted"));
        let guard = match guard % 3 {
            0 => format!("creates: {path}"),
            1 => format!("unless: \"test \" + {path}"),
            _ => format!("only_if: \"missing \" + {path}"),
        };
        let provides = if declared { format!(", provides: [{path}]") } else { String::new() };
        self.line(format!(
            "let o{number} = {host}.run(\"set \" + {path} + \" \" + {}, #{{ {guard}{provides} }});",
            in_parentheses(&text)
        ));
        self.owned(&host, &path, false, false);
        self.declare(format!("o{number}"), Kind::Outcome);
    }

    /// A token, and a file that keeps the secret that is shown once.
    pub fn token(&mut self, host: u8) {
        self.printed.has.token = true;
        let host = self.host(host);
        let (path, number) = self.own(&host, None);
        let name = self.suffixed(&format!("t{number}"));
        self.line(format!("let o{number} = api.token(#{{ name: {name} }});"));
        self.line(format!("{host}.file(#{{ path: {path}, content: `secret=${{o{number}.after.secret}}` }});"));
        self.declare(format!("o{number}"), Kind::Outcome);
    }

    /// Wants a thing that has an owner in another way.
    pub fn fight(&mut self) {
        let owned = self.files.iter().find(|file| file.whole && file.suffix.is_empty() && file.host != "n1");
        let Some(file) = owned.filter(|file| !file.host.starts_with('n')).cloned() else { return };
        self.printed.has.fight = true;
        self.line(format!("{}.file(#{{ path: {}, content: \"otherwise\" }});", file.host, file.path));
    }
}

fn in_parentheses(text: &str) -> String {
    format!("({text})")
}
