//! Why a connect failed.

use crate::record::{Record, SYNCHRONOUS};
use rustix::io::Errno;

/// Why a connect failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Nobody listens there.
    Refused,
    /// The other end broke it off.
    Reset,
    /// Nobody answered.
    TimedOut,
    /// There is no way to it.
    Unreachable,
    /// The application gave up before there was an answer.
    Aborted,
    /// There was no free port or address of its own to connect from.
    NoAddress,
    /// Something else.
    Other,
}

/// How many there are.
pub const REASONS: usize = 7;

impl Reason {
    /// All of them, in their order.
    pub const ALL: [Self; REASONS] = [
        Self::Refused,
        Self::Reset,
        Self::TimedOut,
        Self::Unreachable,
        Self::Aborted,
        Self::NoAddress,
        Self::Other,
    ];

    /// As a label has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::Aborted => "aborted",
            Self::NoAddress => "no_address",
            Self::Other => "other",
        }
    }

    /// Of a connection that ended before it came to be.
    pub fn of(record: &Record) -> Self {
        // Nothing came from outside. Within connect() itself the only thing that
        // ends it then is that no port could be found (inet_hash_connect).
        if record.error == 0 {
            return if record.is(SYNCHRONOUS) { Self::NoAddress } else { Self::Aborted };
        }
        // Numbers of errors end at 4095 (include/linux/err.h).
        let error = record.error.saturating_abs();
        if error > 4095 {
            return Self::Other;
        }
        match Errno::from_raw_os_error(error) {
            Errno::CONNREFUSED => Self::Refused,
            Errno::CONNRESET | Errno::CONNABORTED | Errno::PIPE => Self::Reset,
            Errno::TIMEDOUT => Self::TimedOut,
            Errno::HOSTUNREACH
            | Errno::NETUNREACH
            | Errno::HOSTDOWN
            | Errno::NETDOWN
            | Errno::NONET
            | Errno::NOPROTOOPT => Self::Unreachable,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::some;

    #[test]
    fn each_reason_is_known_by_the_socket_s_error() {
        let of = |error, flags| Reason::of(&Record { error, flags, ..some() }).as_str();
        assert_eq!(of(111, 0), "refused");
        assert_eq!(of(104, 0), "reset");
        assert_eq!(of(110, 0), "timed_out");
        assert_eq!(of(113, 0), "unreachable");
        assert_eq!(of(101, 0), "unreachable");
        assert_eq!(of(0, 0), "aborted");
        assert_eq!(of(0, SYNCHRONOUS), "no_address");
        assert_eq!(of(5, 0), "other");
        assert_eq!(of(-111, 0), "refused");
        assert_eq!(of(i32::MIN, 0), "other");
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }
}
