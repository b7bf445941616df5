//! The manual, generated from what the program is made of: doc comments of functions and of option structs.

pub mod catalog;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use rhai::Engine;
use schemars::Schema;

use self::catalog::{Catalog, Function};
use crate::script::args::shape::{Field, Shape};
use crate::script::places::PathStep;
use crate::suggest::nearest;

/// The options of functions: `vm` or `Pve.vm` for a method, `docs::record` for a function of a module.
pub type Schemas = BTreeMap<&'static str, Schema>;

/// How deep options of options are shown.
const DEEPEST: usize = 3;

/// Everything that can be said about what scripts can call.
pub struct Reference<'a> {
    catalog: Catalog,
    schemas: &'a Schemas,
    definitions: String,
}

impl<'a> Reference<'a> {
    /// The reference of an engine and its options.
    pub fn new(engine: &Engine, schemas: &'a Schemas) -> Self {
        Reference {
            catalog: Catalog::from_engine(engine),
            schemas,
            definitions: engine.definitions().include_standard_packages(false).single_file(),
        }
    }

    /// What scripts can call.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The documentation of a function for a terminal, by its name (`vm`) or as it is written (`docs::table`).
    pub fn doc(&self, name: &str) -> Option<String> {
        let found: Vec<&Function> = self.documented().filter(|function| answers_to(function, name)).collect();
        let mut sections: Vec<String> = Vec::new();
        for group in grouped(found) {
            let mut text = String::new();
            for function in &group {
                let _ = writeln!(text, "{}", function.signature());
            }
            if let Some(doc) = group.iter().map(|function| &function.doc).find(|doc| !doc.is_empty()) {
                let _ = write!(text, "\n{}\n", plain_doc(doc));
            }
            if let Some(schema) = self.options(group[0]) {
                let _ = write!(text, "\nOptions\n{}", option_lines(Shape::new(schema)));
            }
            sections.push(text);
        }
        (!sections.is_empty()).then(|| sections.join("\n"))
    }

    /// What a name without documentation was probably meant to be.
    pub fn suggestion(&self, name: &str) -> Option<String> {
        let last = name.rsplit(['.', ':']).next().unwrap_or(name);
        let near = nearest(last, self.documented().map(|function| function.name.as_str()))?;
        self.documented().find(|function| function.name == near).map(Function::written)
    }

    /// The whole reference as Markdown.
    pub fn reference_markdown(&self) -> String {
        let mut text = String::from(
            "# Reference\n\nEverything a playbook can call. This page is generated from the program itself.\n",
        );
        let mut sections: BTreeMap<String, Vec<&Function>> = BTreeMap::new();
        for function in self.documented() {
            sections.entry(section(function)).or_default().push(function);
        }
        for (title, functions) in sections {
            let _ = write!(text, "\n## {title}\n");
            for group in grouped(functions) {
                self.write_markdown(&mut text, &group);
            }
        }
        text
    }

    /// Definitions for editors (`.d.rhai`).
    pub fn definitions(&self) -> String {
        let mut text = String::new();
        // Operators are written as ever; what they do with values of ours is nothing to complete.
        for line in self.definitions.lines().filter(|line| !line.trim_start().starts_with("op ")) {
            let line = definition(line);
            // Nor are the empty lines around them.
            if !(line.is_empty() && text.ends_with("\n\n")) {
                text.push_str(&line);
                text.push('\n');
            }
        }
        text
    }

    fn write_markdown(&self, text: &mut String, group: &[&Function]) {
        let _ = write!(text, "\n### `{}`\n\n```rhai\n", group[0].written());
        for function in group {
            let _ = writeln!(text, "{}", function.signature());
        }
        text.push_str("```\n");
        let mut docs: Vec<&String> = group.iter().map(|function| &function.doc).filter(|doc| !doc.is_empty()).collect();
        // Overloads may say the same.
        docs.dedup();
        for doc in docs {
            let _ = write!(text, "\n{doc}\n");
        }
        if let Some(schema) = self.options(group[0]) {
            text.push_str("\n| option | type | default | meaning |\n| --- | --- | --- | --- |\n");
            write_rows(text, "", Shape::new(schema), 1);
        }
    }

    /// What homelab brings and explains. What it brings without a word is a function of Rhai's that it made stricter.
    pub fn documented(&self) -> impl Iterator<Item = &Function> {
        let ours = || self.catalog.functions().iter().filter(|function| function.ours && function.is_callable());
        let explained: BTreeSet<String> =
            ours().filter(|function| !function.doc.is_empty()).map(Function::written).collect();
        ours().filter(move |function| explained.contains(&function.written()))
    }

    /// The options of a function.
    fn options(&self, function: &Function) -> Option<&'a Schema> {
        options_of(self.schemas, function)
    }
}

/// The options of a function among all schemas.
pub fn options_of<'a>(schemas: &'a Schemas, function: &Function) -> Option<&'a Schema> {
    let receiver = function.parameters.first().filter(|first| first.receiver);
    if let Some(receiver) = receiver {
        let typed = format!("{}.{}", receiver.kind, function.name);
        return schemas.get(typed.as_str()).or_else(|| schemas.get(function.name.as_str()));
    }
    schemas.get(function.written().as_str())
}

/// A line of the definitions without the result around what comes back.
fn definition(line: &str) -> String {
    match line.rsplit_once(" -> ") {
        Some((head, kind)) if !line.trim_start().starts_with("//") => {
            match catalog::clean_return(kind.trim_end_matches(';')).as_str() {
                "" => format!("{head};"),
                // Rhai shortens a result of anything to this.
                "EvalAltResult>>" => format!("{head} -> ?;"),
                kind => format!("{head} -> {kind};"),
            }
        }
        _ => line.to_owned(),
    }
}

fn answers_to(function: &Function, name: &str) -> bool {
    function.name == name || function.written() == name || {
        let receiver = function.parameters.first().filter(|first| first.receiver);
        receiver.is_some_and(|receiver| format!("{}.{}", receiver.kind, function.name) == name)
    }
}

/// Overloads of one function together, in order of name.
fn grouped(mut functions: Vec<&Function>) -> Vec<Vec<&Function>> {
    functions.sort_by_key(|function| (function.written(), function.parameters.len()));
    let mut groups: Vec<Vec<&Function>> = Vec::new();
    for function in functions {
        match groups.last_mut() {
            Some(group) if group[0].written() == function.written() => group.push(function),
            _ => groups.push(vec![function]),
        }
    }
    groups
}

fn section(function: &Function) -> String {
    match function.parameters.first() {
        Some(first) if first.receiver => format!("Methods of {}", first.kind),
        _ if function.module.is_empty() => "Functions".to_owned(),
        _ => format!("Module {}", function.module),
    }
}

/// A doc comment for a terminal: without the fences of its examples, which are indented instead.
fn plain_doc(doc: &str) -> String {
    let mut fenced = false;
    let mut lines = Vec::new();
    for line in doc.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            lines.push(format!("    {line}").trim_end().to_owned());
        } else {
            lines.push(line.to_owned());
        }
    }
    lines.join("\n")
}

fn option_lines(shape: Shape<'_>) -> String {
    let mut rows = Vec::new();
    option_rows(&mut rows, shape, 1);
    let width = |column: fn(&[String; 3]) -> &String| rows.iter().map(|row| column(row).chars().count()).max();
    let (names, types) = (width(|row| &row[0]).unwrap_or_default(), width(|row| &row[1]).unwrap_or_default());
    let mut text = String::new();
    for [name, kind, doc] in &rows {
        let _ = writeln!(text, "{}", format!("{name:names$}  {kind:types$}  {doc}").trim_end());
    }
    text
}

fn option_rows(rows: &mut Vec<[String; 3]>, shape: Shape<'_>, depth: usize) {
    for field in shape.fields() {
        let name = format!("{}{}", "  ".repeat(depth), field.name);
        rows.push([name, type_and_default(&field), one_line(field.doc())]);
        // Structs inside structs, but not deeper than anybody writes: a struct may contain itself.
        if depth < DEEPEST {
            option_rows(rows, nested(&field), depth + 1);
        }
    }
}

fn one_line(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn type_and_default(field: &Field<'_>) -> String {
    let kind = field.shape.short();
    match (field.required, field.default()) {
        (true, _) => format!("{kind}, required"),
        (false, Some(default)) => format!("{kind}, default {default}"),
        (false, None) => kind,
    }
}

/// The options inside an option: of a map, or of each element of a list.
fn nested<'a>(field: &Field<'a>) -> Shape<'a> {
    field.shape.at(&[PathStep::Index(0)]).unwrap_or(field.shape)
}

fn write_rows(text: &mut String, prefix: &str, shape: Shape<'_>, depth: usize) {
    for field in shape.fields() {
        let name = format!("{prefix}{}", field.name);
        let default = match (field.required, field.default()) {
            (true, _) => "required".to_owned(),
            (false, default) => default.map_or_else(String::new, |default| format!("`{default}`")),
        };
        let doc = one_line(field.doc()).replace('|', "\\|");
        let _ = writeln!(text, "| `{name}` | {} | {default} | {doc} |", field.shape.short().replace('|', "\\|"));
        if depth < DEEPEST {
            let inner = nested(&field);
            let list = field.shape.takes("array") && !field.shape.is_open();
            write_rows(text, &format!("{name}{}.", if list { "[]" } else { "" }), inner, depth + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::check::testing;

    #[test]
    fn a_functions_documentation_has_its_signature_its_text_and_its_options() {
        let (engine, schemas) = (testing::engine(), testing::schemas());
        let reference = Reference::new(&engine, &schemas);
        insta::assert_snapshot!(reference.doc("vm").unwrap(), @r#"
        pve.vm(options: map) -> Outcome

        Gives the VM exactly these settings.

        Options
          name       text, required                The name of the VM.
          memory     size, default "2GiB"          Memory.
          cores      integer                       Virtual CPU cores.
          disks      list of maps                  The disks.
            size     size, required                How large it is.
            storage  text                          Where it lies.
          bios       "seabios" or "ovmf"           How it boots.
          started    true or false, default false  Whether it runs.
        "#);
        insta::assert_snapshot!(reference.doc("docs::table").unwrap(), @"
        docs::table(file: text, table: text) -> list

        The rows of a table.
        ");
        assert_eq!(reference.doc("vmm"), None);
        assert_eq!(reference.suggestion("vmm").as_deref(), Some("pve.vm"));
    }

    #[test]
    fn the_reference_lists_every_function_of_ours_and_none_of_rhais() {
        let (engine, schemas) = (testing::engine(), testing::schemas());
        let markdown = Reference::new(&engine, &schemas).reference_markdown();
        insta::assert_snapshot!(markdown, @r#"
        # Reference

        Everything a playbook can call. This page is generated from the program itself.

        ## Functions

        ### `env`

        ```rhai
        env(name: text) -> text
        ```

        The value of an environment variable.

        ### `fail`

        ```rhai
        fail(message: text)
        ```

        Ends the playbook.

        ### `parallel`

        ```rhai
        parallel(items: list, body: closure)
        ```

        Runs the body for every item at the same time.

        ### `secret`

        ```rhai
        secret(name: text) -> text
        ```

        A secret from the environment.

        ### `step`

        ```rhai
        step(id: text, title: text, body: closure) -> any value
        ```

        A named, tracked unit of a playbook.

        ```rhai
        step("3.1", "the table is sound", || check(table));
        ```

        ## Methods of Host

        ### `host.run`

        ```rhai
        host.run(command: list) -> Outcome
        host.run(command: list, options: map) -> Outcome
        ```

        Runs a command.

        | option | type | default | meaning |
        | --- | --- | --- | --- |
        | `creates` | text |  | A file that says it was done. |
        | `unless` | text |  | A command that says it was done. |
        | `query` | true or false | `false` | Whether it only reads. |
        | `timeout` | time |  | How long it may take. |
        | `each` | closure |  | Looks at each line. |

        ## Methods of Pve

        ### `pve.vm`

        ```rhai
        pve.vm(options: map) -> Outcome
        ```

        Gives the VM exactly these settings.

        | option | type | default | meaning |
        | --- | --- | --- | --- |
        | `name` | text | required | The name of the VM. |
        | `memory` | size | `"2GiB"` | Memory. |
        | `cores` | integer |  | Virtual CPU cores. |
        | `disks` | list of maps |  | The disks. |
        | `disks[].size` | size | required | How large it is. |
        | `disks[].storage` | text |  | Where it lies. |
        | `bios` | "seabios" or "ovmf" |  | How it boots. |
        | `started` | true or false | `false` | Whether it runs. |

        ## Module docs

        ### `docs::row`

        ```rhai
        docs::row(file: text, table: text, key: text) -> map
        ```

        One row of a table.

        ### `docs::table`

        ```rhai
        docs::table(file: text, table: text) -> list
        ```

        The rows of a table.

        ## Module proxmox

        ### `proxmox::connect`

        ```rhai
        proxmox::connect() -> Pve
        ```

        Connects.

        ## Module ssh

        ### `ssh::host`

        ```rhai
        ssh::host(options: map) -> Host
        ```

        Connects.
        "#);
    }

    #[test]
    fn definitions_say_what_comes_back_without_the_result_around_it() {
        let (engine, schemas) = (testing::engine(), testing::schemas());
        let definitions = Reference::new(&engine, &schemas).definitions();
        assert!(definitions.contains("-> Outcome;"), "{definitions}");
        assert!(!definitions.contains("EvalAltResult"), "{definitions}");
    }
}
