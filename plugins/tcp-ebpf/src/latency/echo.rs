//! Echo requests and their answers, as bytes: ICMP (RFC 792) and ICMPv6 (RFC 4443).

use std::net::IpAddr;

/// The length of a request: the header, what it is known by, and what fills it up to
/// the length of those of `ping(8)`, so that both take the same way.
pub const LENGTH: usize = 64;

/// Of ICMP: type, code, checksum, identifier, sequence number.
const HEADER: usize = 8;

/// What is known by: it cannot be guessed by whoever did not see the request.
const COOKIE: usize = 8;

/// The longest header of version 4.
const MAX_IP_HEADER: usize = 60;

/// Room for an answer with its header, and for one byte that is too much.
pub const ROOM: usize = MAX_IP_HEADER + LENGTH + 1;

/// One request, or the answer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// Whose it is; the kernel may put another in its place.
    pub id: u16,
    /// Which of them.
    pub sequence: u16,
    /// Who does not know it has not seen the request.
    pub cookie: u64,
}

impl Echo {
    /// As a request to this address. The checksum of version 6 is the kernel's: it has
    /// the sender's address in it.
    pub fn request(&self, to: IpAddr) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[0] = if to.is_ipv4() { 8 } else { 128 };
        bytes[4..6].copy_from_slice(&self.id.to_be_bytes());
        bytes[6..8].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[HEADER..HEADER + COOKIE].copy_from_slice(&self.cookie.to_be_bytes());
        if to.is_ipv4() {
            let sum = checksum(&bytes);
            bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        bytes
    }

    /// Reads an answer. `has_header`: of version 4 in a raw socket, which has the IP
    /// header before it. `None`: it is something else, or not whole. That its checksum is
    /// right was seen by the kernel, but for raw sockets of version 4: a wrong cookie is
    /// nobody's answer.
    pub fn answer(bytes: &[u8], is_v4: bool, has_header: bool) -> Option<Self> {
        let bytes = if has_header {
            let length = usize::from(bytes.first()? & 0x0f) * 4;
            let is_icmp = length >= 20 && *bytes.get(9)? == 1;
            is_icmp.then(|| bytes.get(length..)).flatten()?
        } else {
            bytes
        };
        let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
        let kind = if is_v4 { 0 } else { 129 };
        let number = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        (bytes[0] == kind && bytes[1] == 0).then(|| Self {
            id: number(4),
            sequence: number(6),
            cookie: u64::from_be_bytes(std::array::from_fn(|at| bytes[HEADER + at])),
        })
    }
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECHO: Echo = Echo { id: 0x1234, sequence: 7, cookie: 0x0102_0304_0506_0708 };

    fn answered(to: &str) -> [u8; LENGTH] {
        let to: IpAddr = to.parse().expect("an address");
        let mut bytes = ECHO.request(to);
        bytes[0] = if to.is_ipv4() { 0 } else { 129 };
        bytes
    }

    #[test]
    fn a_request_of_version_4_has_a_checksum_and_an_answer_is_read() {
        assert_eq!(checksum(&ECHO.request([10, 0, 0, 1].into())), 0, "it sums up to nothing");
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2, "RFC 1071");
        assert_eq!(Echo::answer(&answered("10.0.0.1"), true, false), Some(ECHO));
        assert_eq!(Echo::answer(&answered("fd00::1"), false, false), Some(ECHO));
        assert_eq!(Echo::answer(&answered("fd00::1"), true, false), None);
    }

    #[test]
    fn a_header_is_passed_over_whatever_its_length() {
        for words in 0..=15_u8 {
            let mut bytes = vec![0; usize::from(words) * 4];
            if let [first, ..] = bytes.as_mut_slice() {
                *first = 0x40 | words;
            }
            if let Some(protocol) = bytes.get_mut(9) {
                *protocol = 1;
            }
            bytes.extend(answered("10.0.0.1"));
            let expected = (words >= 5).then_some(ECHO);
            assert_eq!(Echo::answer(&bytes, true, true), expected, "{words}");
            // Of another protocol, and cut anywhere.
            for length in 0..bytes.len() {
                assert_eq!(Echo::answer(&bytes[..length], true, true), None);
            }
        }
    }

    #[test]
    fn what_is_too_long_or_another_message_is_none() {
        let mut long = answered("10.0.0.1").to_vec();
        long.push(0);
        assert_eq!(Echo::answer(&long, true, false), None);
        for kind in [3, 8, 11] {
            let mut other = answered("10.0.0.1");
            other[0] = kind;
            assert_eq!(Echo::answer(&other, true, false), None);
        }
        let mut code = answered("10.0.0.1");
        code[1] = 1;
        assert_eq!(Echo::answer(&code, true, false), None);
    }
}
