//! How a change looks: what happens to which thing, and its difference.

use serde_json::Value as Json;
use similar::{ChangeTag, TextDiff};

use super::paint::{Paint, Tone};
use super::words;
use crate::run::event::{Action, Change, FieldDiff, Mark};
use crate::run::journal::ChangeState;

/// How many lines of one text are shown where not everything was asked for.
const LINES: usize = 40;

/// How changes are shown.
#[derive(Clone, Copy)]
pub(super) struct View {
    pub(super) paint: Paint,
    /// Whether long texts are shown whole.
    pub(super) whole: bool,
}

impl View {
    /// The lines of a change, indented to stand under their step. A mark stands in the margin.
    pub(super) fn lines(self, change: &Change, state: ChangeState, milliseconds: Option<u64>) -> Vec<String> {
        let paint = self.paint;
        let tone = if change.destroys { Tone::Bad } else { tone(change.action, state) };
        let mut head = format!("{} {}", paint.tone(tone, verb(change.action, state)), change.address);
        if change.destroys {
            head.push_str(&paint.tone(Tone::Bad, " (destroys data)"));
        }
        if let Some(because) = &change.because {
            head.push_str(&paint.tone(Tone::Dim, format!(" ({because})")));
        }
        if let Some(milliseconds) = milliseconds.filter(|taken| *taken >= 1000) {
            head.push_str(&paint.tone(Tone::Dim, format!("  {}", words::duration(milliseconds))));
        }
        let mut lines = vec![format!("    {} {head}", mark(change.mark))];
        for field in &change.diff {
            self.field(change.action, field, &mut lines);
        }
        lines
    }

    fn field(self, action: Action, field: &FieldDiff, lines: &mut Vec<String>) {
        let FieldDiff { path, before, after, .. } = field;
        let is_guess = field.unknown && !is_long(after.as_ref());
        if (is_long(before.as_ref()) && !is_guess) || is_long(after.as_ref()) {
            let name = if path.is_empty() { "content" } else { path };
            lines.push(format!("          {name}:"));
            return self.text(field, lines);
        }
        let name = if path.is_empty() { String::new() } else { format!("{path}: ") };
        let line = match (before, after) {
            (Some(before), Some(after)) => {
                let (before, after) = (self.side(before, false), self.side(after, field.unknown));
                format!("{name}{before} → {after}")
            }
            (None, Some(after)) => {
                // In something new everything is new: only in an update does a sign say more.
                let sign = if action == Action::Update { self.paint.tone(Tone::Good, "+ ") } else { String::new() };
                format!("{sign}{name}{}", self.side(after, field.unknown))
            }
            (Some(before), None) => {
                format!("{}{name}{}", self.paint.tone(Tone::Bad, "- "), self.side(before, false))
            }
            (None, None) => return,
        };
        lines.push(format!("          {line}"));
    }

    fn side(self, value: &Json, unknown: bool) -> String {
        if let (true, Some(text)) = (is_long(Some(value)), value.as_str()) {
            return format!("({} lines)", text.lines().count());
        }
        if unknown { self.paint.tone(Tone::Wait, bare(value)) } else { bare(value) }
    }

    fn text(self, field: &FieldDiff, lines: &mut Vec<String>) {
        let [before, after] = [&field.before, &field.after].map(|side| side.as_ref().map(bare).unwrap_or_default());
        let mut shown = match (&field.before, &field.after) {
            (None, _) => whole(&after, self.paint.tone(Tone::Good, "+")),
            (_, None) => whole(&before, self.paint.tone(Tone::Bad, "-")),
            _ => self.unified(&before, &after),
        };
        let hidden = shown.len().saturating_sub(LINES);
        if hidden > 1 && !self.whole {
            shown.truncate(LINES);
            shown.push(self.paint.tone(Tone::Dim, format!("… {hidden} more lines (-v shows them)")));
        }
        lines.extend(shown.into_iter().map(|line| format!("            {line}").trim_end().to_owned()));
    }

    fn unified(self, before: &str, after: &str) -> Vec<String> {
        let diff = TextDiff::from_lines(before, after);
        let mut lines = Vec::new();
        for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
            lines.push(self.paint.tone(Tone::Dim, hunk.header().to_string()));
            for change in hunk.iter_changes() {
                let text = change.value().trim_end_matches('\n');
                lines.push(match change.tag() {
                    ChangeTag::Equal => format!(" {text}"),
                    ChangeTag::Delete => self.paint.tone(Tone::Bad, format!("-{text}")),
                    ChangeTag::Insert => self.paint.tone(Tone::Good, format!("+{text}")),
                });
                if change.missing_newline() {
                    lines.push(self.paint.tone(Tone::Dim, "\\ no newline at the end"));
                }
            }
        }
        lines
    }
}

/// Why a change failed, under it. Its step leaves the line out where it says the same at length.
pub(super) fn error_line(paint: Paint, message: &str) -> String {
    format!("          {}", paint.tone(Tone::Bad, message))
}

/// What the marks mean; for those that were seen.
pub(super) fn legend(mark: Mark) -> Option<&'static str> {
    match mark {
        Mark::Sure => None,
        Mark::Maybe => Some("? may turn out unnecessary"),
        Mark::Fog => Some("~ planned after something deferred or opaque that could touch it"),
    }
}

fn mark(mark: Mark) -> char {
    match mark {
        Mark::Sure => ' ',
        Mark::Maybe => '?',
        Mark::Fog => '~',
    }
}

fn verb(action: Action, state: ChangeState) -> String {
    let (now, past) = match action {
        Action::Create => ("create", "created"),
        Action::Update => ("update", "updated"),
        Action::Delete => ("delete", "deleted"),
        Action::Run => ("run", "ran"),
    };
    match state {
        ChangeState::Planned => format!("would {now}"),
        ChangeState::Done => past.to_owned(),
        ChangeState::Failed => format!("failed to {now}"),
        ChangeState::Started => format!("in doubt: began to {now}"),
        ChangeState::Settled => format!("began to {now}, and a later run found how it is:"),
    }
}

fn tone(action: Action, state: ChangeState) -> Tone {
    match (state, action) {
        (ChangeState::Failed | ChangeState::Started, _) => Tone::Bad,
        (_, Action::Create) => Tone::Good,
        (_, Action::Update) => Tone::Change,
        (_, Action::Delete) => Tone::Bad,
        (_, Action::Run) => Tone::Plan,
    }
}

fn whole(text: &str, sign: String) -> Vec<String> {
    text.lines().map(|line| format!("{sign}{line}")).collect()
}

fn is_long(value: Option<&Json>) -> bool {
    value.and_then(Json::as_str).is_some_and(|text| text.trim_end_matches('\n').contains('\n'))
}

/// A value as people write it: text without quotes, unless it would then look like something else.
fn bare(value: &Json) -> String {
    let Some(text) = value.as_str() else { return value.to_string() };
    if is_long(Some(value)) {
        return text.to_owned();
    }
    let misleads = text.is_empty() || text.trim() != text || serde_json::from_str::<Json>(text).is_ok();
    if misleads { value.to_string() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(diff: Vec<FieldDiff>) -> String {
        let change = Change {
            id: 1,
            address: "web:file:/etc/x".into(),
            action: Action::Update,
            mark: Mark::Sure,
            diff,
            because: None,
            destroys: false,
        };
        let view = View { paint: Paint::plain(), whole: false };
        view.lines(&change, ChangeState::Done, None)[1..].join("\n")
    }

    fn field(path: &str, before: Option<Json>, after: Option<Json>) -> FieldDiff {
        FieldDiff { path: path.into(), before, after, unknown: false }
    }

    #[test]
    fn a_text_that_looks_like_a_number_is_told_apart_from_one() {
        let shown = shown(vec![
            field("cores", Some(json!("2")), Some(json!(2))),
            field("name", Some(json!("web")), Some(json!(""))),
            field("net1", None, Some(json!("virtio,bridge=vmbr0"))),
            field("net2", Some(json!({ "model": "virtio" })), None),
        ]);
        insta::assert_snapshot!(shown, @r#"
              cores: "2" → 2
              name: web → ""
              + net1: virtio,bridge=vmbr0
              - net2: {"model":"virtio"}
        "#);
    }

    #[test]
    fn a_changed_text_is_a_unified_diff() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n";
        let shown = shown(vec![field("content", Some(json!(before)), Some(json!(before.replace("6", "six").trim())))]);
        insta::assert_snapshot!(shown, @r"
              content:
                @@ -3,6 +3,6 @@
                 3
                 4
                 5
                -6
                +six
                 7
                -8
                +8
                \ no newline at the end
        ");
    }

    #[test]
    fn of_a_long_text_it_is_said_how_much_is_not_shown() {
        let shown = shown(vec![field("content", None, Some(json!("line\n".repeat(100))))]);
        assert_eq!(shown.lines().count(), 1 + LINES + 1);
        assert!(shown.ends_with("… 60 more lines (-v shows them)"), "{shown}");
    }
}
