//! The few system calls that no safe crate offers
