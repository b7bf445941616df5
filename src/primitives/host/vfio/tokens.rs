//! Kernel parameters as words: what has to be there is added, what must not be there goes, and nothing else moves.

use crate::error::{Class, Error, Result};

/// What is wanted of a command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Those that have to be there.
    pub present: Vec<String>,
    /// Those that must not.
    pub absent: Vec<String>,
}

/// A parameter that may stand there several times, with a value each.
const REPEATED: [&str; 4] = ["console", "earlycon", "module_blacklist", "modprobe.blacklist"];

fn key(token: &str) -> &str {
    token.split('=').next().unwrap_or(token)
}

impl Tokens {
    /// Refuses what cannot be a parameter.
    pub fn check(&self) -> Result<()> {
        for token in self.present.iter().chain(&self.absent) {
            let strange = |c: char| c.is_whitespace() || c.is_control() || "\"'`$\\".contains(c);
            if token.is_empty() || token.contains(strange) {
                return Err(Error::new(Class::Script, format!("`kernel_parameters`: {token:?} is no parameter"))
                    .help("one word each, without quotes: [\"intel_iommu=on\", \"iommu=pt\"]"));
            }
            if key(token) == "root" {
                return Err(Error::new(Class::Script, "`kernel_parameters`: `root=` says what the host boots from")
                    .help("leave it to the installer"));
            }
        }
        match self.present.iter().find(|token| self.absent.contains(token)) {
            Some(both) => Err(Error::new(Class::Script, format!("`kernel_parameters`: {both} is wanted and is not"))
                .help("leave it out of one of the lists")),
            None => Ok(()),
        }
    }

    /// Those of the wanted that a command line lacks.
    pub fn lacking(&self, line: &str) -> Vec<String> {
        let there: Vec<&str> = line.split_whitespace().collect();
        self.present.iter().filter(|token| !there.contains(&token.as_str())).cloned().collect()
    }

    /// Those on a command line that must not be there.
    pub fn surplus(&self, line: &str) -> Vec<String> {
        let there: Vec<&str> = line.split_whitespace().collect();
        self.absent.iter().filter(|token| there.contains(&token.as_str())).cloned().collect()
    }

    /// Whether a command line is as wanted.
    pub fn hold(&self, line: &str) -> bool {
        self.lacking(line).is_empty() && self.surplus(line).is_empty()
    }

    /// Words that say the contrary of what is wanted, and that nobody said may go: `intel_iommu=off`.
    pub fn contrary(&self, line: &str) -> Vec<String> {
        let contradicts = |word: &&str| {
            let wanted = self.present.iter().filter(|token| key(token) == key(word) && !REPEATED.contains(&key(word)));
            let mut wanted = wanted.peekable();
            wanted.peek().is_some() && wanted.all(|token| token != word) && !self.absent.iter().any(|gone| gone == word)
        };
        line.split_whitespace().filter(contradicts).map(str::to_owned).collect()
    }

    /// A command line with what is wanted: the order and all else stay. `elsewhere` is read together with it.
    pub fn edit(&self, line: &str, elsewhere: &str) -> String {
        let whole = format!("{line} {elsewhere}");
        if self.lacking(&whole).is_empty() && self.surplus(line).is_empty() {
            return line.to_owned();
        }
        let kept = line.split_whitespace().filter(|word| !self.absent.iter().any(|gone| gone == word));
        let added = self.lacking(&whole);
        kept.map(str::to_owned).chain(added).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(present: &[&str], absent: &[&str]) -> Tokens {
        let owned = |list: &[&str]| list.iter().map(|token| (*token).to_owned()).collect();
        Tokens { present: owned(present), absent: owned(absent) }
    }

    #[test]
    fn what_lacks_is_added_and_the_rest_keeps_its_order() {
        let wanted = tokens(&["intel_iommu=on", "iommu=pt"], &[]);
        assert_eq!(
            wanted.edit("root=ZFS=rpool/ROOT/pve-1 iommu=pt boot=zfs quiet", ""),
            "root=ZFS=rpool/ROOT/pve-1 iommu=pt boot=zfs quiet intel_iommu=on"
        );
        assert_eq!(wanted.edit("a  b iommu=pt intel_iommu=on", ""), "a  b iommu=pt intel_iommu=on", "not even a blank");
        assert_eq!(wanted.edit("quiet", "iommu=pt intel_iommu=on"), "quiet", "it stands elsewhere");
    }

    #[test]
    fn what_says_the_contrary_is_found_and_goes_only_when_named() {
        let wanted = tokens(&["intel_iommu=on"], &[]);
        assert_eq!(wanted.contrary("quiet intel_iommu=off"), ["intel_iommu=off"]);
        assert_eq!(wanted.contrary("quiet intel_iommu=on"), Vec::<String>::new());
        let named = tokens(&["intel_iommu=on"], &["intel_iommu=off"]);
        assert_eq!(named.contrary("intel_iommu=off"), Vec::<String>::new());
        assert_eq!(named.edit("quiet intel_iommu=off splash", ""), "quiet splash intel_iommu=on");
    }

    #[test]
    fn one_that_may_stand_there_several_times_contradicts_nothing() {
        assert_eq!(tokens(&["console=ttyS0"], &[]).contrary("console=tty1"), Vec::<String>::new());
    }

    #[test]
    fn what_a_host_boots_from_is_not_for_playbooks() {
        assert!(tokens(&["root=/dev/sda1"], &[]).check().is_err());
        assert!(tokens(&["quiet splash"], &[]).check().is_err());
        assert!(tokens(&["quiet"], &["quiet"]).check().is_err());
    }
}
