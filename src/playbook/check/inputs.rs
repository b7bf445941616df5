//! Inputs that are asked for by a literal name and do not exist: variables, files, tables, rows.

use rhai::Position;

use super::Sheet;
use crate::script::places::nodes::Call;
use crate::suggest::nearest;

/// Checks what one call asks for.
pub fn check(sheet: &mut Sheet<'_>, call: &Call<'_>) {
    if call.method || call.node.is_operator_call() {
        return;
    }
    match call.full_name().as_str() {
        "env" | "secret" => check_variable(sheet, call),
        "docs::table" | "docs::settings" => check_table(sheet, call, false),
        "docs::row" => check_table(sheet, call, true),
        // A record may be the first of its key.
        "docs::record" => check_table(sheet, call, false),
        _ => {}
    }
}

fn check_variable(sheet: &mut Sheet<'_>, call: &Call<'_>) {
    let Some((name, at)) = call.literal_text(0) else { return };
    let environment = sheet.checker.environment;
    if !environment.documented.contains(name) {
        let error = sheet.error(format!("`{name}` is not explained in .envrc.example"));
        let near = nearest(name, environment.documented.iter().map(String::as_str));
        let error = match near {
            Some(near) => {
                error.help(format!("did you mean `{near}`? else add it there, with a comment that says what it is"))
            }
            None => error.help(format!("add `export {name}=…` there, with a comment that says what it is")),
        };
        return sheet.find("undocumented-variable", at, "not in .envrc.example", error);
    }
    let has_default = call.node.args.len() > 1;
    if !has_default && !environment.set.contains(name) {
        let error = sheet
            .error(format!("`{name}` is not set"))
            .help(format!("add `export {name}=…` to .envrc; .envrc.example says what it is"));
        sheet.warn("unset-variable", at, "set nowhere", error);
    }
}

fn check_table(sheet: &mut Sheet<'_>, call: &Call<'_>, row: bool) {
    let facts = sheet.checker.facts;
    let Some((file, file_at)) = call.literal_text(0) else { return };
    let files = facts.files();
    if !files.iter().any(|known| known == file) {
        return missing(sheet, "unknown-table", format!("there is no docs/{file}"), file, file_at, &files);
    }
    let Some((table, table_at)) = call.literal_text(1) else { return };
    let tables = facts.tables(file);
    if !tables.iter().any(|known| known == table) {
        let message = format!("docs/{file} has no table `{table}`");
        return missing(sheet, "unknown-table", message, table, table_at, &tables);
    }
    let Some((key, key_at)) = call.literal_text(2).filter(|_| row) else { return };
    let rows = facts.rows(file, table);
    if !rows.iter().any(|known| known == key) {
        let message = format!("table `{table}` in docs/{file} has no row `{key}`");
        missing(sheet, "unknown-row", message, key, key_at, &rows);
    }
}

fn missing(sheet: &mut Sheet<'_>, code: &'static str, message: String, name: &str, at: Position, known: &[String]) {
    let error = sheet.error(message);
    let error = match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None if known.is_empty() => error,
        None => error.help(format!("there are: {}", known.join(", "))),
    };
    sheet.find(code, at, "not there", error);
}
