//! `homelab doc`: the manual of what playbooks can call.

use std::collections::BTreeMap;

use super::print;
use crate::error::{Class, Error, Result, exit};
use crate::playbook::engine::{self, EngineOptions};
use crate::playbook::reference::Reference;
use crate::playbook::reference::catalog::Function;
use crate::primitives;

/// What is looked up.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// A function (`step`, `docs::table`), a method (`pve.vm`) or a module (`docs`) [default: an overview of everything]
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Prints the whole reference as Markdown: docs/reference.md
    #[arg(long, conflicts_with_all = ["name", "definitions"])]
    pub markdown: bool,
    /// Prints definitions for editors (.d.rhai)
    #[arg(long, conflicts_with = "name")]
    pub definitions: bool,
}

/// Runs `homelab doc`.
pub fn run(args: &Args) -> Result<u8> {
    let engine = engine::build(EngineOptions { register: &[primitives::register], ..EngineOptions::default() });
    let schemas = primitives::schemas();
    let reference = Reference::new(&engine, &schemas);
    let text = match &args.name {
        Some(name) => one(&reference, name)?,
        None if args.markdown => reference.reference_markdown(),
        None if args.definitions => reference.definitions(),
        None => overview(sections(&reference)) + "\nhomelab doc NAME says more about each.\n",
    };
    print::text(&text)?;
    Ok(exit::DONE)
}

fn one(reference: &Reference<'_>, name: &str) -> Result<String> {
    if let Some(text) = reference.doc(name) {
        return Ok(text);
    }
    let mut sections = sections(reference);
    sections.retain(|title, _| title.strip_suffix("::").unwrap_or(title).eq_ignore_ascii_case(name));
    if !sections.is_empty() {
        return Ok(overview(sections));
    }
    let error = Error::new(Class::Usage, format!("{name}: nothing of that name can be called"));
    Err(match reference.suggestion(name) {
        Some(near) => error.help(format!("did you mean `{near}`? `homelab doc` lists everything")),
        None => error.help("`homelab doc` lists everything"),
    })
}

/// Signatures and first sentences: of functions by their module, as in `docs::`, of methods by what they are called on.
type Sections = BTreeMap<String, BTreeMap<String, String>>;

fn sections(reference: &Reference<'_>) -> Sections {
    let mut sections = Sections::new();
    for function in reference.documented() {
        let line = sections.entry(section(function)).or_default().entry(function.written()).or_default();
        // Overloads may leave the documentation to one of them.
        if line.is_empty() {
            *line = summary(&function.doc);
        }
    }
    sections
}

fn section(function: &Function) -> String {
    match function.parameters.first() {
        Some(first) if first.receiver => first.kind.clone(),
        _ if function.module.is_empty() => String::new(),
        _ => format!("{}::", function.module),
    }
}

fn summary(doc: &str) -> String {
    let paragraph: Vec<&str> = doc.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let paragraph = paragraph.join(" ");
    match paragraph.split_once(". ") {
        Some((first, _)) => format!("{first}."),
        None => paragraph,
    }
}

fn overview(sections: Sections) -> String {
    let width = sections.values().flat_map(BTreeMap::keys).map(String::len).max().unwrap_or_default();
    let mut blocks = Vec::new();
    for (title, functions) in sections {
        let mut block = match title.as_str() {
            "" => "Functions\n".to_owned(),
            module if module.ends_with("::") => format!("Module {}\n", module.trim_end_matches(':')),
            kind => format!("Methods of {kind}\n"),
        };
        for (name, summary) in functions {
            block.push_str(format!("  {name:width$}  {summary}").trim_end());
            block.push('\n');
        }
        blocks.push(block);
    }
    blocks.join("\n")
}
