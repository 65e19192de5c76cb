//! What the kernel says over netlink
