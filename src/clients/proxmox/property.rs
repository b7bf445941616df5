//! Property strings, the values in which Proxmox packs several options into one: `local-zfs:vm-200-disk-0,size=50G`.
//! The server sorts some of them, adds keys of its own to others and leaves the rest as sent, so they are compared
//! as sets of keys.

use std::fmt;

use percent_encoding::percent_decode_str;

use super::params::encode;
use super::size;

/// Why a text is no property string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Two parts have no key; one could be the default.
    #[error("two values without a key: `{0}` and `{1}`")]
    TwoDefaults(String, String),
    /// A key appears twice.
    #[error("the key `{0}` is there twice")]
    Twice(String),
    /// `key=` or `=value`.
    #[error("`{0}` lacks its key or its value")]
    Half(String),
    /// A comma would split the value in two.
    #[error("a comma in the value of `{0}` cannot be written")]
    Comma(String),
    /// Not percent-encoded UTF-8.
    #[error("not percent-encoded UTF-8 text")]
    NotEncoded,
}

/// A property string taken apart. Keys keep their order, for printing; comparison does not look at it.
#[derive(Debug, Clone, Default)]
pub struct Property {
    default: Option<String>,
    pairs: Vec<(String, String)>,
}

/// A key whose value is not as wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key; empty for the value without a key.
    pub key: String,
    /// What should be there; `None`: nothing.
    pub wanted: Option<String>,
    /// What is there.
    pub actual: Option<String>,
}

impl Property {
    /// Takes a text apart. Empty parts are skipped, as the server does.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut property = Property::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some((key, value)) if !key.is_empty() && !value.is_empty() => {
                    if property.get(key).is_some() {
                        return Err(Malformed::Twice(key.to_owned()));
                    }
                    property.pairs.push((key.to_owned(), value.to_owned()));
                }
                Some(_) => return Err(Malformed::Half(part.to_owned())),
                None => match property.default.replace(part.to_owned()) {
                    Some(first) => return Err(Malformed::TwoDefaults(first, part.to_owned())),
                    None => continue,
                },
            }
        }
        Ok(property)
    }

    /// Takes a network device apart. `virtio=BC:24:11:…` is the server's way to say `model=virtio,macaddr=BC:24:11:…`,
    /// and a bare `virtio` is the model too.
    pub fn parse_network_device(text: &str) -> Result<Self, Malformed> {
        const MODELS: [&str; 4] = ["virtio", "e1000", "rtl8139", "vmxnet3"];
        let parsed = Self::parse(text)?.with_default_key("model")?;
        let mut device = Property::default();
        for (key, value) in parsed.pairs {
            if MODELS.contains(&key.as_str()) || key.starts_with("e1000") {
                device = device.with("model", &key)?.with("macaddr", &value)?;
            } else {
                device = device.with(&key, &value)?;
            }
        }
        Ok(device)
    }

    /// Gives the value without a key its key: `file` for a disk, `model` for a network device.
    pub fn with_default_key(mut self, key: &str) -> Result<Self, Malformed> {
        let Some(value) = self.default.take() else { return Ok(self) };
        if self.get(key).is_some() {
            return Err(Malformed::Twice(key.to_owned()));
        }
        self.pairs.insert(0, (key.to_owned(), value));
        Ok(self)
    }

    /// A property string of one value without a key.
    pub fn of_default(value: &str) -> Result<Self, Malformed> {
        if value.is_empty() || value.contains('=') {
            return Err(Malformed::Half(value.to_owned()));
        }
        if value.contains(',') {
            return Err(Malformed::Comma(String::new()));
        }
        Ok(Property { default: Some(value.to_owned()), pairs: Vec::new() })
    }

    /// This property string and one key more.
    pub fn with(mut self, key: &str, value: &str) -> Result<Self, Malformed> {
        if key.is_empty() || value.is_empty() {
            return Err(Malformed::Half(format!("{key}={value}")));
        }
        if value.contains(',') {
            return Err(Malformed::Comma(key.to_owned()));
        }
        if self.get(key).is_some() {
            return Err(Malformed::Twice(key.to_owned()));
        }
        self.pairs.push((key.to_owned(), value.to_owned()));
        Ok(self)
    }

    /// The value without a key.
    pub fn default_value(&self) -> Option<&str> {
        self.default.as_deref()
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Keys and values, in order, without the value that has no key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// What `actual` would have to change to be as wanted by `self`. Keys that only the server sets (`size`,
    /// `macaddr`) do not count while nobody asks for them.
    pub fn differences(&self, actual: &Property, server_adds: &[&str]) -> Vec<Difference> {
        let added = actual.entries().filter(|(key, _)| self.entry(key).is_none() && !server_adds.contains(key));
        let wanted = self.entries().map(|(key, value)| (key, Some(value), actual.entry(key)));
        let surplus = added.map(|(key, value)| (key, None, Some(value)));
        wanted
            .chain(surplus)
            .filter(|(key, wanted, actual)| !same(key, *wanted, *actual))
            .map(|(key, wanted, actual)| Difference {
                key: key.to_owned(),
                wanted: wanted.map(str::to_owned),
                actual: actual.map(str::to_owned),
            })
            .collect()
    }

    fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.default.iter().map(|value| ("", value.as_str())).chain(self.iter())
    }

    fn entry(&self, key: &str) -> Option<&str> {
        if key.is_empty() { self.default_value() } else { self.get(key) }
    }
}

/// `50G` and `51200M` are one size, and a MAC address is the same in either case; all else is compared to the letter.
fn same(key: &str, a: Option<&str>, b: Option<&str>) -> bool {
    match (key, a, b) {
        (_, a, b) if a == b => true,
        ("size", Some(a), Some(b)) => matches!((size::parse(a), size::parse(b)), (Ok(a), Ok(b)) if a == b),
        ("macaddr", Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
        _ => false,
    }
}

/// Two property strings are equal when they hold the same keys with the same values, in whatever order.
impl PartialEq for Property {
    fn eq(&self, other: &Self) -> bool {
        self.differences(other, &[]).is_empty()
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.entries().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let equals = if key.is_empty() { "" } else { "=" };
            write!(f, "{comma}{key}{equals}{value}")?;
        }
        Ok(())
    }
}

/// Public keys as the option `sshkeys` holds them: percent-encoded inside, and once more by the form they travel in.
pub fn encode_sshkeys(keys: &str) -> String {
    encode(keys)
}

/// The public keys in the option `sshkeys`.
pub fn decode_sshkeys(encoded: &str) -> Result<String, Malformed> {
    let decoded = percent_decode_str(encoded).decode_utf8().map_err(|_| Malformed::NotEncoded)?;
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Property {
        Property::parse(text).unwrap()
    }

    #[test]
    fn a_disk_has_a_value_without_key_and_options() {
        let disk = parse("local-zfs:vm-200-disk-0,discard=on,size=50G");
        assert_eq!(disk.default_value(), Some("local-zfs:vm-200-disk-0"));
        assert_eq!(disk.get("discard"), Some("on"));
        assert_eq!(disk.to_string(), "local-zfs:vm-200-disk-0,discard=on,size=50G");
    }

    #[test]
    fn a_network_device_is_the_same_with_and_without_its_given_address() {
        let wanted = Property::parse_network_device("virtio,bridge=vmbr0,tag=11").unwrap();
        let actual = Property::parse_network_device("virtio=BC:24:11:00:02:16,tag=11,bridge=vmbr0").unwrap();
        assert_eq!(wanted.differences(&actual, &["macaddr"]), []);
        assert_ne!(wanted, actual);
        assert_eq!(actual.get("macaddr"), Some("BC:24:11:00:02:16"));
    }

    #[test]
    fn differences_name_what_is_wrong_missing_and_surplus() {
        let wanted = parse("virtio,bridge=vmbr0,tag=11");
        let actual = parse("virtio,bridge=vmbr1,firewall=1");
        let told: Vec<_> = wanted.differences(&actual, &[]).into_iter().map(|d| (d.key, d.wanted, d.actual)).collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            told,
            [
                ("bridge".to_owned(), some("vmbr0"), some("vmbr1")),
                ("tag".to_owned(), some("11"), None),
                ("firewall".to_owned(), None, some("1")),
            ]
        );
    }

    #[test]
    fn a_key_that_the_server_adds_counts_once_it_is_asked_for() {
        let actual = parse("local:x,size=50G");
        assert_eq!(parse("local:x").differences(&actual, &["size"]), []);
        assert_eq!(parse("local:x,size=51200M").differences(&actual, &["size"]), []);
        assert_eq!(parse("local:x,size=60G").differences(&actual, &["size"]).len(), 1);
    }

    #[test]
    fn what_the_server_would_refuse_is_refused() {
        assert_eq!(Property::parse("a,b"), Err(Malformed::TwoDefaults("a".into(), "b".into())));
        assert_eq!(Property::parse("tag=1,tag=2"), Err(Malformed::Twice("tag".into())));
        assert_eq!(Property::parse("tag="), Err(Malformed::Half("tag=".into())));
        assert_eq!(Property::default().with("tag", "1,2"), Err(Malformed::Comma("tag".into())));
        assert_eq!(parse("virtio,model=e1000").with_default_key("model"), Err(Malformed::Twice("model".into())));
    }

    #[test]
    fn sshkeys_are_encoded_before_the_form_encodes_them_again() {
        let keys = "ssh-ed25519 AAAA+/= me@home\n";
        assert_eq!(encode_sshkeys(keys), "ssh-ed25519%20AAAA%2B%2F%3D%20me%40home%0A");
        assert_eq!(decode_sshkeys("%FF"), Err(Malformed::NotEncoded));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_parsed_back(
            default in proptest::option::of("[a-zA-Z0-9:/._-]{1,12}"),
            pairs in proptest::collection::btree_map("[a-z_-]{1,8}", "[a-zA-Z0-9:;/ .=_-]{0,10}[a-z0-9]", 0..6),
        ) {
            let pairs: Vec<_> = pairs.into_iter().map(|(key, value)| (key, value.trim().to_owned())).collect();
            let property = Property { default, pairs };
            prop_assert_eq!(Property::parse(&property.to_string()), Ok(property));
        }

        #[test]
        fn order_does_not_matter(pairs in proptest::collection::btree_map("[a-z]{1,8}", "[a-z0-9]{1,8}", 0..6)) {
            let pairs: Vec<_> = pairs.into_iter().collect();
            let reversed = pairs.iter().rev().cloned().collect();
            prop_assert_eq!(Property { default: None, pairs }, Property { default: None, pairs: reversed });
        }

        #[test]
        fn sshkeys_survive_both_ways(keys: String) {
            prop_assert_eq!(decode_sshkeys(&encode_sshkeys(&keys)), Ok(keys));
        }
    }
}
