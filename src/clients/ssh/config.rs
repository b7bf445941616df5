//! What `~/.ssh/config` says about one host.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::pattern;
use crate::error::{Class, Error, Result};
use crate::read;

/// How deep files may include each other, as in OpenSSH.
const MAX_DEPTH: usize = 16;

/// The settings of one host. As in OpenSSH the first value found counts, and identity files add up. Keywords that are
/// not listed here are passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct HostConfig {
    pub host_name: Option<String>,
    pub user: Option<String>,
    pub port: Option<u16>,
    pub identity_files: Vec<String>,
    pub identities_only: Option<bool>,
    pub identity_agent: Option<String>,
    pub proxy_jump: Option<String>,
    pub known_hosts: Option<Vec<String>>,
    pub host_key_alias: Option<String>,
    pub connect_timeout: Option<Duration>,
    /// How long a silent server is left alone; zero means for ever.
    pub alive_interval: Option<Duration>,
    /// What was passed over although it might matter, with its place.
    pub notes: Vec<String>,
}

impl HostConfig {
    /// Reads the file and what it includes, for a host known by these names. A file that is not there says nothing.
    pub fn read(path: &Path, names: &[&str]) -> Result<Self> {
        let mut reader = Reader { names, found: HostConfig::default() };
        reader.file(path, Reach::Applies, 0)?;
        Ok(reader.found)
    }
}

/// Whether the lines being read count for our host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Applies,
    /// In a block for others; the next `Host` may change that.
    Skipped,
    /// In a file that a block for others includes: nothing in it can count.
    Never,
}

struct Reader<'a> {
    names: &'a [&'a str],
    found: HostConfig,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, reach: Reach, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::new(Class::InputMissing, format!("{}: includes go too deep", path.display())));
        }
        match read::optional_text(path, &path.display().to_string())? {
            Some(text) => self.text(&text, path, reach, depth),
            None => Ok(()),
        }
    }

    fn text(&mut self, text: &str, path: &Path, mut reach: Reach, depth: usize) -> Result<()> {
        for (number, line) in text.lines().enumerate() {
            let place = format!("{}:{}", path.display(), number + 1);
            let words = split(line)
                .ok_or_else(|| Error::new(Class::InputMissing, format!("{place}: a quotation mark is not closed")))?;
            let Some((keyword, values)) = words.split_first() else { continue };
            let keyword = keyword.to_ascii_lowercase();
            match keyword.as_str() {
                _ if reach == Reach::Never && keyword != "include" => {}
                "host" => {
                    let ours = pattern::selects(values.iter().map(String::as_str), self.names);
                    reach = if ours { Reach::Applies } else { Reach::Skipped };
                }
                "match" if values.len() == 1 && values[0].eq_ignore_ascii_case("all") => reach = Reach::Applies,
                "match" => {
                    self.found.notes.push(format!("{place}: the Match block is passed over, only Host is understood"));
                    reach = Reach::Skipped;
                }
                "include" => self.include(values, path, reach, depth)?,
                _ if reach == Reach::Applies => self.setting(&keyword, values, &place)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn include(&mut self, values: &[String], path: &Path, reach: Reach, depth: usize) -> Result<()> {
        let inner = if reach == Reach::Applies { Reach::Applies } else { Reach::Never };
        for value in values {
            for file in included(value, path) {
                self.file(&file, inner, depth + 1)?;
            }
        }
        Ok(())
    }

    fn setting(&mut self, keyword: &str, values: &[String], place: &str) -> Result<()> {
        let Some(value) = values.first() else { return Ok(()) };
        let wrong = |what: &str| Error::new(Class::InputMissing, format!("{place}: {what}, not `{value}`"));
        let found = &mut self.found;
        match keyword {
            "hostname" => set(&mut found.host_name, value.clone()),
            "user" => set(&mut found.user, value.clone()),
            "port" => {
                let port = value.parse().ok().filter(|port| *port > 0);
                set(&mut found.port, port.ok_or_else(|| wrong("Port must be a number from 1 to 65535"))?);
            }
            "identityfile" => found.identity_files.push(value.clone()),
            "identitiesonly" => {
                set(&mut found.identities_only, flag(value).ok_or_else(|| wrong("IdentitiesOnly must be yes or no"))?);
            }
            "identityagent" => set(&mut found.identity_agent, value.clone()),
            "proxyjump" => set(&mut found.proxy_jump, value.clone()),
            "userknownhostsfile" => set(&mut found.known_hosts, values.to_vec()),
            "hostkeyalias" => set(&mut found.host_key_alias, value.clone()),
            "connecttimeout" if value == "none" => {}
            "connecttimeout" => {
                let time = seconds(value).filter(|time| !time.is_zero());
                set(&mut found.connect_timeout, time.ok_or_else(|| wrong("ConnectTimeout must be a time"))?);
            }
            "serveraliveinterval" => {
                let time = seconds(value).ok_or_else(|| wrong("ServerAliveInterval must be a time"))?;
                set(&mut found.alive_interval, time);
            }
            _ => {}
        }
        Ok(())
    }
}

fn set<T>(slot: &mut Option<T>, value: T) {
    slot.get_or_insert(value);
}

fn flag(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "yes" | "true" => Some(true),
        "no" | "false" => Some(false),
        _ => None,
    }
}

/// A time as OpenSSH writes it: `10`, `90s`, `1m30s`, `1h`.
fn seconds(value: &str) -> Option<Duration> {
    let mut total: u64 = 0;
    let mut digits = String::new();
    for c in value.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let unit = match c.to_ascii_lowercase() {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        total = total.checked_add(digits.parse::<u64>().ok()?.checked_mul(unit)?)?;
        digits.clear();
    }
    if !digits.is_empty() {
        total = total.checked_add(digits.parse().ok()?)?;
    } else if value.is_empty() {
        return None;
    }
    Some(Duration::from_secs(total))
}

/// The files an `Include` names, in the order of their names. Relative ones lie beside the user's configuration.
fn included(value: &str, from: &Path) -> Vec<PathBuf> {
    let folder = from.parent().unwrap_or(Path::new("."));
    let full = match value.strip_prefix("~/") {
        // The file read first is HOME/.ssh/config, and what it includes is either absolute or in its folder.
        Some(rest) => folder.parent().unwrap_or(Path::new("/")).join(rest),
        None => folder.join(value),
    };
    // A pattern that glob cannot read names no file.
    let Ok(paths) = glob::glob(&full.to_string_lossy()) else { return Vec::new() };
    paths.filter_map(|path| path.ok()).filter(|path| path.is_file()).collect()
}

/// The words of a line: `Key value`, `Key=value`, quotation marks, a comment at the end. `None` where a quotation mark
/// is not closed.
fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() && !rest.starts_with('#') {
        let word;
        if let Some(quoted) = rest.strip_prefix('"') {
            (word, rest) = quoted.split_once('"')?;
        } else {
            let keyword = words.is_empty();
            let end = rest.find(|c: char| c.is_whitespace() || (keyword && c == '=')).unwrap_or(rest.len());
            (word, rest) = rest.split_at(end);
        }
        words.push(word.to_string());
        rest = rest.trim_start();
        if words.len() == 1 {
            rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
        }
    }
    Some(words)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
