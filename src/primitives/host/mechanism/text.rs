//! Edits of texts by their lines: pure, and such that the same edit again changes nothing.

use regex::Regex;

/// Where something new is put.
#[derive(Debug, Clone, Default)]
pub enum Place {
    /// At the end.
    #[default]
    End,
    /// At the beginning.
    Beginning,
    /// After the last line that matches; at the end where none does.
    After(Regex),
    /// Before the last line that matches; at the end where none does.
    Before(Regex),
}

/// A text as lines.
pub struct Lines {
    lines: Vec<String>,
    ending: &'static str,
}

impl Lines {
    /// Takes a text apart. Its lines end as its first one does.
    pub fn of(text: &str) -> Self {
        let ending = if text.lines().next().is_some_and(|first| text[first.len()..].starts_with("\r\n")) {
            "\r\n"
        } else {
            "\n"
        };
        Lines { lines: text.lines().map(str::to_owned).collect(), ending }
    }

    /// Puts it together. The last line ends, too.
    pub fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line.as_str(), self.ending]).collect()
    }

    /// Puts other lines in place of those for which there are some.
    pub fn replace(&mut self, mut with: impl FnMut(&str) -> Option<Vec<String>>) {
        let lines = std::mem::take(&mut self.lines);
        self.lines = lines.into_iter().flat_map(|line| with(&line).unwrap_or_else(|| vec![line])).collect();
    }

    /// Adds a line at the end.
    pub fn push(&mut self, line: String) {
        self.lines.push(line);
    }

    fn spot(&self, place: &Place) -> usize {
        let last = |pattern: &Regex| self.lines.iter().rposition(|line| pattern.is_match(line));
        match place {
            Place::End => self.lines.len(),
            Place::Beginning => 0,
            Place::After(pattern) => last(pattern).map_or(self.lines.len(), |at| at + 1),
            Place::Before(pattern) => last(pattern).unwrap_or(self.lines.len()),
        }
    }

    fn insert(&mut self, at: usize, new: &[&str]) {
        self.lines.splice(at..at, new.iter().map(|line| (*line).to_owned()));
    }
}

/// Sees to it that a line is there. The last line that matches the pattern, or is the wanted one already, becomes it;
/// where there is none it is put in place.
pub fn put_line(text: &str, line: &str, pattern: Option<&Regex>, place: &Place) -> String {
    let mut lines = Lines::of(text);
    let fits = |known: &String| known == line || pattern.is_some_and(|pattern| pattern.is_match(known));
    match lines.lines.iter().rposition(fits) {
        Some(at) if lines.lines[at] == line => return text.to_owned(),
        Some(at) => line.clone_into(&mut lines.lines[at]),
        None => lines.insert(lines.spot(place), &[line]),
    }
    lines.text()
}

/// Takes all lines away for which this is true.
pub fn drop_lines(text: &str, goes: impl Fn(&str) -> bool) -> String {
    if !text.lines().any(&goes) {
        return text.to_owned();
    }
    let mut lines = Lines::of(text);
    lines.lines.retain(|line| !goes(line));
    lines.text()
}

/// Where a block is: the numbers of its first and last line, its marks; or why nobody can tell.
fn find_block(lines: &Lines, begin: &str, end: &str) -> Result<Option<(usize, usize)>, String> {
    let places = |mark: &str| -> Vec<usize> {
        let marked = lines.lines.iter().enumerate().filter(|(_, line)| line.trim_end() == mark);
        marked.map(|(at, _)| at).collect()
    };
    match (places(begin).as_slice(), places(end).as_slice()) {
        ([], []) => Ok(None),
        ([first], [last]) if first < last => Ok(Some((*first, *last))),
        ([_], []) => Err(format!("the line {begin:?} is there, {end:?} is not")),
        ([], [_]) => Err(format!("the line {end:?} is there, {begin:?} is not")),
        ([_], [_]) => Err(format!("the line {end:?} comes before {begin:?}")),
        _ => Err(format!("the lines {begin:?} or {end:?} are there more than once")),
    }
}

/// Sees to it that a block is there between two lines that mark it; without content, that it is not there. Says what is
/// wrong with the marks that are there.
pub fn put_block(
    text: &str,
    (begin, end): (&str, &str),
    content: Option<&str>,
    place: &Place,
) -> Result<String, String> {
    let mut lines = Lines::of(text);
    let found = find_block(&lines, begin, end)?;
    let at = match (found, content) {
        (None, None) => return Ok(text.to_owned()),
        (Some((first, last)), Some(content)) if lines.lines[first + 1..last].iter().eq(content.lines()) => {
            return Ok(text.to_owned());
        }
        (Some((first, last)), _) => {
            lines.lines.drain(first..=last);
            first
        }
        (None, Some(_)) => lines.spot(place),
    };
    if let Some(content) = content {
        let new: Vec<&str> = std::iter::once(begin).chain(content.lines()).chain([end]).collect();
        lines.insert(at, &new);
    }
    Ok(lines.text())
}

/// Sees to it that a line is there right after the one that names it; without a line, that neither is.
pub fn put_named(text: &str, name: &str, line: Option<&str>) -> String {
    let mut lines = Lines::of(text);
    let found = lines.lines.iter().position(|known| known == name);
    match (found, line) {
        (None, None) => return text.to_owned(),
        (Some(at), Some(line)) if lines.lines.get(at + 1).is_some_and(|known| known == line) => return text.to_owned(),
        (found, line) => {
            let at = found.unwrap_or(lines.lines.len());
            if found.is_some() {
                lines.lines.drain(at..(at + 2).min(lines.lines.len()));
            }
            if let Some(line) = line {
                lines.insert(at, &[name, line]);
            }
        }
    }
    lines.text()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn regex(text: &str) -> Regex {
        Regex::new(text).expect("sound")
    }

    const MARKS: (&str, &str) = ("# BEGIN x", "# END x");

    #[test]
    fn the_last_line_that_matches_becomes_the_wanted_one() {
        let pattern = regex("^#?Port ");
        let text = "#Port 22\nUser a\nPort 23\n";
        assert_eq!(put_line(text, "Port 2222", Some(&pattern), &Place::End), "#Port 22\nUser a\nPort 2222\n");
        assert_eq!(put_line("User a", "Port 2222", Some(&pattern), &Place::End), "User a\nPort 2222\n");
    }

    #[test]
    fn a_line_that_is_there_is_not_added_although_the_pattern_does_not_find_it() {
        assert_eq!(put_line("a\nb\n", "a", Some(&regex("^c")), &Place::End), "a\nb\n");
    }

    #[test]
    fn a_new_line_goes_where_it_is_wanted() {
        let text = "a1\na2\nb\n";
        let put = |place| put_line(text, "x", None, &place);
        assert_eq!(put(Place::After(regex("^a"))), "a1\na2\nx\nb\n");
        assert_eq!(put(Place::Before(regex("^a"))), "a1\nx\na2\nb\n");
        assert_eq!(put(Place::Beginning), "x\na1\na2\nb\n");
        assert_eq!(put(Place::After(regex("none"))), "a1\na2\nb\nx\n");
    }

    #[test]
    fn lines_go_on_ending_as_they_do() {
        assert_eq!(put_line("a\r\nb\r\n", "c", None, &Place::End), "a\r\nb\r\nc\r\n");
        assert_eq!(put_line("", "c", None, &Place::End), "c\n");
        assert_eq!(drop_lines("a\nb\na", |line| line == "a"), "b\n");
        assert_eq!(drop_lines("b", |line| line == "a"), "b");
    }

    #[test]
    fn a_block_is_put_in_replaced_where_it_stands_and_taken_out() {
        let one = put_block("a\nb\n", MARKS, Some("1\n2\n"), &Place::After(regex("a"))).expect("sound");
        assert_eq!(one, "a\n# BEGIN x\n1\n2\n# END x\nb\n");
        let two = put_block(&one, MARKS, Some(""), &Place::End).expect("sound");
        assert_eq!(two, "a\n# BEGIN x\n# END x\nb\n");
        assert_eq!(put_block(&two, MARKS, None, &Place::End).expect("sound"), "a\nb\n");
    }

    #[test]
    fn a_block_with_half_its_marks_is_not_guessed_at() {
        for text in ["# BEGIN x\n1\n", "# END x\n", "# END x\n# BEGIN x\n", "# BEGIN x\n# BEGIN x\n# END x\n"] {
            assert!(put_block(text, MARKS, Some("1"), &Place::End).is_err(), "{text}");
        }
    }

    #[test]
    fn a_line_under_its_name_is_added_replaced_and_taken_out() {
        let one = put_named("# x\n", "# homelab: a", Some("1"));
        assert_eq!(one, "# x\n# homelab: a\n1\n");
        let two = put_named(&(one + "3\n"), "# homelab: a", Some("2"));
        assert_eq!(two, "# x\n# homelab: a\n2\n3\n");
        assert_eq!(put_named(&two, "# homelab: a", None), "# x\n3\n");
    }

    proptest! {
        #[test]
        fn an_edit_made_twice_is_made_once(text in "([a-c#]{0,2}\r?\n){0,6}[a-c]{0,2}", line in "[a-c]{1,2}", pattern in "\\^?[a-c]") {
            let pattern = regex(&pattern);
            for place in [Place::End, Place::Beginning, Place::After(pattern.clone()), Place::Before(pattern.clone())] {
                let once = put_line(&text, &line, Some(&pattern), &place);
                prop_assert!(once.lines().any(|known| known == line));
                prop_assert_eq!(&put_line(&once, &line, Some(&pattern), &place), &once);
                let once = put_block(&text, MARKS, Some(&line), &place).expect("no marks");
                prop_assert_eq!(&put_block(&once, MARKS, Some(&line), &place).expect("sound"), &once);
                let gone = put_block(&once, MARKS, None, &place).expect("sound");
                prop_assert!(gone.lines().eq(text.lines()));
            }
        }
    }
}
