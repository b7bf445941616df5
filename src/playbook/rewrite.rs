//! Rewrites a script between compiling and running, so that an unknown never becomes a plain string, a wrong branch or
//! a type error that `catch` swallows. Scripts without unknowns behave exactly as before: same values, same errors,
//! same places.
//!
//! Every place where the language would look at a value is wrapped in a node of our own (`rewrite_nodes.rs` says what
//! each does). The script as it was written is kept beside for `homelab check`.

use std::collections::HashMap;

use rhai::{
    AST, ASTFlags, BinaryExpr, CustomExpr, Dynamic, Expr, FlowControl, FnCallExpr, FnPtr, ImmutableString, Module,
    Position, ScriptFuncDef, Shared, Stmt, StmtBlock, SwitchCasesCollection,
};

use super::rewrite_nodes as node;
use super::rewrite_top::{Change, TOP};
use crate::script::assigned;

/// Calls by these names look at the type or the text of their arguments before any function of ours is asked.
const LOOKS_AT_ALL: [&str; 4] = ["type_of", "Fn", "is_def_fn", "is_def_var"];
/// And these at their first argument.
const LOOKS_AT_FIRST: [&str; 2] = ["call", "curry"];

/// The script so rewritten.
pub fn rewrite(ast: &AST) -> AST {
    let mut rewriter = Rewriter::of(ast);
    let statements: Vec<Stmt> = ast.statements().iter().map(|statement| rewriter.top(statement)).collect();
    let mut functions = Module::new();
    for function in ast.iter_fn_def() {
        functions.set_script_fn(rewriter.function(function));
    }
    AST::new_with_source(statements, functions, ast.source().unwrap_or_default())
}

/// All functions of a script by name, closures included.
type Functions = HashMap<ImmutableString, Vec<Shared<ScriptFuncDef>>>;

struct Rewriter {
    functions: Functions,
    // A closure literal carries its own body, so the same closure must be found rewritten wherever it stands.
    closures: HashMap<ImmutableString, Shared<ScriptFuncDef>>,
}

impl Rewriter {
    fn of(ast: &AST) -> Self {
        let mut functions = Functions::new();
        for function in ast.iter_fn_def() {
            functions.entry(function.name.clone()).or_default().push(function.clone());
        }
        Rewriter { functions, closures: HashMap::new() }
    }

    fn function(&mut self, function: &Shared<ScriptFuncDef>) -> Shared<ScriptFuncDef> {
        if let Some(done) = self.closures.get(&function.name) {
            return done.clone();
        }
        let mut rewritten = ScriptFuncDef::clone(function);
        rewritten.body = self.block(&function.body);
        Shared::new(rewritten)
    }

    fn closure(&mut self, literal: &FnPtr) -> Option<FnPtr> {
        let name = ImmutableString::from(literal.fn_name());
        if !self.closures.contains_key(&name) {
            let original = self.functions.get(&name).filter(|_| literal.is_anonymous())?.first()?.clone();
            let rewritten = self.function(&original);
            self.closures.insert(name.clone(), rewritten);
        }
        self.closures.get(&name).cloned().map(FnPtr::from)
    }

    fn top(&mut self, statement: &Stmt) -> Stmt {
        if matches!(statement, Stmt::Noop(_) | Stmt::Share(_) | Stmt::Export(..)) {
            return statement.clone();
        }
        let functions = |name: &str| self.functions.get(name).cloned().unwrap_or_default();
        let change = Change::of(statement, assigned::by_statement(statement, &functions));
        let position = statement.position();
        let body = Expr::Stmt(Box::new(StmtBlock::new([self.statement(statement)], position, Position::NONE)));
        Stmt::Expr(Box::new(custom(TOP, [body], Dynamic::from(change), position)))
    }

    fn block(&mut self, block: &StmtBlock) -> StmtBlock {
        let statements: Vec<Stmt> = block.iter().map(|statement| self.statement(statement)).collect();
        StmtBlock::new_with_span(statements, block.span())
    }

    fn statement(&mut self, statement: &Stmt) -> Stmt {
        match statement {
            Stmt::If(flow, position) => Stmt::If(Box::new(self.flow(flow, "if")), *position),
            Stmt::While(flow, position) => Stmt::While(Box::new(self.flow(flow, "while")), *position),
            Stmt::Do(flow, flags, position) => {
                let keyword = if flags.contains(ASTFlags::NEGATED) { "until" } else { "while" };
                Stmt::Do(Box::new(self.flow(flow, keyword)), *flags, *position)
            }
            Stmt::Switch(switch, position) => {
                Stmt::Switch(Box::new((self.switched(&switch.0), self.cases(&switch.1))), *position)
            }
            Stmt::For(parts, position) => {
                let (variable, counter, flow) = &**parts;
                let flow = FlowControl {
                    expr: self.known(&flow.expr, "for", flow.expr.start_position()),
                    body: self.block(&flow.body),
                    branch: self.block(&flow.branch),
                };
                Stmt::For(Box::new((variable.clone(), counter.clone(), flow)), *position)
            }
            Stmt::TryCatch(flow, position) => Stmt::TryCatch(Box::new(self.try_catch(flow)), *position),
            Stmt::Var(parts, flags, position) => {
                Stmt::Var(Box::new((parts.0.clone(), self.expression(&parts.1), parts.2)), *flags, *position)
            }
            Stmt::Assignment(parts) => {
                let (operator, BinaryExpr { lhs, rhs }) = &**parts;
                let sides = BinaryExpr { lhs: self.target(lhs), rhs: self.expression(rhs) };
                Stmt::Assignment(Box::new((operator.clone(), sides)))
            }
            Stmt::FnCall(call, position) => match self.call(call, *position) {
                Expr::FnCall(call, position) => Stmt::FnCall(call, position),
                other => Stmt::Expr(Box::new(other)),
            },
            Stmt::Block(block) => Stmt::Block(Box::new(self.block(block))),
            Stmt::Expr(expression) => Stmt::Expr(Box::new(self.expression(expression))),
            Stmt::BreakLoop(value, flags, position) => Stmt::BreakLoop(self.optional(value), *flags, *position),
            Stmt::Return(value, flags, position) => Stmt::Return(self.optional(value), *flags, *position),
            Stmt::Import(parts, position) => {
                let path = self.known(&parts.0, "import", parts.0.start_position());
                Stmt::Import(Box::new((path, parts.1.clone())), *position)
            }
            other => other.clone(),
        }
    }

    fn optional(&mut self, value: &Option<Box<Expr>>) -> Option<Box<Expr>> {
        value.as_ref().map(|value| Box::new(self.expression(value)))
    }

    fn flow(&mut self, flow: &FlowControl, keyword: &'static str) -> FlowControl {
        FlowControl {
            expr: self.known(&flow.expr, keyword, flow.expr.position()),
            body: self.block(&flow.body),
            branch: self.block(&flow.branch),
        }
    }

    fn try_catch(&mut self, flow: &FlowControl) -> FlowControl {
        let body = Expr::Stmt(Box::new(self.block(&flow.body)));
        let watched = custom(node::TRY, [body], Dynamic::UNIT, flow.body.position());
        let caught = custom(node::CAUGHT, [], Dynamic::UNIT, flow.branch.position());
        let mut branch = self.block(&flow.branch);
        branch.statements_mut().insert(0, Stmt::Expr(Box::new(caught)));
        FlowControl {
            expr: flow.expr.clone(),
            body: StmtBlock::new_with_span([Stmt::Expr(Box::new(watched))], flow.body.span()),
            branch,
        }
    }

    fn switched(&mut self, value: &Expr) -> Expr {
        if is_literal(value) {
            return self.expression(value);
        }
        custom(node::DEEP, [self.expression(value)], Dynamic::UNIT, value.position())
    }

    fn cases(&mut self, cases: &SwitchCasesCollection) -> SwitchCasesCollection {
        let mut rewritten = cases.clone();
        for case in &mut rewritten.expressions {
            let condition = self.known(&case.lhs, "switch … if", case.lhs.position());
            *case = BinaryExpr { lhs: condition, rhs: self.expression(&case.rhs) };
        }
        rewritten
    }

    fn expression(&mut self, expression: &Expr) -> Expr {
        match expression {
            Expr::DynamicConstant(value, position) => self.constant(value, *position),
            Expr::InterpolatedString(parts, position) if !expression.is_constant() => {
                custom(node::TEXT, parts.iter().map(|part| self.expression(part)), Dynamic::UNIT, *position)
            }
            Expr::Array(items, position) => {
                Expr::Array(items.iter().map(|item| self.expression(item)).collect(), *position)
            }
            Expr::Map(map, position) => {
                let entries = map.0.iter().map(|(key, item)| (key.clone(), self.expression(item))).collect();
                Expr::Map(Box::new((entries, map.1.clone())), *position)
            }
            Expr::Stmt(block) => Expr::Stmt(Box::new(self.block(block))),
            Expr::FnCall(call, position) => self.call(call, *position),
            Expr::MethodCall(call, position) => Expr::MethodCall(Box::new(self.arguments(call, 0)), *position),
            Expr::Dot(..) | Expr::Index(..) => self.chain_value(expression),
            Expr::Variable(variable, ..) if !variable.2.is_empty() => {
                in_module(expression.clone(), variable.2.root(), &variable.1)
            }
            Expr::And(operands, position) => Expr::And(self.operands(operands, "&&"), *position),
            Expr::Or(operands, position) => Expr::Or(self.operands(operands, "||"), *position),
            Expr::Coalesce(operands, position) => {
                let last = operands.len().saturating_sub(1);
                let operands = operands.iter().enumerate().map(|(index, operand)| {
                    let rewritten = self.expression(operand);
                    if index == last || is_literal(operand) {
                        return rewritten;
                    }
                    custom(node::SOME, [rewritten], Dynamic::UNIT, operand.position())
                });
                Expr::Coalesce(Box::new(operands.collect()), *position)
            }
            other => other.clone(),
        }
    }

    fn constant(&mut self, value: &Dynamic, position: Position) -> Expr {
        let closure = value.read_lock::<FnPtr>().and_then(|literal| self.closure(&literal));
        Expr::DynamicConstant(Box::new(closure.map_or_else(|| value.clone(), Dynamic::from)), position)
    }

    fn operands<C: FromIterator<Expr>>(&mut self, operands: &[Expr], operator: &'static str) -> Box<C> {
        Box::new(operands.iter().map(|operand| self.known(operand, operator, operand.position())).collect())
    }

    fn call(&mut self, call: &FnCallExpr, position: Position) -> Expr {
        let looks_at = match call.name.as_str() {
            _ if call.is_operator_call() || call.is_qualified() => 0,
            name if LOOKS_AT_ALL.contains(&name) => call.args.len(),
            name if LOOKS_AT_FIRST.contains(&name) => 1,
            _ => 0,
        };
        let rewritten = Expr::FnCall(Box::new(self.arguments(call, looks_at)), position);
        if call.namespace.is_empty() {
            return rewritten;
        }
        in_module(rewritten, call.namespace.root(), &call.name)
    }

    /// The call with its arguments rewritten. The language itself looks at the first `looks_at` of them.
    fn arguments(&mut self, call: &FnCallExpr, looks_at: usize) -> FnCallExpr {
        let mut rewritten = call.clone();
        for (index, argument) in rewritten.args.iter_mut().enumerate() {
            *argument = if index < looks_at {
                self.known(argument, &call.name, argument.start_position())
            } else {
                self.expression(argument)
            };
        }
        rewritten
    }

    /// The left side of an assignment, which must stay something that can be assigned to.
    fn target(&mut self, target: &Expr) -> Expr {
        match target {
            Expr::Dot(..) | Expr::Index(..) => self.chain(target),
            other => other.clone(),
        }
    }

    fn chain_value(&mut self, expression: &Expr) -> Expr {
        let chain = self.chain(expression);
        let (Expr::Dot(sides, ..) | Expr::Index(sides, ..)) = &chain else { return chain };
        match &sides.lhs {
            Expr::Variable(variable, ..) if !variable.2.is_empty() => {
                let (root, name) = (variable.2.root().to_owned(), variable.1.clone());
                in_module(chain, &root, &name)
            }
            _ if calls_closure(&sides.rhs) => {
                let position = chain.position();
                custom(node::CALL, [chain], Dynamic::UNIT, position)
            }
            _ => chain,
        }
    }

    /// `a.b[c].d(e)`: the chain leans to the right, and what is an index depends on the link before it.
    fn chain(&mut self, expression: &Expr) -> Expr {
        match expression {
            Expr::Dot(sides, flags, position) => {
                let (lhs, rhs) = (self.root(&sides.lhs), self.links(&sides.rhs, Link::Dot, *flags));
                Expr::Dot(Box::new(BinaryExpr { lhs, rhs }), *flags, *position)
            }
            Expr::Index(sides, flags, position) => {
                let (lhs, rhs) = (self.root(&sides.lhs), self.links(&sides.rhs, Link::Index, *flags));
                Expr::Index(Box::new(BinaryExpr { lhs, rhs }), *flags, *position)
            }
            other => self.expression(other),
        }
    }

    fn root(&mut self, root: &Expr) -> Expr {
        match root {
            // A variable stays one, so that methods can change it in place; `chain_value` sees to modules.
            Expr::Variable(..) => root.clone(),
            other => self.expression(other),
        }
    }

    fn links(&mut self, rest: &Expr, link: Link, flags: ASTFlags) -> Expr {
        match rest {
            _ if flags.contains(ASTFlags::BREAK) => self.link(rest, link),
            Expr::Dot(sides, flags, position) => {
                let (lhs, rhs) = (self.link(&sides.lhs, link), self.links(&sides.rhs, Link::Dot, *flags));
                Expr::Dot(Box::new(BinaryExpr { lhs, rhs }), *flags, *position)
            }
            Expr::Index(sides, flags, position) => {
                let (lhs, rhs) = (self.link(&sides.lhs, link), self.links(&sides.rhs, Link::Index, *flags));
                Expr::Index(Box::new(BinaryExpr { lhs, rhs }), *flags, *position)
            }
            last => self.link(last, link),
        }
    }

    fn link(&mut self, part: &Expr, link: Link) -> Expr {
        match link {
            Link::Dot => self.expression(part),
            Link::Index => self.known(part, "[…]", part.start_position()),
        }
    }

    /// Wraps what the language is about to look at.
    fn known(&mut self, expression: &Expr, doing: &str, position: Position) -> Expr {
        let rewritten = self.expression(expression);
        if is_literal(expression) {
            return rewritten;
        }
        custom(node::KNOWN, [rewritten], doing.into(), position)
    }
}

#[derive(Clone, Copy)]
enum Link {
    Dot,
    Index,
}

/// Literals are never unknown, and the language treats some of them in ways of its own.
fn is_literal(expression: &Expr) -> bool {
    expression.is_constant() || expression.get_literal_value(None).is_some()
}

/// Whether a closure is called in a chain, which the language does before any function of ours is asked.
fn calls_closure(links: &Expr) -> bool {
    match links {
        Expr::MethodCall(call, _) => LOOKS_AT_FIRST.contains(&call.name.as_str()),
        Expr::Dot(sides, ..) | Expr::Index(sides, ..) => calls_closure(&sides.lhs) || calls_closure(&sides.rhs),
        _ => false,
    }
}

fn in_module(expression: Expr, root: &str, name: &str) -> Expr {
    let position = expression.position();
    let state = node::Qualified { root: root.to_owned(), name: format!("{root}::{name}") };
    custom(node::MODULE, [expression], Dynamic::from(state), position)
}

fn custom(name: &str, inputs: impl IntoIterator<Item = Expr>, state: Dynamic, position: Position) -> Expr {
    let node = CustomExpr {
        inputs: inputs.into_iter().collect(),
        tokens: [ImmutableString::from(name)].into_iter().collect(),
        state,
        scope_may_be_changed: false,
        self_terminated: false,
    };
    Expr::Custom(Box::new(node), position)
}
