//! The parts of an AST, in the order of the text. Rhai's own walk keeps closures apart from where they stand and visits
//! them in hash order; here a closure's body is a part of the closure.

use rhai::{AST, ASTNode, Expr, FnCallExpr, FnPtr, Position, ScriptFuncDef, Stmt};

/// A statement or an expression.
pub type Node<'a> = ASTNode<'a>;

/// A call of a function or a method.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The call as Rhai sees it: name, namespace, arguments.
    pub node: &'a FnCallExpr,
    /// Where its name stands.
    pub position: Position,
    /// Whether it is called on something: `pve.vm(…)`.
    pub method: bool,
}

impl<'a> Call<'a> {
    /// The name without its namespace.
    pub fn name(&self) -> &'a str {
        &self.node.name
    }

    /// The namespace: `docs` of `docs::table`.
    pub fn namespace(&self) -> String {
        self.node.namespace.to_string()
    }

    /// The name with its namespace, as it is written.
    pub fn full_name(&self) -> String {
        if self.node.namespace.is_empty() {
            return self.name().to_owned();
        }
        format!("{}::{}", self.namespace(), self.name())
    }

    /// Where its arguments start to be called by its namespace.
    pub fn start(&self) -> Position {
        self.node.namespace.path.first().map_or(self.position, |first| first.pos)
    }

    /// An argument that is a literal text.
    pub fn literal_text(&self, index: usize) -> Option<(&'a str, Position)> {
        match self.node.args.get(index)? {
            Expr::StringConstant(text, position) => Some((text, *position)),
            _ => None,
        }
    }
}

/// The call that a node is, if it is one. Closures with captures are no calls, though Rhai spells them `curry`.
pub fn call(node: Node<'_>) -> Option<Call<'_>> {
    match node {
        Node::Expr(Expr::FnCall(call, position)) | Node::Stmt(Stmt::FnCall(call, position)) if !is_capture(call) => {
            Some(Call { node: call, position: *position, method: false })
        }
        Node::Expr(Expr::MethodCall(call, position)) => Some(Call { node: call, position: *position, method: true }),
        _ => None,
    }
}

/// A closure literal with what it captures.
#[derive(Clone, Copy)]
pub struct Closure<'a> {
    /// Its body and parameters; the captured variables lead.
    pub definition: &'a ScriptFuncDef,
    /// How many of the parameters are captured variables.
    pub captured: usize,
    /// Where it stands.
    pub position: Position,
}

impl<'a> Closure<'a> {
    /// The names of the captured variables.
    pub fn captures(&self) -> impl Iterator<Item = &'a str> {
        self.definition.params.iter().take(self.captured).map(|name| name.as_str())
    }
}

/// The closure that an expression is, if it is a closure literal.
pub fn closure<'a>(ast: &'a AST, expr: &'a Expr) -> Option<Closure<'a>> {
    match expr {
        Expr::DynamicConstant(value, position) => {
            let pointer = value.read_lock::<FnPtr>()?;
            let definition = ast.iter_fn_def().find(|function| function.name == pointer.fn_name())?;
            Some(Closure { definition, captured: 0, position: *position })
        }
        // With captures, Rhai writes a block: share the variables, then curry them.
        Expr::Stmt(block) => match block.statements() {
            [Stmt::Share(_), Stmt::Expr(curry)] => closure(ast, curry),
            _ => None,
        },
        Expr::FnCall(call, _) if is_capture(call) => {
            let closure = closure(ast, call.args.first()?)?;
            Some(Closure { captured: call.args.len() - 1, ..closure })
        }
        _ => None,
    }
}

fn is_capture(call: &FnCallExpr) -> bool {
    call.name == "curry"
        && call.namespace.is_empty()
        && matches!(call.args.first(), Some(Expr::DynamicConstant(value, _)) if value.is_fnptr())
}

/// The parts directly inside a node, in the order of the text. A closure's part is its body.
pub fn parts<'a>(ast: &'a AST, node: Node<'a>) -> Vec<Node<'a>> {
    match node {
        Node::Stmt(statement) => statement_parts(statement),
        Node::Expr(expr) => match closure(ast, expr) {
            Some(closure) => closure.definition.body.iter().map(Node::Stmt).collect(),
            None => expression_parts(expr),
        },
        _ => Vec::new(),
    }
}

fn statement_parts(statement: &Stmt) -> Vec<Node<'_>> {
    let mut parts = Vec::new();
    match statement {
        Stmt::Var(var, ..) => parts.push(Node::Expr(&var.1)),
        Stmt::If(flow, ..) => {
            parts.push(Node::Expr(&flow.expr));
            parts.extend(flow.body.iter().chain(flow.branch.iter()).map(Node::Stmt));
        }
        Stmt::While(flow, ..) => {
            parts.push(Node::Expr(&flow.expr));
            parts.extend(flow.body.iter().map(Node::Stmt));
        }
        Stmt::Do(flow, ..) => {
            parts.extend(flow.body.iter().map(Node::Stmt));
            parts.push(Node::Expr(&flow.expr));
        }
        Stmt::For(each, ..) => {
            parts.push(Node::Expr(&each.2.expr));
            parts.extend(each.2.body.iter().map(Node::Stmt));
        }
        Stmt::TryCatch(flow, ..) => parts.extend(flow.body.iter().chain(flow.branch.iter()).map(Node::Stmt)),
        Stmt::Switch(switch, ..) => {
            parts.push(Node::Expr(&switch.0));
            parts.extend(switch.1.expressions.iter().flat_map(|arm| [Node::Expr(&arm.lhs), Node::Expr(&arm.rhs)]));
        }
        Stmt::Assignment(assignment) => {
            parts.extend([Node::Expr(&assignment.1.lhs), Node::Expr(&assignment.1.rhs)]);
        }
        Stmt::FnCall(call, ..) => parts.extend(call.args.iter().map(Node::Expr)),
        Stmt::Block(block) => parts.extend(block.iter().map(Node::Stmt)),
        Stmt::Expr(expr) => parts.push(Node::Expr(expr)),
        Stmt::BreakLoop(Some(expr), ..) | Stmt::Return(Some(expr), ..) => parts.push(Node::Expr(expr)),
        Stmt::Import(import, ..) => parts.push(Node::Expr(&import.0)),
        _ => {}
    }
    parts
}

fn expression_parts(expr: &Expr) -> Vec<Node<'_>> {
    match expr {
        Expr::Stmt(block) => block.iter().map(Node::Stmt).collect(),
        Expr::InterpolatedString(items, ..) | Expr::Array(items, ..) => items.iter().map(Node::Expr).collect(),
        Expr::Map(map, ..) => map.0.iter().map(|(_, value)| Node::Expr(value)).collect(),
        Expr::Index(pair, ..) | Expr::Dot(pair, ..) => vec![Node::Expr(&pair.lhs), Node::Expr(&pair.rhs)],
        Expr::And(items, ..) | Expr::Or(items, ..) | Expr::Coalesce(items, ..) => {
            items.iter().map(Node::Expr).collect()
        }
        Expr::FnCall(call, ..) | Expr::MethodCall(call, ..) => call.args.iter().map(Node::Expr).collect(),
        Expr::Custom(custom, ..) => custom.inputs.iter().map(Node::Expr).collect(),
        _ => Vec::new(),
    }
}

/// The functions that a source defines by name, in the order of the text.
pub fn functions(ast: &AST) -> Vec<&ScriptFuncDef> {
    let mut functions: Vec<&ScriptFuncDef> =
        ast.iter_fn_def().map(AsRef::as_ref).filter(|function| !function.name.starts_with("anon$")).collect();
    functions.sort_by_key(|function| function.body.position());
    functions
}

/// Shows every node to `look`: top-level statements, then the bodies of functions; outer nodes before inner ones.
pub fn visit<'a>(ast: &'a AST, look: &mut impl FnMut(Node<'a>)) {
    let bodies = functions(ast).into_iter().flat_map(|function| function.body.iter());
    for statement in ast.statements().iter().chain(bodies) {
        visit_node(ast, Node::Stmt(statement), look);
    }
}

/// Shows a node and every node inside it to `look`.
pub fn visit_node<'a>(ast: &'a AST, node: Node<'a>, look: &mut impl FnMut(Node<'a>)) {
    look(node);
    for part in parts(ast, node) {
        visit_node(ast, part, look);
    }
}

/// Where an expression starts. Rhai puts an operator's position on the operator.
pub fn start(expr: &Expr) -> Position {
    match expr {
        Expr::FnCall(call, position) if call.is_operator_call() => {
            call.args.first().map_or(*position, start).min(*position)
        }
        Expr::Dot(pair, ..) | Expr::Index(pair, ..) => start(&pair.lhs),
        Expr::And(items, position) | Expr::Or(items, position) | Expr::Coalesce(items, position) => {
            items.first().map_or(*position, start)
        }
        expr => expr.start_position(),
    }
}

/// Every expression that a variable of this name is set to.
pub fn values_of<'a>(ast: &'a AST, name: &str) -> Vec<&'a Expr> {
    let mut values = Vec::new();
    visit(ast, &mut |node| match node {
        Node::Stmt(Stmt::Var(var, ..)) if var.0.name == name => values.push(&var.1),
        Node::Stmt(Stmt::Assignment(assignment)) if variable_of(&assignment.1.lhs) == Some(name) => {
            values.push(&assignment.1.rhs);
        }
        _ => {}
    });
    values
}

/// The variable that an expression reads or, on the left of an assignment, changes: `m` of `m.a[1]`.
pub fn variable_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Variable(variable, ..) if variable.2.is_empty() => Some(&variable.1),
        Expr::Dot(pair, ..) | Expr::Index(pair, ..) => variable_of(&pair.lhs),
        _ => None,
    }
}
