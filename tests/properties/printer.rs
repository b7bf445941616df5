//! Prints a tree as a playbook. What the tree leaves open is settled here, so that the playbook keeps to what a dry run
//! promises: everything has one owner, nothing is read before it was changed, nothing decides on `.changed`.
//!
//! Two things keep it so. Every place that changes something has a path of its own, which holds the counters of all
//! loops around it and the name of the call, so that each execution owns what it changes. And a file that was read is
//! *settled*: no later statement edits it.

mod effects;
mod flow;
mod texts;

use std::collections::BTreeMap;

use super::language::{Playbook, Statement};

/// A playbook as text, with the world that it finds.
#[derive(Debug, Clone, Default)]
pub struct Printed {
    /// The playbook.
    pub playbook: String,
    /// A module that it imports.
    pub module: Option<String>,
    /// The files that are there, by host and path.
    pub files: BTreeMap<String, BTreeMap<String, String>>,
    /// The objects of the API that are there.
    pub objects: BTreeMap<String, serde_json::Value>,
    /// What is in it that some promise makes an exception for.
    pub has: Has,
}

/// What some promise makes an exception for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Has {
    /// A secret that is shown once.
    pub token: bool,
    /// A `catch` around changes: what a failure leads to then is the playbook's own affair.
    pub caught_change: bool,
    /// A notification that may be owed.
    pub notification: bool,
    /// Two owners of one thing.
    pub fight: bool,
}

/// What a variable holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    /// A counter, an item or a parameter: it is part of paths and never assigned.
    Fixed,
    List,
    Map,
    Outcome,
    Machine,
    Closure,
}

#[derive(Debug, Clone)]
struct Variable {
    name: String,
    kind: Kind,
}

/// A file that this playbook owns.
#[derive(Debug, Clone)]
struct File {
    host: String,
    /// The expression that gives its path.
    path: String,
    suffix: Vec<String>,
    frame: usize,
    /// Whether lines may still be added to it.
    open: bool,
    /// Whether it is owned whole, with a content.
    whole: bool,
}

/// What may stand in the body that is being printed.
#[derive(Debug, Clone, Copy, Default)]
struct Rules {
    /// It may be run again from its start: no steps, nothing that counts.
    again: bool,
    /// It is left out where nothing changed: nothing outside may depend on it.
    on_change: bool,
    /// A function: it sees what it is given.
    function: bool,
    /// It is run later, or not at all.
    later: bool,
}

struct Printer<'a> {
    source: &'a Playbook,
    lines: Vec<String>,
    depth: usize,
    functions: Vec<String>,
    module: Vec<String>,
    calls: Vec<String>,
    printed: Printed,
    variables: Vec<Variable>,
    /// Where the variables begin that can be seen, and those that can be assigned.
    visible_from: usize,
    assignable_from: usize,
    files: Vec<File>,
    hosts: Vec<String>,
    made: Vec<u8>,
    suffix: Vec<String>,
    frame: usize,
    frames: usize,
    rules: Rules,
    count: usize,
}

/// Prints a playbook. `module` is the name under which its module will be found.
pub fn print(source: &Playbook, module: &str) -> Printed {
    let mut printer = Printer {
        source,
        lines: Vec::new(),
        depth: 0,
        functions: Vec::new(),
        module: Vec::new(),
        calls: Vec::new(),
        printed: Printed::default(),
        variables: Vec::new(),
        visible_from: 0,
        assignable_from: 0,
        files: Vec::new(),
        hosts: vec!["web".to_owned(), "db".to_owned()],
        made: Vec::new(),
        suffix: Vec::new(),
        frame: 0,
        frames: 0,
        rules: Rules::default(),
        count: 0,
    };
    printer.world();
    printer.body(&source.statements);
    if source.fight {
        printer.fight();
    }
    printer.finish(module)
}

impl Printer<'_> {
    fn finish(mut self, module: &str) -> Printed {
        let mut head: Vec<String> = Vec::new();
        if !self.module.is_empty() {
            head.push(format!("import \"{module}\" as lib;"));
            self.printed.module = Some(self.module.join("\n"));
        }
        head.push("let api = world::api();".to_owned());
        for host in ["web", "db", "n1", "n2", "n3"] {
            head.push(format!("let {host} = world::host(\"{host}\");"));
        }
        head.append(&mut self.lines);
        head.append(&mut self.functions);
        self.printed.playbook = head.join("\n") + "\n";
        self.printed
    }

    /// The inputs: files and objects that the playbook only reads, and machines that may be there already.
    fn world(&mut self) {
        let inputs = self.source.inputs;
        for (index, value) in inputs.iter().take(6).enumerate() {
            let host = if index < 3 { "web" } else { "db" };
            let files = self.printed.files.entry(host.to_owned()).or_default();
            if *value > 0 {
                files.insert(format!("/in{}", index % 3), texts::word(*value).to_owned());
            }
        }
        for (index, value) in inputs[6..9].iter().enumerate().filter(|(_, value)| **value > 0) {
            let object = serde_json::json!({ "v": texts::word(*value) });
            self.printed.objects.insert(format!("/in/o{index}"), object);
        }
        for (index, value) in inputs[9..].iter().enumerate().filter(|(_, value)| **value > 2) {
            let name = format!("n{}", index + 1);
            let machine = serde_json::json!({
                "name": name, "memory": i64::from(*value) * 1024, "mac": format!("02:00:00:00:00:0{}", index + 1),
                "ip": format!("10.0.0.{}", index + 1),
            });
            self.printed.objects.insert(format!("/vms/{name}"), machine);
            let image = [("/etc/hostname", "new\n"), ("/etc/default/grub", "TIMEOUT=5\n")];
            let image = image.map(|(path, content)| (path.to_owned(), content.to_owned()));
            self.printed.files.insert(name, image.into());
        }
    }

    /// Prints a body. What it declares is gone afterwards.
    fn body(&mut self, statements: &[Statement]) {
        let (variables, hosts) = (self.variables.len(), self.hosts.len());
        self.depth += 1;
        self.statements(statements);
        self.depth -= 1;
        self.variables.truncate(variables);
        self.hosts.truncate(hosts);
    }

    fn statements(&mut self, statements: &[Statement]) {
        statements.iter().for_each(|statement| self.statement(statement));
    }

    fn line(&mut self, text: impl AsRef<str>) {
        self.lines.push(format!("{}{}", "    ".repeat(self.depth.saturating_sub(1)), text.as_ref()));
    }

    /// A number that no other thing of this playbook has.
    fn next(&mut self) -> usize {
        self.count += 1;
        self.count
    }

    fn declare(&mut self, name: impl Into<String>, kind: Kind) {
        self.variables.push(Variable { name: name.into(), kind });
    }

    /// The name of a variable of such a kind that can be seen here.
    fn pick(&self, choice: u8, kinds: &[Kind]) -> Option<String> {
        Self::choose(choice, &self.variables[self.visible_from..], kinds)
    }

    /// The same of one that may be assigned here.
    fn pick_assignable(&self, choice: u8, kind: Kind) -> Option<String> {
        if self.rules.again {
            return None;
        }
        Self::choose(choice, &self.variables[self.assignable_from.max(self.visible_from)..], &[kind])
    }

    fn choose(choice: u8, among: &[Variable], kinds: &[Kind]) -> Option<String> {
        let fitting: Vec<&Variable> = among.iter().filter(|variable| kinds.contains(&variable.kind)).collect();
        // The last ones first: they are the nearest.
        let place = fitting.len().checked_sub(1 + usize::from(choice) % fitting.len().max(1))?;
        fitting.get(place).map(|variable| variable.name.clone())
    }

    /// A text that is different each time this place is come by.
    fn suffixed(&self, stem: &str) -> String {
        if self.suffix.is_empty() {
            return format!("\"{stem}\"");
        }
        let suffix: String = self.suffix.iter().map(|name| format!(".${{{name}}}")).collect();
        format!("`{stem}{suffix}`")
    }

    /// Prints something into a text of its own: a function, a module.
    fn apart(&mut self, print: impl FnOnce(&mut Self)) -> String {
        let lines = std::mem::take(&mut self.lines);
        let depth = std::mem::replace(&mut self.depth, 1);
        print(self);
        self.depth = depth;
        std::mem::replace(&mut self.lines, lines).join("\n")
    }

    /// Prints something that is run later, or elsewhere: it owns what it changes, and edits nothing of what is around.
    fn in_frame(&mut self, rules: Rules, print: impl FnOnce(&mut Self)) {
        self.frames += 1;
        let frame = std::mem::replace(&mut self.frame, self.frames);
        let outer = std::mem::replace(&mut self.rules, rules);
        let files = self.files.len();
        print(self);
        self.files.truncate(files);
        self.rules = outer;
        self.frame = frame;
    }
}
