//! Addresses of network interfaces (RTM_GETADDR), both families.
//!
//! The numbers are those of include/uapi/linux/if_addr.h.

use netlink_packet_core::NlasIterator;
use netlink_packet_route::address::AddressHeader;
use std::net::IpAddr;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// The length of `struct ifaddrmsg`.
const HEADER: usize = 8;

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The interface's number.
    pub index: u32,
    /// The node's own address. On a point-to-point interface that is not the
    /// one that the kernel calls the interface's address: that is the peer's.
    pub ip: IpAddr,
}

impl Address {
    /// Reads the payload of a RTM_NEWADDR. `None`: it holds no IP address.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let header = AddressHeader::parse(payload).ok()?;
        let (mut local, mut address) = (None, None);
        for attribute in NlasIterator::new(payload.get(HEADER..)?).map_while(Result::ok) {
            match attribute.kind() {
                IFA_LOCAL => local = ip(attribute.value()),
                IFA_ADDRESS => address = ip(attribute.value()),
                _ => {}
            }
        }
        Some(Self { index: header.index, ip: local.or(address)? })
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_s_own_end_of_a_point_to_point_link_is_taken() {
        let mut payload = vec![2, 32, 0, 0, 9, 0, 0, 0];
        payload.extend([8, 0, 1, 0, 192, 0, 2, 1]);
        assert_eq!(Address::read(&payload).map(|read| read.ip), Some([192, 0, 2, 1].into()));
        payload.extend([8, 0, 2, 0, 192, 0, 2, 7]);
        let read = Address::read(&payload).expect("an address");
        assert_eq!((read.index, read.ip), (9, [192, 0, 2, 7].into()));
    }

    #[test]
    fn what_is_no_address_is_none() {
        assert_eq!(Address::read(&[]), None);
        assert_eq!(Address::read(&[2, 32, 0, 0, 9, 0, 0, 0]), None);
        assert_eq!(Address::read(&[2, 32, 0, 0, 9, 0, 0, 0, 7, 0, 1, 0, 1, 2, 3, 0]), None);
    }
}
