//! Calls of functions that do not exist, or with the wrong number of arguments.

use std::collections::HashSet;

use rhai::{AST, Expr, FnAccess, Position, ScriptFuncDef, Stmt};

use super::Sheet;
use crate::error::Class;
use crate::playbook::report::words::{self, Scene};
use crate::script::places::nodes::{self, Call, Node};
use crate::suggest::nearest;

/// What Rhai's evaluator brings itself, in any number of arguments.
const BUILT_IN: [&str; 12] = [
    "call",
    "curry",
    "Fn",
    "type_of",
    "is_def_fn",
    "is_def_var",
    "is_shared",
    "print",
    "debug",
    "eval",
    "exit",
    "this",
];

/// Checks one call.
pub fn check(sheet: &mut Sheet<'_>, call: &Call<'_>) {
    if call.node.is_operator_call() {
        return;
    }
    if call.method {
        check_method(sheet, call);
    } else if call.node.namespace.is_empty() {
        check_function(sheet, call);
    } else {
        check_in_module(sheet, call);
    }
}

fn check_function(sheet: &mut Sheet<'_>, call: &Call<'_>) {
    let (name, given) = (call.name(), call.node.args.len());
    // A variable may hold a closure.
    if BUILT_IN.contains(&name) || sheet.variables.contains(name) {
        return;
    }
    let own = nodes::functions(&sheet.source.ast);
    let own: Vec<Signature> =
        own.into_iter().filter(|function| function.name == name).map(Signature::of_script).collect();
    let native = sheet.checker.catalog.named("", name);
    let all: Vec<Signature> = own
        .into_iter()
        .chain(native.map(|function| Signature { count: function.parameters.len(), text: function.signature() }))
        .collect();
    judge(sheet, call, given, &all, "");
}

fn check_method(sheet: &mut Sheet<'_>, call: &Call<'_>) {
    let (name, given) = (call.name(), call.node.args.len());
    if name == "type_of" {
        let error = sheet
            .error("`.type_of()` answers even for a value that is not known yet, and the dry run would believe it")
            .help("write `type_of(value)`");
        return sheet.find("method-type-of", call.position, "the method form", error);
    }
    if BUILT_IN.contains(&name) || is_field(sheet, name) {
        return;
    }
    let own: Vec<&ScriptFuncDef> =
        nodes::functions(&sheet.source.ast).into_iter().filter(|function| function.name == name).collect();
    // What a method is called on is the first parameter of a native function, and none of a scripted one.
    let native = sheet.checker.catalog.functions().iter().filter(|function| function.name == name);
    let native: Vec<Signature> = native
        .filter(|function| !function.parameters.is_empty())
        .map(|function| Signature { count: function.parameters.len() - 1, text: function.signature() })
        .collect();
    let takes_its_place = own.iter().any(|function| function.params.len() == given && !uses_this(sheet, function));
    if takes_its_place && native.iter().any(|signature| signature.count == given) {
        let error = sheet
            .error(format!(
                "this calls the function `{name}` of this file, which knows nothing of what stands before the dot"
            ))
            .help(format!(
                "give the function another name: as long as it is called `{name}`, the method cannot be reached"
            ));
        return sheet.find("hidden-method", call.position, "the file's own function", error);
    }
    let all: Vec<Signature> = own.into_iter().map(Signature::of_script).chain(native).collect();
    judge(sheet, call, given, &all, "");
}

/// Whether a function is made to be called as a method.
fn uses_this(sheet: &Sheet<'_>, function: &ScriptFuncDef) -> bool {
    let mut uses = false;
    for statement in function.body.iter() {
        nodes::visit_node(&sheet.source.ast, Node::Stmt(statement), &mut |node| {
            uses |= matches!(node, Node::Expr(Expr::ThisPtr(..)));
        });
    }
    uses
}

fn check_in_module(sheet: &mut Sheet<'_>, call: &Call<'_>) {
    let (namespace, name) = (call.namespace(), call.name());
    if namespace == "global" {
        return;
    }
    let Some(target) = sheet.imports.get(&namespace) else {
        return check_in_native_module(sheet, call, &namespace);
    };
    // Where the module does not exist, the import says so; where its path is computed, nothing is known.
    let target = target.clone();
    let Some(module) = target.and_then(|target| sheet.checker.places.get(&target)) else { return };
    let functions = nodes::functions(&module.ast);
    let public = || functions.iter().filter(|function| function.access == FnAccess::Public);
    let all: Vec<Signature> =
        public().filter(|function| function.name == name).map(|function| Signature::of_script(function)).collect();
    if !all.is_empty() {
        return judge(sheet, call, call.node.args.len(), &all, &namespace);
    }
    let error = sheet.error(format!("there is no function `{namespace}::{name}`"));
    let private = functions.iter().any(|function| function.name == name);
    let error = match nearest(name, public().map(|function| function.name.as_str())) {
        _ if private => error.help(format!("`{name}` is private in {}: take `private` away there", module.name)),
        Some(near) => error.help(format!("did you mean `{namespace}::{near}`?")),
        None => error.help(format!("{} has: {}", module.name, listed(public().map(|function| function.name.as_str())))),
    };
    sheet.find("unknown-function", call.position, "this call", error);
}

fn check_in_native_module(sheet: &mut Sheet<'_>, call: &Call<'_>, namespace: &str) {
    if !sheet.checker.catalog.modules().iter().any(|module| module == namespace) {
        let aliases = sheet.imports.keys().map(String::as_str);
        let known = aliases.chain(sheet.checker.catalog.modules().iter().map(String::as_str));
        let error = sheet.error(format!("there is no module `{namespace}`"));
        let error = match nearest(namespace, known) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error.help(format!("import it first: `import \"std/{namespace}\" as {namespace};`")),
        };
        return sheet.find("unknown-module", call.start(), "not known here", error);
    }
    let native = sheet.checker.catalog.named(namespace, call.name());
    let all: Vec<Signature> =
        native.map(|function| Signature { count: function.parameters.len(), text: function.signature() }).collect();
    judge(sheet, call, call.node.args.len(), &all, namespace);
}

/// An import of a module that does not exist, cannot be read, or acts.
pub fn check_import(sheet: &mut Sheet<'_>, path: &Expr) {
    let Expr::StringConstant(path, at) = path else { return };
    match (sheet.checker.resolve)(&sheet.source.name, path) {
        Ok(name) if is_circle(sheet, &name, *at) => {}
        Ok(name) => check_declares(sheet, &name, *at),
        Err(error) if error.class() == Class::InputMissing => sheet.find("unknown-module", *at, "imported here", error),
        // A text that does not compile is a finding of its own.
        Err(error) if !error.labels().is_empty() => {}
        Err(_) => {
            let error = words::unknown_module(path, &scene(sheet, *at));
            sheet.find("unknown-module", *at, "no such module", error);
        }
    }
}

/// Modules that import each other could never be loaded. Of a circle one import is told: that of the first by name.
fn is_circle(sheet: &mut Sheet<'_>, module: &str, at: Position) -> bool {
    let Some(circle) = sheet.checker.way(module, &sheet.source.name) else { return false };
    if circle.iter().any(|name| *name < sheet.source.name) {
        return true;
    }
    let whole = [std::slice::from_ref(&sheet.source.name), &circle].concat().join(" → ");
    let error = sheet
        .error(format!("{}: it imports itself", sheet.source.name))
        .cause(whole)
        .help("move what both need into a module of its own");
    sheet.find("import-cycle", at, "leads back here", error);
    true
}

/// A module declares and does not act: what it did would belong to no step, and happen each time that it is imported.
fn check_declares(sheet: &mut Sheet<'_>, module: &str, at: Position) {
    let Some(module) = sheet.checker.places.get(module) else { return };
    let declares =
        |statement: &&Stmt| matches!(statement, Stmt::Var(..) | Stmt::Import(..) | Stmt::Export(..) | Stmt::Noop(..));
    let Some(acting) = module.ast.statements().iter().find(|statement| !declares(statement)) else { return };
    let error = sheet
        .error(format!("{} acts when it is imported", module.name))
        .help("put what it does into a function, and call that in a step of the playbook");
    let before = sheet.findings.len();
    sheet.find("module-acts", at, "imported here", error);
    let place = module.span(acting.position()).map(|span| module.label(span, "carried out by every import"));
    if let (Some(place), Some(finding)) = (place, sheet.findings.get_mut(before)) {
        finding.error = finding.error.clone().at(place);
    }
}

/// How a function can be called.
struct Signature {
    count: usize,
    text: String,
}

impl Signature {
    fn of_script(function: &ScriptFuncDef) -> Self {
        let parameters: Vec<&str> = function.params.iter().map(|name| name.as_str()).collect();
        Signature { count: parameters.len(), text: format!("{}({})", function.name, parameters.join(", ")) }
    }
}

/// Compares a call with what can be called.
fn judge(sheet: &mut Sheet<'_>, call: &Call<'_>, given: usize, known: &[Signature], module: &str) {
    if known.iter().any(|signature| signature.count == given) {
        return;
    }
    if known.is_empty() {
        let error = words::missing_function(module, call.name(), &scene(sheet, call.position));
        return sheet.find("unknown-function", call.position, "this call", error);
    }
    let mut signatures: Vec<String> = known.iter().map(|signature| format!("`{}`", signature.text)).collect();
    signatures.dedup();
    signatures.truncate(4);
    let error = sheet.error(words::wrong_count(call.name(), given)).help(format!("it is {}", signatures.join(" or ")));
    sheet.find("wrong-arguments", call.position, "this call", error);
}

fn scene<'a>(sheet: &Sheet<'a>, position: Position) -> Scene<'a> {
    Scene { places: sheet.checker.places, catalog: sheet.checker.catalog, source: &sheet.source.name, position }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// The names of all variables and parameters.
pub fn variables(ast: &AST) -> HashSet<&str> {
    let mut names: HashSet<&str> =
        ast.iter_fn_def().flat_map(|function| &function.params).map(|name| name.as_str()).collect();
    nodes::visit(ast, &mut |node| {
        if let Node::Stmt(Stmt::Var(var, ..)) = node {
            names.insert(&var.0.name);
        }
    });
    names
}

/// Whether a map literal somewhere has a field of this name: it may hold a closure.
fn is_field(sheet: &Sheet<'_>, name: &str) -> bool {
    let mut found = false;
    nodes::visit(&sheet.source.ast, &mut |node| {
        if let Node::Expr(Expr::Map(map, _)) = node {
            found |=
                map.0.iter().any(|(key, value)| key.name == name && nodes::closure(&sheet.source.ast, value).is_some());
        }
    });
    found
}
