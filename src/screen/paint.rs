//! Colour, and the guard that lets no other control byte through.

use std::borrow::Cow;

/// When to use colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Puts colour on text, or does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Paint {
    colored: bool,
}

/// What a colour is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Change,
    Plan,
    Wait,
    Bad,
    Dim,
    Strong,
}

const RESET: &str = "\x1b[0m";
const CODES: [&str; 7] = ["\x1b[32m", "\x1b[33m", "\x1b[36m", "\x1b[35m", "\x1b[1;31m", "\x1b[2m", "\x1b[1m"];

impl Paint {
    /// Text without colour.
    pub fn plain() -> Self {
        Paint { colored: false }
    }

    /// Text with colour.
    pub fn colored() -> Self {
        Paint { colored: true }
    }

    /// What the user's wish comes to: `no_color` is whether the environment has a `NO_COLOR` that is not empty.
    pub fn choose(choice: ColorChoice, no_color: bool, is_terminal: bool) -> Self {
        let colored = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => is_terminal && !no_color,
        };
        Paint { colored }
    }

    pub(super) fn tone(self, tone: Tone, text: impl AsRef<str>) -> String {
        let text = text.as_ref();
        if !self.colored || text.is_empty() {
            return text.to_owned();
        }
        format!("{}{text}{RESET}", tone.code())
    }

    /// The text as it may go out: what the world put into it (a command's output, a file's content) controls no
    /// terminal. Line ends, tabs and our own colours stay; any other control byte is shown, not sent.
    pub(super) fn guard(self, text: &str) -> Cow<'_, str> {
        if !text.chars().any(is_control) {
            return Cow::Borrowed(text);
        }
        let mut safe = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            let own = if self.colored { own_code(rest) } else { None };
            let taken = match own {
                Some(code) => {
                    safe.push_str(code);
                    code.len()
                }
                None => {
                    if is_control(character) {
                        safe.extend(character.escape_default());
                    } else {
                        safe.push(character);
                    }
                    character.len_utf8()
                }
            };
            rest = &rest[taken..];
        }
        Cow::Owned(safe)
    }
}

impl Tone {
    fn code(self) -> &'static str {
        CODES[self as usize]
    }
}

fn own_code(text: &str) -> Option<&'static str> {
    CODES.iter().chain([&RESET]).copied().find(|code| text.starts_with(code))
}

/// Control characters, and those that turn the direction of text and so could make one address look like another.
fn is_control(character: char) -> bool {
    let turns_text = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns_text || (character.is_control() && character != '\n' && character != '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_counts_only_where_the_user_did_not_say() {
        let colored = |choice, no_color, terminal| Paint::choose(choice, no_color, terminal).colored;
        assert!(colored(ColorChoice::Auto, false, true));
        assert!(!colored(ColorChoice::Auto, true, true));
        assert!(!colored(ColorChoice::Auto, false, false));
        assert!(colored(ColorChoice::Always, true, false));
        assert!(!colored(ColorChoice::Never, false, true));
    }

    #[test]
    fn what_the_world_says_controls_no_terminal() {
        let text = "a\x1b[2Jb\rc\td\u{202e}e\n";
        assert_eq!(Paint::plain().guard(text), "a\\u{1b}[2Jb\\rc\td\\u{202e}e\n");
        let ours = Paint::colored().tone(Tone::Good, "ok\x07");
        assert_eq!(Paint::colored().guard(&ours), "\x1b[32mok\\u{7}\x1b[0m");
    }
}
