//! Comments that allow what the check would refuse: `// check: allow URL because the mirror has no row in LINKS.md`.

use super::{Finding, Severity, Sheet};

const START: &str = "// check: allow ";

/// Whether a comment on a line, or on the line above, allows one of these words.
pub fn allowed(text: &str, line: usize, words: &[&str]) -> bool {
    let lines = text.lines().enumerate().map(|(index, text)| (index + 1, text));
    let mut near = lines.filter(|(number, _)| *number == line || number + 1 == line);
    near.any(|(_, text)| {
        let Some((what, reason)) = text.split_once(START).and_then(|(_, rest)| rest.split_once(" because ")) else {
            return false;
        };
        !reason.trim().is_empty() && words.iter().any(|word| word.eq_ignore_ascii_case(what.trim()))
    })
}

/// A comment that allows something without a reason.
pub fn check_comments(sheet: &mut Sheet<'_>) {
    let mut offset = 0;
    for line in sheet.source.text.split_inclusive('\n') {
        let start = line.find(START).filter(|_| !line.contains(" because "));
        if let Some(start) = start {
            let end = line.trim_end().len();
            let label = sheet.label(offset + start..offset + end, "no reason");
            let error = sheet
                .error("a comment allows something without saying why")
                .at(label)
                .help(format!("write `{} because …`", line[start..end].trim()));
            sheet.findings.push(Finding { severity: Severity::Error, code: "allow-without-reason", error });
        }
        offset += line.len();
    }
}
