//! Statements that decide what is done, and when.

use super::{Kind, Printer, Rules};
use crate::language::{Body, Condition, Home, Statement, Text, Value};

impl Printer<'_> {
    /// Prints a statement.
    pub fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::File { host, content, drift } => self.file(*host, content, *drift),
            Statement::Absent { host, drift } => self.absent(*host, *drift),
            Statement::Line { host, fresh, text, drift } => self.line_in(*host, *fresh, text, *drift),
            Statement::Machine { name, memory } => self.machine(*name, *memory),
            Statement::Object { content, drift, absent } => self.object(content, *drift, *absent),
            Statement::Scripted { host, content, drift } => self.scripted(*host, content, *drift),
            Statement::Command { host, text, guard, declared, drift } => {
                self.command(*host, text, *guard, *declared, *drift);
            }
            Statement::Token { host } => self.token(*host),
            Statement::Let(text) => {
                let text = self.text(text);
                self.bind("v", &text, Kind::Text);
            }
            Statement::Assign(variable, text) => {
                let text = self.text(text);
                if let Some(name) = self.pick_assignable(*variable, Kind::Text) {
                    self.line(format!("{name} = {text};"));
                }
            }
            Statement::List(one, other) => {
                let list = format!("[{}, {}]", self.text(one), self.text(other));
                self.bind("l", &list, Kind::List);
            }
            Statement::Push(list, text) => {
                let text = self.text(text);
                if let Some(name) = self.pick_assignable(*list, Kind::List) {
                    self.line(format!("{name}.push({text});"));
                }
            }
            Statement::Map(one, other) => {
                let map = format!("#{{ k: {}, l: {} }}", self.text(one), self.text(other));
                self.bind("m", &map, Kind::Map);
            }
            Statement::Put(map, text) => {
                let text = self.text(text);
                if let Some(name) = self.pick_assignable(*map, Kind::Map) {
                    self.line(format!("{name}.k = {text};"));
                }
            }
            Statement::If(condition, yes, no) => self.branch(condition, yes, no),
            Statement::Switch(text, one, other) => self.switch(text, one, other),
            Statement::For(items, body) => self.for_each(*items, body),
            Statement::While(times, body) => self.while_loop(*times, body),
            Statement::Step { body, value, own_handle, leaves } => self.step(body, value, *own_handle, leaves.as_ref()),
            Statement::Parallel { body, value } => self.parallel(body, value),
            Statement::Closure { body, value } => self.closure(body, value),
            Statement::Call(choice) => self.call(*choice),
            Statement::Function { home, body, value } => self.function(*home, body, value),
            Statement::OnChange { outcome, body, declared } => self.on_change(*outcome, body, *declared),
            Statement::Wait(condition) => {
                let condition = self.condition(condition);
                let wait = format!(
                    "wait_until(#{{ what: \"it\", timeout: \"1ms\", every: \"1ms\" }}, || if {condition} {{ \"yes\" }} else {{ \"no\" }})"
                );
                self.bind("v", &wait, Kind::Text);
            }
            Statement::Retry { body, value } => self.retry(body, value),
            Statement::Try { body, throws, rescue } => self.try_catch(body, throws, rescue),
            Statement::Manual(condition) => self.manual(condition),
            Statement::Fail(condition, blocks) => {
                let (condition, number) = (self.condition(condition), self.next());
                let verb = if *blocks { "block" } else { "fail" };
                self.line(format!("if {condition} {{ {verb}(\"number {number} does not hold\") }}"));
            }
        }
    }

    fn bind(&mut self, prefix: &str, value: &str, kind: Kind) -> String {
        let name = format!("{prefix}{}", self.next());
        self.line(format!("let {name} = {value};"));
        self.declare(name.clone(), kind);
        name
    }

    fn branch(&mut self, condition: &Condition, yes: &Body, no: &Body) {
        let condition = self.condition(condition);
        self.line(format!("if {condition} {{"));
        self.body(yes);
        if !no.is_empty() {
            self.line("} else {");
            self.body(no);
        }
        self.line("}");
    }

    fn switch(&mut self, text: &Text, one: &Body, other: &Body) {
        let text = self.text(text);
        self.line(format!("switch {text} {{ \"a\" | \"10.0.0.2\" => {{"));
        self.body(one);
        self.line("} _ => {");
        self.body(other);
        self.line("} }");
    }

    /// Prints a body whose every round owns what it changes.
    fn round(&mut self, counter: &str, body: &Body) {
        self.suffix.push(counter.to_owned());
        self.body(body);
        self.suffix.pop();
    }

    fn for_each(&mut self, items: u8, body: &Body) {
        let number = self.next();
        let (item, index) = (format!("x{number}"), format!("i{number}"));
        let list = self.pick(items, &[Kind::List]);
        let (head, variables): (String, &[&str]) = match (items % 4, list) {
            (0, Some(list)) => (format!("for ({item}, {index}) in {list}"), &[&item, &index]),
            (1, _) => {
                let text = self.text(&Text::Variable(items));
                (format!("for {index} in 0..(({text}).len() % 3)"), &[&index])
            }
            (2, _) => {
                let text = self.text(&Text::Address(items));
                (format!("for ({item}, {index}) in [\"a\", {text}, \"b\"].filter(|it| it != \"a\")"), &[&item, &index])
            }
            _ => (format!("for {index} in 0..2"), &[&index]),
        };
        self.line(format!("{head} {{"));
        let before = self.variables.len();
        variables.iter().for_each(|name| self.declare(*name, Kind::Fixed));
        self.round(&index, body);
        self.variables.truncate(before);
        self.line("}");
    }

    fn while_loop(&mut self, times: u8, body: &Body) {
        let counter = format!("w{}", self.next());
        self.line(format!("let {counter} = 0;"));
        self.line(format!("while {counter} < {times} {{"));
        self.round(&counter, body);
        self.line(format!("    {counter} += 1;"));
        self.line("}");
    }

    fn step(&mut self, body: &Body, value: &Value, own_handle: bool, leaves: Option<&Condition>) {
        if self.rules.again {
            return self.statements(body);
        }
        let number = self.next();
        let id = self.suffixed(&format!("s{number}"));
        self.line(format!("let s{number} = step({id}, \"a step\", || {{"));
        let (variables, hosts) = (self.variables.len(), self.hosts.clone());
        self.depth += 1;
        if own_handle && !self.rules.function {
            self.line("let web = world::host(\"web\");");
        }
        let half = body.len() / 2;
        self.statements(&body[..half]);
        if let Some(leaves) = leaves {
            let condition = self.condition(leaves);
            self.line(format!("if {condition} {{ return \"early\" }}"));
        }
        self.statements(&body[half..]);
        let kind = self.give_back(value, leaves.is_some());
        self.depth -= 1;
        self.variables.truncate(variables);
        // A machine that was made in a step is there after it, unless the step was left before.
        if leaves.is_some() {
            self.hosts = hosts;
        }
        self.line("});");
        if let Some(kind) = kind {
            self.declare(format!("s{number}"), kind);
        }
    }

    fn give_back(&mut self, value: &Value, left_early: bool) -> Option<Kind> {
        match value {
            Value::Text(text) => {
                let text = self.text(text);
                self.line(text);
                Some(Kind::Text)
            }
            Value::Outcome(choice) if !left_early => {
                let outcome = self.pick(*choice, &[Kind::Outcome, Kind::Machine])?;
                self.line(outcome);
                Some(Kind::Outcome)
            }
            _ => {
                self.line("()");
                None
            }
        }
    }

    fn parallel(&mut self, body: &Body, value: &Text) {
        if self.rules.again {
            return self.statements(body);
        }
        let number = self.next();
        let (item, list) = (format!("p{number}"), format!("l{number}"));
        self.line(format!("let {list} = parallel([0, 1], |{item}| {{"));
        let before = self.variables.len();
        self.declare(item.clone(), Kind::Fixed);
        let rules = Rules { later: true, ..self.rules };
        self.suffix.push(item);
        self.in_frame(rules, |it| it.valued(body, value));
        self.suffix.pop();
        self.variables.truncate(before);
        self.line("});");
        self.declare(list, Kind::List);
    }

    /// A body and the value that it gives back.
    fn valued(&mut self, body: &Body, value: &Text) {
        let (variables, hosts) = (self.variables.len(), self.hosts.len());
        self.depth += 1;
        self.statements(body);
        let value = self.text(value);
        self.line(value);
        self.depth -= 1;
        self.variables.truncate(variables);
        self.hosts.truncate(hosts);
    }

    fn closure(&mut self, body: &Body, value: &Text) {
        let number = self.next();
        let (name, parameter) = (format!("c{number}"), format!("q{number}"));
        self.line(format!("let {name} = |{parameter}| {{"));
        let before = self.variables.len();
        self.declare(parameter.clone(), Kind::Fixed);
        let suffix = std::mem::replace(&mut self.suffix, vec![parameter]);
        let rules = Rules { later: true, ..self.rules };
        self.in_frame(rules, |it| it.valued(body, value));
        self.suffix = suffix;
        self.variables.truncate(before);
        self.line("};");
        self.declare(name, Kind::Closure);
        self.call(0);
    }

    /// Calls a closure or a function, under a name that no other call has.
    fn call(&mut self, choice: u8) {
        if self.rules.again || self.rules.on_change {
            return;
        }
        let number = self.next();
        let name = self.suffixed(&format!("k{number}"));
        let function = (choice % 3 == 2 && !self.rules.function).then(|| self.calls.last().cloned()).flatten();
        let call = match (function, self.pick(choice, &[Kind::Closure])) {
            (Some(function), _) => format!("{function}{name})"),
            (None, Some(closure)) => format!("{closure}.call({name})"),
            (None, None) => return,
        };
        self.bind("v", &call, Kind::Text);
    }

    fn function(&mut self, home: Home, body: &Body, value: &Text) {
        if self.rules.function || self.rules.again || self.rules.on_change {
            return self.statements(body);
        }
        let number = self.next();
        let (name, parameter) = (format!("f{number}"), format!("q{number}"));
        let (inner, outer) = match home {
            Home::ModuleClosure => (format!("|{parameter}| {{"), format!("fn {name}(web, db, api) {{")),
            _ => (format!("fn {name}(web, db, api, {parameter}) {{"), String::new()),
        };
        let (visible, assignable) = (self.visible_from, self.assignable_from);
        (self.visible_from, self.assignable_from) = (self.variables.len(), self.variables.len());
        self.declare(parameter.clone(), Kind::Fixed);
        let suffix = std::mem::replace(&mut self.suffix, vec![parameter]);
        let rules = Rules { later: true, function: true, ..Rules::default() };
        let text = self.apart(|it| {
            it.in_frame(rules, |it| {
                if !outer.is_empty() {
                    it.line(&outer);
                }
                it.line(&inner);
                it.valued(body, value);
                it.line("}");
                if !outer.is_empty() {
                    it.line("}");
                }
            });
        });
        self.suffix = suffix;
        self.variables.truncate(self.visible_from);
        (self.visible_from, self.assignable_from) = (visible, assignable);
        let call = match home {
            Home::Playbook => format!("{name}(web, db, api, "),
            Home::Module => format!("lib::{name}(web, db, api, "),
            Home::ModuleClosure => {
                let made = format!("lib::{name}(web, db, api)");
                let closure = self.bind("c", &made, Kind::Closure);
                format!("{closure}.call(")
            }
        };
        match home {
            Home::Playbook => self.functions.push(text),
            _ => self.module.push(text),
        }
        if !matches!(home, Home::ModuleClosure) {
            self.calls.push(call.clone());
        }
        let number = self.next();
        let name = self.suffixed(&format!("k{number}"));
        self.bind("v", &format!("{call}{name})"), Kind::Text);
    }

    fn on_change(&mut self, outcome: u8, body: &Body, declared: bool) {
        let Some(outcome) = self.pick(outcome, &[Kind::Outcome, Kind::Machine]).filter(|_| !self.rules.again) else {
            return self.statements(body);
        };
        self.printed.has.notification = true;
        let number = self.next();
        let host = if number.is_multiple_of(2) { "web" } else { "db" };
        let service = self.suffixed(&format!("restart r{number}"));
        self.line(format!("on_change([{outcome}], || {{"));
        let assignable = std::mem::replace(&mut self.assignable_from, self.variables.len());
        let rules = Rules { later: true, on_change: true, ..self.rules };
        self.in_frame(rules, |it| it.body(body));
        self.assignable_from = assignable;
        let provides = if declared { "#{ provides: [] }" } else { "#{ }" };
        self.line(format!("    {host}.run({service}, {provides});"));
        self.line("});");
    }

    fn retry(&mut self, body: &Body, value: &Text) {
        let name = format!("v{}", self.next());
        self.line(format!("let {name} = retry(#{{ times: 2, delay: \"1ms\" }}, || {{"));
        let outer = self.rules;
        self.rules.again = true;
        self.valued(body, value);
        self.rules = outer;
        self.line("});");
        self.declare(name, Kind::Text);
    }

    fn try_catch(&mut self, body: &Body, throws: &Condition, rescue: &Body) {
        self.printed.has.caught_change |= body.iter().any(changes);
        self.line("try {");
        let half = body.len() / 2;
        self.body(&body[..half]);
        let condition = self.condition(throws);
        self.line(format!("    if {condition} {{ throw \"caught\" }}"));
        self.body(&body[half..]);
        self.line("} catch {");
        self.body(rescue);
        self.line("}");
    }

    fn manual(&mut self, condition: &Condition) {
        if self.rules.again {
            return;
        }
        let condition = self.condition(condition);
        let number = self.next();
        let id = self.suffixed(&format!("m{number}"));
        self.line(format!("manual({id}, \"by hand\", #{{ instructions: \"do it\", verify: || {condition} }});"));
    }
}

/// Whether a statement may change something.
fn changes(statement: &Statement) -> bool {
    !matches!(
        statement,
        Statement::Let(_)
            | Statement::Assign(..)
            | Statement::List(..)
            | Statement::Push(..)
            | Statement::Map(..)
            | Statement::Put(..)
            | Statement::Fail(..)
            | Statement::Manual(_)
            | Statement::Wait(_)
    )
}
