//! Which variables a statement may change. Where a dry run cannot carry it out, they are unknown afterwards.

use std::collections::{BTreeSet, HashSet};

use rhai::{ASTNode, Expr, FnCallExpr, FnPtr, Stmt};

use super::rewrite::Functions;
use super::strict_lift::changes_its_subject;

/// The names of the variables that a statement may change, closures in it included. A name that is also a local one
/// counts: too many unknowns are honest, one too few is not.
pub(super) fn assigned(statement: &Stmt, functions: &Functions) -> BTreeSet<String> {
    let mut search = Search { functions, names: BTreeSet::new(), seen: HashSet::new() };
    search.statement(statement);
    search.names
}

struct Search<'a> {
    functions: &'a Functions,
    names: BTreeSet<String>,
    seen: HashSet<String>,
}

impl Search<'_> {
    fn statement(&mut self, statement: &Stmt) {
        let mut closures = Vec::new();
        statement.walk(&mut Vec::new(), &mut |path: &[ASTNode]| {
            match path.last() {
                Some(ASTNode::Stmt(Stmt::Assignment(parts))) => self.root(&parts.1.lhs),
                Some(ASTNode::Stmt(Stmt::FnCall(call, _))) => self.call(call),
                Some(ASTNode::Expr(Expr::FnCall(call, _))) => self.call(call),
                Some(ASTNode::Expr(chain @ (Expr::Dot(..) | Expr::Index(..)))) if self.changes(chain) => {
                    self.root(chain);
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
        for function in self.functions.get(name).into_iter().flatten() {
            function.body.iter().for_each(|statement| self.statement(statement));
        }
    }

    /// `push(list, 1)` changes its first argument as `list.push(1)` does.
    fn call(&mut self, call: &FnCallExpr) {
        if let (false, Some(first)) = (call.is_qualified(), call.args.first())
            && changes_its_subject(&call.name)
        {
            self.root(first);
        }
    }

    fn changes(&self, chain: &Expr) -> bool {
        match chain {
            Expr::Dot(sides, ..) | Expr::Index(sides, ..) => self.changes(&sides.lhs) || self.changes(&sides.rhs),
            // A method that the script defines itself can change `this`.
            Expr::MethodCall(call, _) => changes_its_subject(&call.name) || self.functions.contains_key(&call.name),
            _ => false,
        }
    }

    fn root(&mut self, target: &Expr) {
        match target {
            Expr::Variable(variable, ..) if variable.2.is_empty() => {
                self.names.insert(variable.1.to_string());
            }
            Expr::Dot(sides, ..) | Expr::Index(sides, ..) => self.root(&sides.lhs),
            _ => {}
        }
    }
}
