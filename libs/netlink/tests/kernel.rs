//! Against the running kernel, in whatever network namespace the test has.

use gantry_netlink::{Bounds, Error, RouteSocket};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);

#[test]
fn links_and_addresses_are_read_again_and_again() {
    let mut socket = RouteSocket::open(TIMEOUT).expect("rtnetlink needs no privilege");
    let (mut links, mut addresses) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        let read = socket.links(&mut links).expect("read");
        assert_eq!(read.malformed, 0);
        let read = socket.addresses(&mut addresses).expect("read");
        assert_eq!(read.malformed, 0);
    }
    let loopback = links.iter().find(|link| link.loopback).expect("each namespace has one");
    assert_eq!((loopback.name.as_str(), loopback.kind.as_str()), ("lo", ""));
    assert!(loopback.counters.is_some());
    for address in &addresses {
        assert!(links.iter().any(|link| link.index == address.index), "{address:?}");
    }
}

#[test]
fn an_answer_over_its_bounds_is_an_error() {
    let mut links = Vec::new();
    for bounds in [Bounds { bytes: 100, messages: 9 }, Bounds { bytes: 1 << 20, messages: 0 }] {
        let mut socket = RouteSocket::open(TIMEOUT).expect("open");
        socket.set_bounds(bounds);
        let error = socket.links(&mut links).expect_err("over the bounds");
        assert!(matches!(error, Error::TooLarge(_)), "{error}");
    }
}

#[test]
fn a_namespace_that_is_none_is_named() {
    let error = RouteSocket::open_in("/nonexistent/ns/net".as_ref(), TIMEOUT).expect_err("missing");
    assert!(error.to_string().contains("/nonexistent/ns/net"), "{error}");
    let error = RouteSocket::open_in("/proc/self/stat".as_ref(), TIMEOUT).expect_err("no namespace");
    assert!(matches!(error, Error::Namespace { .. }), "{error}");
}
