//! `/etc/default/grub`: settings that GRUB's configuration is made of, and what is read after it.

use std::collections::BTreeMap;

use super::parameters::contradicts;
use super::tokens::Tokens;
use crate::error::{Class, Error, Result};

const NORMAL: &str = "GRUB_CMDLINE_LINUX_DEFAULT";
const ALWAYS: &str = "GRUB_CMDLINE_LINUX";
const PATH: &str = "/etc/default/grub";

/// What a line sets a variable to, with the quotes taken off.
fn setting<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let value = line.trim().strip_prefix(name)?.strip_prefix('=')?.trim();
    let inner = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    Some(inner.unwrap_or(value))
}

/// The last setting of a variable in a text.
fn last<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().filter_map(|line| setting(line, name)).next_back()
}

/// The file with the parameters among those of a normal start. Those that stand among the parameters of every start
/// count.
pub fn edit(text: &str, later: &BTreeMap<String, String>, tokens: &Tokens) -> Result<String> {
    for (path, other) in later {
        let takes_over =
            |value: &&str| !value.contains(&format!("${NORMAL}")) && !value.contains(&format!("${{{NORMAL}}}"));
        if last(other, NORMAL).filter(takes_over).is_some() {
            return Err(Error::new(
                Class::Blocked,
                format!("{path}: sets {NORMAL} anew, so that {PATH} does not count"),
            )
            .help(format!(
                "let it add to what is there, `{NORMAL}=\"${NORMAL} …\"`, or move its parameters to {PATH}"
            )));
        }
    }
    let always = later.values().map(String::as_str).chain([text]).filter_map(|text| last(text, ALWAYS));
    let added = later.values().filter_map(|text| last(text, NORMAL));
    let elsewhere = always.chain(added).collect::<Vec<_>>().join(" ");
    let have = last(text, NORMAL).unwrap_or_default();
    if let Some(contrary) = tokens.contrary(&format!("{have} {elsewhere}")).first() {
        return Err(contradicts(PATH, contrary));
    }
    if let Some(surplus) = tokens.surplus(&elsewhere).first() {
        return Err(Error::new(Class::Blocked, format!("{PATH}: `{surplus}` is not among the parameters of {NORMAL}"))
            .help(format!("take it away where it is: {ALWAYS}, or a file of /etc/default/grub.d")));
    }
    let want = tokens.edit(have, &elsewhere);
    if want == have {
        return Ok(text.to_owned());
    }
    let line = format!("{NORMAL}=\"{want}\"");
    let at = text.lines().enumerate().filter(|(_, line)| setting(line, NORMAL).is_some()).map(|(at, _)| at).last();
    let mut lines: Vec<&str> = text.lines().collect();
    match at {
        Some(at) => lines[at] = &line,
        None => lines.push(&line),
    }
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens { present: vec!["intel_iommu=on".into(), "iommu=pt".into()], absent: Vec::new() }
    }

    #[test]
    fn parameters_go_to_those_of_a_normal_start_and_all_else_stays() {
        let text =
            "# as installed\nGRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX_DEFAULT='quiet'\nGRUB_CMDLINE_LINUX=\"boot=zfs\"\n";
        assert_eq!(
            edit(text, &BTreeMap::new(), &tokens()).expect("sound"),
            "# as installed\nGRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet intel_iommu=on iommu=pt\"\nGRUB_CMDLINE_LINUX=\"boot=zfs\"\n"
        );
        assert_eq!(
            edit("GRUB_TIMEOUT=5\n", &BTreeMap::new(), &tokens()).expect("sound"),
            "GRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX_DEFAULT=\"intel_iommu=on iommu=pt\"\n"
        );
    }

    #[test]
    fn what_stands_among_the_parameters_of_every_start_is_there() {
        let text = "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"intel_iommu=on iommu=pt\"\n";
        assert_eq!(edit(text, &BTreeMap::new(), &tokens()).expect("sound"), text);
        let later = BTreeMap::from([(
            "/etc/default/grub.d/iommu.cfg".to_owned(),
            "GRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT intel_iommu=on iommu=pt\"\n".to_owned(),
        )]);
        let text = "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n";
        assert_eq!(edit(text, &later, &tokens()).expect("sound"), text);
    }

    #[test]
    fn a_file_that_takes_over_is_named() {
        let later = BTreeMap::from([(
            "/etc/default/grub.d/vendor.cfg".to_owned(),
            "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet splash\"\n".to_owned(),
        )]);
        let error = edit("GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n", &later, &tokens()).expect_err("it does not count");
        assert!(error.message().starts_with("/etc/default/grub.d/vendor.cfg: "), "{error}");
    }

    #[test]
    fn what_contradicts_stays_until_somebody_says_that_it_may_go() {
        let text = "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet intel_iommu=off\"\n";
        assert!(edit(text, &BTreeMap::new(), &tokens()).is_err());
        let named = Tokens { absent: vec!["intel_iommu=off".into()], ..tokens() };
        assert_eq!(
            edit(text, &BTreeMap::new(), &named).expect("named"),
            "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet intel_iommu=on iommu=pt\"\n"
        );
    }
}
