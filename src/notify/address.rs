//! Which addresses a webhook may reach: none inside, unless the operator says so.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Deserialize;

/// A range of addresses, such as `10.1.0.0/16` or `fd00::/8`; a single address
/// is a range of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct AddressRange {
    network: u128,
    /// The bits that count.
    bits: u32,
    is_v4: bool,
}

/// A text that is no range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a range of addresses is written as ADDRESS or ADDRESS/BITS")]
pub struct InvalidRange;

fn number(address: IpAddr) -> (u128, bool) {
    match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), true),
        IpAddr::V6(address) => (u128::from(address), false),
    }
}

impl AddressRange {
    /// Reads a range.
    ///
    /// # Errors
    ///
    /// `InvalidRange`, also when the address has bits beyond the range's.
    pub fn parse(text: &str) -> Result<Self, InvalidRange> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => {
                (address, Some(bits.parse::<u32>().map_err(|_says_nothing| InvalidRange)?))
            }
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_says_nothing| InvalidRange)?;
        let (network, is_v4) = number(address);
        let width = if is_v4 { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        let range = Self { network, bits, is_v4 };
        if bits > width || range.masked(network) != network {
            return Err(InvalidRange);
        }
        Ok(range)
    }

    fn masked(&self, address: u128) -> u128 {
        let width = if self.is_v4 { 32 } else { 128 };
        let host = width - self.bits.min(width);
        address.checked_shr(host).and_then(|high| high.checked_shl(host)).unwrap_or(0)
    }

    /// Whether the address lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (address, is_v4) = number(address.to_canonical());
        is_v4 == self.is_v4 && self.masked(address) == self.network
    }
}

impl TryFrom<String> for AddressRange {
    type Error = InvalidRange;

    fn try_from(text: String) -> Result<Self, InvalidRange> {
        Self::parse(&text)
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = match u32::try_from(self.network) {
            Ok(address) if self.is_v4 => IpAddr::V4(Ipv4Addr::from(address)),
            _ => IpAddr::V6(Ipv6Addr::from(self.network)),
        };
        write!(f, "{address}/{}", self.bits)
    }
}

/// Whether the address is one of the public Internet: not private, shared,
/// local to host or link, multicast, or reserved (RFC 6890). An IPv4 address
/// inside an IPv6 one counts as itself.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, _, _, _, _, high, low] = address.segments();
    let inner = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match (first, second) {
        // Translated to IPv4 (RFC 6052), and 6to4 (RFC 3056).
        (0x64, 0xff9b) => is_public_v4(inner(high, low)),
        (0x2002, _) => false,
        // Protocol assignments with Teredo, and documentation.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x3fff, 0..=0xfff) => false,
        (0x2000..=0x3fff, _) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for inside in [
            "0.0.0.0",
            "10.0.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001:db8::1",
            "2001::1",
            "::10.0.0.1",
            "fec0::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in
            ["8.8.8.8", "100.63.0.1", "172.32.0.1", "2606:4700::1", "64:ff9b::808:808", "::ffff:8.8.8.8"]
        {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn a_range_contains_its_addresses_in_every_spelling() {
        let range = AddressRange::parse("10.1.0.0/16").unwrap();
        for (address, inside) in
            [("10.1.255.1", true), ("::ffff:10.1.0.1", true), ("10.2.0.1", false), ("::10.1.0.1", false)]
        {
            assert_eq!(range.contains(address.parse().unwrap()), inside, "{address}");
        }
        assert_eq!(range.to_string(), "10.1.0.0/16");
        assert!(AddressRange::parse("fd00::/8").unwrap().contains("fd12::1".parse().unwrap()));
        assert!(AddressRange::parse("::/0").unwrap().contains("2606::1".parse().unwrap()));
        assert!(AddressRange::parse("0.0.0.0/0").unwrap().contains("1.2.3.4".parse().unwrap()));
        assert!(AddressRange::parse("127.0.0.1").unwrap().contains("127.0.0.1".parse().unwrap()));
        for bad in ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/x", "a/8", "::/129"] {
            assert!(AddressRange::parse(bad).is_err(), "{bad}");
        }
    }
}
