//! What code may assign: the one place that knows it. Wherever a dry run gives up on a piece of code, and wherever a
//! run leaves one out, the variables that it would have assigned are no longer known.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use rhai::{ASTNode, Array, Dynamic, Expr, FnCallExpr, FnPtr, Map, ScriptFuncDef, Shared, Stmt};

use crate::run::unknown::Unknown;

/// Methods that change what they are called on and give nothing back.
const CHANGING: [&str; 23] = [
    "append",
    "chop",
    "clear",
    "crop",
    "dedup",
    "fill_with",
    "insert",
    "make_lower",
    "make_upper",
    "mixin",
    "pad",
    "push",
    "replace",
    "reverse",
    "set",
    "set_bit",
    "set_bits",
    "sort",
    "sort_by",
    "sort_desc",
    "splice",
    "trim",
    "truncate",
];
/// Methods that change what they are called on and give back what they took out.
pub const TAKING: [&str; 6] = ["drain", "pop", "remove", "retain", "shift", "take"];

/// Captured values nest no deeper than this; a closure that captures itself would go on for ever.
const DEPTH: usize = 32;

/// Whether a method of the language changes what it is called on.
pub fn changes_its_subject(name: &str) -> bool {
    CHANGING.contains(&name) || TAKING.contains(&name)
}

/// Finds the functions of a name in the scripts at hand, closures included.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Vec<Shared<ScriptFuncDef>>;

/// How code may change a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// By a method that has the name of one that changes lists, maps and texts. Handles have methods of such names too,
    /// which leave the handle as it is.
    Edited,
    /// By an assignment.
    Set,
}

/// The variables that code may change, by name. A name that is also a local one counts: too many unknowns are honest,
/// one too few is not.
pub type Assigned = BTreeMap<String, How>;

/// What a statement may change, closures in it included.
pub fn by_statement(statement: &Stmt, functions: Lookup) -> Assigned {
    let mut search = Search { functions, names: Assigned::new(), seen: HashSet::new() };
    search.statement(statement);
    search.names
}

/// The variables that a statement mentions: closures in them may be called by it.
pub fn mentioned(statement: &Stmt) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    statement.walk(&mut Vec::new(), &mut |path: &[ASTNode]| {
        if let Some(ASTNode::Expr(Expr::Variable(variable, ..))) = path.last()
            && variable.2.is_empty()
        {
            names.insert(variable.1.to_string());
        }
        true
    });
    names
}

/// Visits the captured variables that the closures in a value may change when they are called.
pub fn captured(value: &Dynamic, functions: Lookup, visit: &mut dyn FnMut(&Dynamic, How)) {
    walk(value, functions, visit, DEPTH);
}

/// Whether a variable really changes so.
pub fn is_changed(variable: &Dynamic, how: How) -> bool {
    let value = variable.flatten_clone();
    let is_data = value.is_array() || value.is_map() || value.is_string() || value.is_blob() || value.is_int();
    how == How::Set || is_data
}

/// Makes a variable unknown that may have been changed so.
pub fn forget(variable: &mut Dynamic, how: How, unknown: &Unknown) {
    if !is_changed(variable, how) {
        return;
    }
    if let Some(mut value) = variable.write_lock::<Dynamic>() {
        *value = Dynamic::from(unknown.clone());
    }
}

fn walk(value: &Dynamic, functions: Lookup, visit: &mut dyn FnMut(&Dynamic, How), depth: usize) {
    let flat = value.flatten_clone();
    let Some(depth) = depth.checked_sub(1) else { return };
    if let Some(closure) = flat.read_lock::<FnPtr>() {
        closure.iter_curry().for_each(|captured| walk(captured, functions, visit, depth));
        for function in functions(closure.fn_name()) {
            let assigned = by_function(&function, functions);
            // What a closure captured comes before its own parameters, under the names of the variables.
            for (name, variable) in function.params.iter().zip(closure.iter_curry()) {
                if let Some(how) = assigned.get(name.as_str()) {
                    visit(variable, *how);
                }
            }
        }
    } else if let Some(items) = flat.read_lock::<Array>() {
        items.iter().for_each(|item| walk(item, functions, visit, depth));
    } else if let Some(map) = flat.read_lock::<Map>() {
        map.values().for_each(|item| walk(item, functions, visit, depth));
    }
}

fn by_function(function: &ScriptFuncDef, functions: Lookup) -> Assigned {
    let mut search = Search { functions, names: Assigned::new(), seen: HashSet::from([function.name.to_string()]) };
    function.body.iter().for_each(|statement| search.statement(statement));
    search.names
}

struct Search<'a> {
    functions: Lookup<'a>,
    names: Assigned,
    seen: HashSet<String>,
}

impl Search<'_> {
    fn statement(&mut self, statement: &Stmt) {
        let mut closures = Vec::new();
        statement.walk(&mut Vec::new(), &mut |path: &[ASTNode]| {
            match path.last() {
                Some(ASTNode::Stmt(Stmt::Assignment(parts))) => self.root(&parts.1.lhs, How::Set),
                Some(ASTNode::Stmt(Stmt::FnCall(call, _))) => self.call(call),
                Some(ASTNode::Expr(Expr::FnCall(call, _))) => self.call(call),
                Some(ASTNode::Expr(chain @ (Expr::Dot(..) | Expr::Index(..)))) => {
                    if let Some(how) = self.changes(chain) {
                        self.root(chain, how);
                    }
                }
                Some(ASTNode::Expr(Expr::DynamicConstant(value, _))) => {
                    closures.extend(value.read_lock::<FnPtr>().map(|closure| closure.fn_name().to_owned()));
                }
                _ => {}
            }
            true
        });
        closures.iter().for_each(|name| self.closure(name));
    }

    fn closure(&mut self, name: &str) {
        if !self.seen.insert(name.to_owned()) {
            return;
        }
        for function in (self.functions)(name) {
            function.body.iter().for_each(|statement| self.statement(statement));
        }
    }

    /// `push(list, 1)` changes its first argument as `list.push(1)` does.
    fn call(&mut self, call: &FnCallExpr) {
        if let (false, Some(first)) = (call.is_qualified(), call.args.first())
            && changes_its_subject(&call.name)
        {
            self.root(first, How::Edited);
        }
    }

    fn changes(&self, chain: &Expr) -> Option<How> {
        match chain {
            Expr::Dot(sides, ..) | Expr::Index(sides, ..) => self.changes(&sides.lhs).max(self.changes(&sides.rhs)),
            // A method that the script defines itself can change `this`.
            Expr::MethodCall(call, _) if !(self.functions)(&call.name).is_empty() => Some(How::Set),
            Expr::MethodCall(call, _) => changes_its_subject(&call.name).then_some(How::Edited),
            _ => None,
        }
    }

    fn root(&mut self, target: &Expr, how: How) {
        match target {
            Expr::Variable(variable, ..) if variable.2.is_empty() => {
                let known = self.names.entry(variable.1.to_string()).or_insert(how);
                *known = how.max(*known);
            }
            Expr::Dot(sides, ..) | Expr::Index(sides, ..) => self.root(&sides.lhs, how),
            _ => {}
        }
    }
}
