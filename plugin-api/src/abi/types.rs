//! Values that cross. Frozen: a field more is refused both ways round.

use crate::error::Error;
use crate::identity::{ContainerRef, Event, EventKind, Observation, Process};
use crate::view::Cell;
use abi_stable::StableAbi;
use abi_stable::std_types::{RErr, ROk, RResult, RSlice, RString, RVec};

/// Bytes that should be UTF-8 and are checked by whoever takes them.
pub type Bytes<'a> = RSlice<'a, u8>;

/// `CLOCK_REALTIME`
pub const CLOCK_REALTIME: u32 = 0;
/// `CLOCK_MONOTONIC`
pub const CLOCK_MONOTONIC: u32 = 1;
/// `CLOCK_BOOTTIME`
pub const CLOCK_BOOTTIME: u32 = 7;

/// [`Error`] as it crosses.
#[repr(C)]
#[derive(StableAbi, Debug, Clone)]
pub struct AbiError {
    pub code: u32,
    pub message: RString,
}

impl From<Error> for AbiError {
    fn from(error: Error) -> Self {
        Self { code: error.code(), message: error.message().into() }
    }
}

impl From<AbiError> for Error {
    fn from(error: AbiError) -> Self {
        Error::from_code(error.code, error.message.into_string())
    }
}

/// A result that crossed.
pub fn result<T>(crossed: RResult<T, AbiError>) -> Result<T, Error> {
    crossed.into_result().map_err(Error::from)
}

/// A result that is to cross.
pub fn crossing<T>(result: Result<T, Error>) -> RResult<T, AbiError> {
    match result {
        Ok(value) => ROk(value),
        Err(error) => RErr(error.into()),
    }
}

/// [`Process`] as it crosses.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy)]
pub struct AbiProcess {
    pub start: u64,
    pub pid: u32,
}

impl AbiProcess {
    pub fn to_process(&self) -> Process {
        Process { pid: self.pid, start: self.start }
    }
}

/// [`Event`] as it crosses; pid 0 is no process, container 0 none.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy)]
pub struct AbiEvent {
    pub container: u64,
    pub at: u64,
    pub start: u64,
    pub pid: u32,
    pub kind: u32,
}

impl AbiEvent {
    pub fn to_event(&self) -> Event {
        Event {
            kind: EventKind::from_code(self.kind),
            container: ContainerRef::from_handle(self.container),
            process: (self.pid != 0).then_some(Process { pid: self.pid, start: self.start }),
            at: self.at,
        }
    }
}

/// Some events.
#[repr(C)]
#[derive(StableAbi, Debug, Clone)]
pub struct AbiEvents {
    pub events: RVec<AbiEvent>,
    pub next: u64,
    pub lost: u64,
}

/// [`Observation`] as it crosses.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy)]
pub struct AbiObservation {
    pub start: u64,
    pub cgroup: u64,
    pub network_namespace: u64,
    pub pid: u32,
    pub hierarchy: u32,
    pub kind: u32,
}

impl AbiObservation {
    pub fn from_observation(seen: &Observation) -> Self {
        Self {
            start: seen.process.start,
            cgroup: seen.cgroup,
            network_namespace: seen.network_namespace,
            pid: seen.process.pid,
            hierarchy: seen.hierarchy,
            kind: seen.kind.code(),
        }
    }
    pub fn to_observation(&self) -> Observation {
        Observation {
            kind: EventKind::from_code(self.kind),
            process: Process { pid: self.pid, start: self.start },
            hierarchy: self.hierarchy,
            cgroup: self.cgroup,
            network_namespace: self.network_namespace,
        }
    }
}

/// [`Cell`] as it crosses.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy)]
pub struct AbiCell<'a> {
    pub text: Bytes<'a>,
    pub number: f64,
    pub container: u64,
    pub kind: u32,
}

impl<'a> AbiCell<'a> {
    pub const EMPTY: Self = Self { text: Bytes::EMPTY, number: 0.0, container: 0, kind: 0 };

    pub fn from_cell(cell: Cell<'a>) -> Self {
        match cell {
            Cell::Empty => Self::EMPTY,
            Cell::Text(text) => Self { kind: 1, text: RSlice::from_slice(text.as_bytes()), ..Self::EMPTY },
            Cell::Number(number) => Self { kind: 2, number, ..Self::EMPTY },
            Cell::Time(number) => Self { kind: 3, number, ..Self::EMPTY },
            Cell::Container(container) => Self { kind: 4, container: container.handle(), ..Self::EMPTY },
        }
    }
}
