//! The rules of udev, as far as they authorise what is plugged into Thunderbolt.

use super::Enclosure;
use crate::sim::host::machine::Machine;

/// Where rules stand. A file of an earlier directory takes the place of its namesakes.
const DIRECTORIES: [&str; 3] = ["/etc/udev/rules.d", "/run/udev/rules.d", "/usr/lib/udev/rules.d"];

/// One part of a rule: `ATTR{authorized}=="0"`.
struct Term {
    key: String,
    operator: &'static str,
    value: String,
}

/// Takes a rule apart. `None` where it is not one.
fn terms(line: &str) -> Option<Vec<Term>> {
    let mut terms = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let quote = rest.find('"')?;
        let end = quote + 1 + rest[quote + 1..].find('"')?;
        let left = rest[..quote].trim();
        let operator = ["==", "!=", "+=", ":=", "="].into_iter().find(|operator| left.ends_with(operator))?;
        let key = left[..left.len() - operator.len()].trim().to_owned();
        terms.push(Term { key, operator, value: rest[quote + 1..end].to_owned() });
        rest = rest[end + 1..].trim_start_matches(|c: char| c == ',' || c.is_whitespace());
    }
    Some(terms)
}

/// Whether a pattern of udev fits: `*` and alternatives with `|`.
fn fits(pattern: &str, text: &str) -> bool {
    pattern.split('|').any(|one| match one.split_once('*') {
        Some((start, end)) => {
            text.len() >= start.len() + end.len()
                && text.starts_with(start)
                && text.ends_with(end)
                && !end.contains('*')
        }
        None => one == text,
    })
}

/// What a rule says of an enclosure that has this event: whether it lets it in. An error names what is not simulated.
fn lets_in(rule: &[Term], action: &str, enclosure: &Enclosure) -> Result<bool, String> {
    let mut given = false;
    for Term { key, operator, value } in rule {
        let authorized = enclosure.authorized.to_string();
        let is = match key.as_str() {
            "ACTION" => action,
            "SUBSYSTEM" => "thunderbolt",
            "KERNEL" => &enclosure.port,
            "ATTR{unique_id}" => &enclosure.unique_id,
            "ATTR{device_name}" => &enclosure.device_name,
            "ATTR{vendor_name}" => &enclosure.vendor_name,
            "ATTR{authorized}" => &authorized,
            "LABEL" | "GOTO" | "TAG" | "ENV{ID_MODEL}" => return Ok(false),
            // Whatever it is, it is none of a Thunderbolt device that is looked at here.
            _ => return if rule.iter().any(|term| term.value == "thunderbolt") { Err(key.clone()) } else { Ok(false) },
        };
        match *operator {
            "==" if !fits(value, is) => return Ok(false),
            "!=" if fits(value, is) => return Ok(false),
            "=" if key == "ATTR{authorized}" => given = value == "1",
            _ => {}
        }
    }
    Ok(given)
}

impl Machine {
    /// The rules in force.
    fn udev_rules(&self) -> Vec<String> {
        let mut files: Vec<(String, String)> = Vec::new();
        for path in DIRECTORIES.iter().flat_map(|dir| self.files_in(dir, ".rules")) {
            let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
            if !files.iter().any(|(known, _)| *known == name) {
                files.push((name, path));
            }
        }
        files.sort();
        files.iter().flat_map(|(_, path)| self.config_lines(path)).collect()
    }

    /// The event of every Thunderbolt device, and what the rules make of it.
    pub fn trigger_thunderbolt(&mut self, action: &str, modprobe: &super::Modprobe) {
        let rules = self.udev_rules();
        let count = self.board.thunderbolt.as_ref().map_or(0, |thunderbolt| thunderbolt.enclosures.len());
        for index in 0..u8::try_from(count).unwrap_or(u8::MAX) {
            for rule in &rules {
                let enclosure =
                    self.board.thunderbolt.as_ref().and_then(|one| one.enclosures.get(usize::from(index))).cloned();
                let (Some(enclosure), Some(terms)) = (enclosure, terms(rule)) else { continue };
                match lets_in(&terms, action, &enclosure) {
                    Ok(true) if enclosure.authorized == 0 => self.let_in(index, modprobe),
                    Ok(_) => {}
                    Err(key) => self.log(format!("systemd-udevd: homelab sim: not simulated: {key} in a rule: {rule}")),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = r#"ACTION=="add", SUBSYSTEM=="thunderbolt", ATTR{unique_id}=="c4010000-0080", ATTR{authorized}=="0", ATTR{authorized}="1""#;

    fn said(rule: &str, action: &str, unique_id: &str) -> Result<bool, String> {
        let enclosure = Enclosure { port: "0-1".into(), unique_id: unique_id.into(), ..Enclosure::default() };
        lets_in(&terms(rule).expect("a rule"), action, &enclosure)
    }

    #[test]
    fn a_rule_lets_in_the_very_enclosure_that_it_names() {
        assert_eq!(said(RULE, "add", "c4010000-0080"), Ok(true));
        assert_eq!(said(RULE, "change", "c4010000-0080"), Ok(false));
        assert_eq!(said(RULE, "add", "c4010000-0081"), Ok(false));
        let anybody = r#"ACTION=="add", SUBSYSTEM=="thunderbolt", ATTR{authorized}=="0", ATTR{authorized}="1""#;
        assert_eq!(said(anybody, "add", "whoever"), Ok(true));
    }

    #[test]
    fn what_is_not_simulated_of_a_rule_is_named() {
        let rule = r#"SUBSYSTEM=="thunderbolt", PROGRAM=="/usr/bin/check", ATTR{authorized}="1""#;
        assert_eq!(said(rule, "add", "x"), Err("PROGRAM".to_owned()));
        assert_eq!(said(r#"SUBSYSTEM=="block", PROGRAM=="/usr/bin/check""#, "add", "x"), Ok(false));
    }
}
