//! Quoting for a POSIX shell.

/// One word of a shell command that stands for exactly this text, whatever is in it.
///
/// ```
/// use homelab::clients::ssh::quote;
/// assert_eq!(quote("/etc/motd"), "/etc/motd");
/// assert_eq!(quote("it's"), r"'it'\''s'");
/// ```
pub fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_string();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A whole command line from its words, each of them quoted.
pub fn quote_all<I, S>(words: I) -> String
where
    I: IntoIterator<Item = S>,
    S: AsRef<str>,
{
    words.into_iter().map(|word| quote(word.as_ref())).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// What a real shell makes of a command line's words.
    fn words_as_the_shell_sees_them(line: &str) -> Vec<u8> {
        let script = format!(r#"for word in {line}; do printf '%s\0' "$word"; done"#);
        Command::new("sh").arg("-c").arg(script).output().expect("sh runs").stdout
    }

    #[test]
    fn plain_words_stay_readable() {
        assert_eq!(quote_all(["systemctl", "restart", "k3s-agent.service"]), "systemctl restart k3s-agent.service");
    }

    #[test]
    fn an_empty_word_does_not_vanish() {
        assert_eq!(quote_all(["printf", ""]), "printf ''");
    }

    #[test]
    fn nothing_is_expanded() {
        assert_eq!(quote("$HOME `id` *"), "'$HOME `id` *'");
        assert_eq!(quote("~root"), "'~root'");
        assert_eq!(quote("A=b"), "'A=b'");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_shell_reads_back_exactly_the_words_that_were_quoted(
            words in proptest::collection::vec("[^\0]{0,12}", 1..5),
        ) {
            let want: Vec<u8> = words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
            prop_assert_eq!(words_as_the_shell_sees_them(&quote_all(&words)), want);
        }
    }
}
