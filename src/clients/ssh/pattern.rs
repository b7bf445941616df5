//! The host patterns that `~/.ssh/config` and `known_hosts` share: `*`, `?` and `!`.

/// Whether a pattern with `*` and `?` matches a whole text. Case does not count in host names.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where to go on after the last `*`, should what follows it not fit here.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((after, from)) => {
                    retry = Some((after, from + 1));
                    p = after;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Whether a list of patterns selects any of a host's names: one must match and no negated one may.
pub(super) fn selects<'a>(patterns: impl IntoIterator<Item = &'a str>, names: &[impl AsRef<str>]) -> bool {
    let mut selected = false;
    for pattern in patterns {
        let (negated, pattern) = match pattern.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        if names.iter().any(|name| matches(pattern, name.as_ref())) {
            if negated {
                return false;
            }
            selected = true;
        }
    }
    selected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text_and_a_question_mark_for_one_character() {
        assert!(matches("*", "pve-01"));
        assert!(matches("pve-0?", "pve-03"));
        assert!(matches("*.home.arpa", "nas.home.arpa"));
        assert!(matches("k3s-*-0*", "k3s-cp-01"));
        assert!(!matches("pve-0?", "pve-011"));
        assert!(!matches("*.home.arpa", "home.arpa"));
    }

    #[test]
    fn case_does_not_count() {
        assert!(matches("PVE-01", "pve-01"));
    }

    #[test]
    fn a_negated_pattern_wins_over_any_other() {
        assert!(selects(["*", "!nas"], &["pve-01"]));
        assert!(!selects(["*", "!nas"], &["nas"]));
        assert!(!selects(["!nas"], &["pve-01"]));
    }

    #[test]
    fn a_pattern_full_of_stars_is_still_quick() {
        assert!(!matches(&"*a".repeat(40), &"a".repeat(39)));
    }
}
