//! How far cloud-init is.

use serde_json::Value as Json;

/// Asks it. Old versions know no JSON and answer in plain text; the exit code is 2 where it is done with warnings.
pub const SCRIPT: &str = r#"if ! command -v cloud-init > /dev/null 2>&1; then echo missing; exit 0; fi
said=$(cloud-init status --format=json 2>/dev/null)
case $said in *{*) ;; *) said=$(cloud-init status --long 2>&1);; esac
printf '%s\n' "$said"
"#;

/// How far it is.
#[derive(Debug, PartialEq, Eq)]
pub enum Stage {
    /// Done, with what it warns of, if anything; or there is nothing for it to do.
    Done(Option<String>),
    /// At work or not begun: its own word.
    Busy(String),
    /// It failed: the detail.
    Failed(String),
    /// The host does not have it.
    Missing,
}

/// Reads its answer.
pub fn parse(text: &str) -> Stage {
    let text = text.trim();
    if text == "missing" {
        return Stage::Missing;
    }
    match text.find('{').and_then(|start| serde_json::from_str::<Json>(&text[start..]).ok()) {
        Some(answer) => parse_json(&answer),
        None => parse_text(text),
    }
}

fn parse_json(answer: &Json) -> Stage {
    let status = answer["status"].as_str().unwrap_or_default();
    let errors = texts(&answer["errors"]);
    let detail = answer["detail"].as_str().filter(|detail| !detail.is_empty());
    let warnings: Vec<String> =
        answer["recoverable_errors"].as_object().into_iter().flatten().flat_map(|(_, lines)| texts(lines)).collect();
    stage(status, errors.join("; "), detail, Some(warnings.join("; ")).filter(|all| !all.is_empty()))
}

/// `status: done`, and with `--long` also `detail:` with its text on the next line.
fn parse_text(text: &str) -> Stage {
    let after = |name: &str| text.lines().position(|line| line.starts_with(name));
    let Some(at) = after("status:") else { return Stage::Busy(first_line(text)) };
    let lines: Vec<&str> = text.lines().collect();
    let status = lines[at].trim_start_matches("status:").trim();
    let detail = after("detail:").map(|at| lines[at..].join(" ").trim_start_matches("detail:").trim().to_owned());
    stage(status, String::new(), detail.as_deref(), None)
}

fn stage(status: &str, errors: String, detail: Option<&str>, warnings: Option<String>) -> Stage {
    match status {
        "done" => Stage::Done(warnings),
        "disabled" => Stage::Done(None),
        "degraded" => Stage::Done(warnings.or_else(|| detail.map(str::to_owned))),
        "error" if errors.is_empty() => Stage::Failed(detail.unwrap_or("it does not say why").to_owned()),
        "error" => Stage::Failed(errors),
        "" => Stage::Busy("it does not say".to_owned()),
        status => Stage::Busy(status.to_owned()),
    }
}

fn texts(list: &Json) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items.map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect()
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or("it does not say").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_done_when_it_says_so() {
        assert_eq!(parse(r#"{"status": "done", "errors": [], "recoverable_errors": {}}"#), Stage::Done(None));
        assert_eq!(parse("status: done\n"), Stage::Done(None));
        assert_eq!(parse("status: disabled"), Stage::Done(None));
    }

    #[test]
    fn a_recoverable_error_is_a_warning() {
        let said = r#"{"status": "done", "extended_status": "degraded done", "errors": [],
            "recoverable_errors": {"DEPRECATED": ["chpasswd.list is deprecated"]}}"#;
        assert_eq!(parse(said), Stage::Done(Some("chpasswd.list is deprecated".to_owned())));
    }

    #[test]
    fn an_error_is_told_with_its_detail() {
        let said = r#"{"status": "error", "errors": ["runcmd failed", "no route"], "detail": "x"}"#;
        assert_eq!(parse(said), Stage::Failed("runcmd failed; no route".to_owned()));
        let old = "status: error\ntime: Thu\ndetail:\n('scripts-user', ProcessExecutionError())";
        assert_eq!(parse(old), Stage::Failed("('scripts-user', ProcessExecutionError())".to_owned()));
    }

    #[test]
    fn anything_else_is_waited_for() {
        assert_eq!(parse("status: running\nboot_status_code: enabled"), Stage::Busy("running".to_owned()));
        assert_eq!(parse(r#"{"status": "not started"}"#), Stage::Busy("not started".to_owned()));
        assert_eq!(
            parse("Traceback (most recent call last):\n…"),
            Stage::Busy("Traceback (most recent call last):".to_owned())
        );
        assert_eq!(parse("missing\n"), Stage::Missing);
    }
}
