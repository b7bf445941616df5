//! The phases and steps of a playbook, as they can be told from reading it.

use std::sync::Arc;

use rhai::{AST, Expr};

use crate::screen::status::Phase;
use crate::script::places::Source;
use crate::script::places::nodes::{self, Node};

/// The steps of a playbook in the order of its text. An id that is made up at run time stands as it is written.
pub fn outline(playbook: &str, source: &Arc<Source>) -> Phase {
    let mut phase = Phase { playbook: playbook.to_owned(), title: playbook.to_owned(), steps: Vec::new() };
    nodes::visit(&source.ast, &mut |node| note(node, source, &mut phase));
    phase
}

fn note(node: Node<'_>, source: &Source, phase: &mut Phase) {
    let Some(call) = nodes::call(node) else { return };
    let text = |index: usize| call.node.args.get(index).and_then(|argument| written(argument, source));
    match (call.name(), text(0), text(1)) {
        ("phase", Some(id), Some(title)) => phase.title = format!("Phase {id}: {title}"),
        ("step" | "manual", Some(id), Some(title)) => phase.steps.push((id, title)),
        _ => {}
    }
}

/// A text as it stands in the script, without its quotes.
fn written(argument: &Expr, source: &Source) -> Option<String> {
    match argument {
        Expr::StringConstant(text, _) => Some(text.to_string()),
        Expr::InterpolatedString(_, position) => {
            let rest = source.text.get(source.offset(*position)?..)?.strip_prefix('`')?;
            Some(rest[..rest.find('`')?].to_owned())
        }
        _ => None,
    }
}

/// The modules that a script imports by a literal path.
pub fn imports(ast: &AST) -> Vec<String> {
    let mut paths = Vec::new();
    nodes::visit(ast, &mut |node| {
        if let Node::Stmt(rhai::Stmt::Import(import, _)) = node
            && let Expr::StringConstant(path, _) = &import.0
        {
            paths.push(path.to_string());
        }
    });
    paths
}
