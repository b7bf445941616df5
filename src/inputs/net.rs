//! IPv4 addresses, networks and ranges.

use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::error::{Class, Error, Result};

/// An address: `10.20.11.31`.
pub fn address(text: &str) -> Result<Ipv4Addr> {
    text.trim().parse().map_err(|_| malformed(text, "an IPv4 address", "10.20.11.31"))
}

/// A network, or an address with the length of its network: `10.20.11.0/24`, `10.20.11.31/24`.
pub fn network(text: &str) -> Result<Ipv4Net> {
    text.trim().parse().map_err(|_| malformed(text, "an IPv4 network", "10.20.11.0/24"))
}

/// Whether a network contains an address.
pub fn contains(cidr: &str, inside: &str) -> Result<bool> {
    Ok(network(cidr)?.contains(&address(inside)?))
}

/// The address part of `10.20.11.31/24`.
pub fn host(cidr: &str) -> Result<Ipv4Addr> {
    network(cidr).map(|network| network.addr())
}

/// The n-th address of a network, counted from its network address: `nth("10.20.11.0/24", 1)` is `10.20.11.1`.
pub fn nth(cidr: &str, n: i64) -> Result<Ipv4Addr> {
    let network = network(cidr)?.trunc();
    let size = 1i64 << (32 - network.prefix_len());
    if !(0..size).contains(&n) {
        return Err(Error::new(Class::InputMissing, format!("{network}: has no address number {n}"))
            .help(format!("a number from 0 to {}", size - 1)));
    }
    // Less than the size of the network, so the sum stays inside of it.
    Ok(Ipv4Addr::from(u32::from(network.addr()) + n as u32))
}

/// Whether a range such as `10.20.11.200-10.20.11.220` contains an address.
pub fn range_contains(range: &str, inside: &str) -> Result<bool> {
    Ok(IpRange::parse(range)?.contains(address(inside)?))
}

/// A range of addresses, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpRange {
    /// The lowest address.
    pub first: Ipv4Addr,
    /// The highest address.
    pub last: Ipv4Addr,
}

impl IpRange {
    /// Parses `10.20.11.200-10.20.11.220`, or one address.
    pub fn parse(text: &str) -> Result<Self> {
        let (first, last) = text.split_once(['-', '–']).unwrap_or((text, text));
        let (Ok(first), Ok(last)) = (address(first), address(last)) else {
            return Err(malformed(text, "a range of IPv4 addresses", "10.20.11.200-10.20.11.220"));
        };
        if last < first {
            return Err(Error::new(Class::InputMissing, format!("`{text}` ends before it begins"))
                .help(format!("write {last}-{first}")));
        }
        Ok(IpRange { first, last })
    }

    /// Whether an address is in the range.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address)
    }

    /// Whether two ranges share an address.
    pub fn overlaps(&self, other: &IpRange) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// All addresses, from the lowest.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + use<> {
        (u32::from(self.first)..=u32::from(self.last)).map(Ipv4Addr::from)
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

fn malformed(text: &str, what: &str, example: &str) -> Error {
    Error::new(Class::InputMissing, format!("`{text}` is not {what}")).help(format!("it looks like {example}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        assert!(contains("10.20.11.0/24", "10.20.11.255").unwrap());
        assert!(contains("10.20.11.7/24", "10.20.11.1").unwrap());
        assert!(!contains("10.20.11.0/24", "10.20.12.0").unwrap());
    }

    #[test]
    fn addresses_are_counted_from_the_network_address() {
        assert_eq!(nth("10.20.11.77/24", 1).unwrap().to_string(), "10.20.11.1");
        assert_eq!(nth("0.0.0.0/0", 4_294_967_295).unwrap().to_string(), "255.255.255.255");
        assert_eq!(nth("10.0.0.0/30", 4).unwrap_err().message(), "10.0.0.0/30: has no address number 4");
        assert!(nth("10.0.0.0/30", -1).is_err());
    }

    #[test]
    fn the_host_part_is_the_address_without_the_length_of_its_network() {
        assert_eq!(host("10.20.11.31/24").unwrap().to_string(), "10.20.11.31");
    }

    #[test]
    fn a_range_includes_both_ends() {
        let range = IpRange::parse("10.20.11.200-10.20.11.220").unwrap();
        assert!(range.contains(range.first) && range.contains(range.last));
        assert_eq!(range.addresses().count(), 21);
        assert!(!range_contains("10.20.11.200-10.20.11.220", "10.20.11.221").unwrap());
        assert_eq!(IpRange::parse(&range.to_string()).unwrap(), range);
    }

    #[test]
    fn ranges_overlap_when_they_share_an_address() {
        let range = |text| IpRange::parse(text).unwrap();
        assert!(range("10.0.0.1-10.0.0.5").overlaps(&range("10.0.0.5-10.0.0.9")));
        assert!(!range("10.0.0.1-10.0.0.5").overlaps(&range("10.0.0.6")));
    }

    #[test]
    fn what_is_no_address_is_named_with_an_example() {
        for (error, message) in [
            (address("10.20.11.300").unwrap_err(), "`10.20.11.300` is not an IPv4 address"),
            (network("10.20.11.0").unwrap_err(), "`10.20.11.0` is not an IPv4 network"),
            (IpRange::parse("a-b").unwrap_err(), "`a-b` is not a range of IPv4 addresses"),
            (IpRange::parse("10.0.0.9-10.0.0.1").unwrap_err(), "`10.0.0.9-10.0.0.1` ends before it begins"),
        ] {
            assert_eq!(error.message(), message);
            assert!(error.help_text().is_some());
        }
    }
}
