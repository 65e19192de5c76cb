//! A filter in the kernel: of the connections that begin, those whose destination is
//! translated. All others cost the reader nothing.

use super::entry::CTA_STATUS;
use super::{DST_NAT, GENERIC, HEADER};
use socket2::SockFilter;

// Classic BPF (Documentation/networking/filter.rst), as in `linux/bpf_common.h`.
const LD_W_ABS: u16 = 0x20;
const LD_W_IND: u16 = 0x40;
const LD_IMM: u16 = 0x00;
const LDX_IMM: u16 = 0x01;
const JEQ: u16 = 0x15;
const JSET: u16 = 0x45;
const TAX: u16 = 0x07;
const RET: u16 = 0x06;

/// `SKF_AD_OFF + SKF_AD_NLATTR`: where the attribute of kind X is, from A on.
const FIND_ATTRIBUTE: u32 = (-0x1000_i32 + 12).cast_unsigned();

/// All of the message.
const TAKE: u32 = u32::MAX;
const LEAVE: u32 = 0;

/// The program. What it does not understand is taken.
pub(super) fn program() -> [SockFilter; 9] {
    let begins = (HEADER + GENERIC) as u32;
    let one = SockFilter::new;
    [
        one(LDX_IMM, 0, 0, u32::from(CTA_STATUS)),
        one(LD_IMM, 0, 0, begins),
        one(LD_W_ABS, 0, 0, FIND_ATTRIBUTE),
        // There is no status.
        one(JEQ, 3, 0, 0),
        one(TAX, 0, 0, 0),
        // Behind the attribute's header, in the network's order, as it is loaded.
        one(LD_W_IND, 0, 0, 4),
        one(JSET, 0, 1, DST_NAT),
        one(RET, 0, 0, TAKE),
        one(RET, 0, 0, LEAVE),
    ]
}
