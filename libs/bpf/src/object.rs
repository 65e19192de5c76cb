//! An object: its maps, and its programs one by one.

use crate::call;
use crate::error::{Error, chain};
use crate::hash::Hash;
use crate::iterator::Iterator;
use crate::kernel::Kernel;
use crate::ring::Ring;
use crate::stats::{self, Measured};
use aya::maps::{Array, Map, MapData, MapError, PerCpuArray};
use aya::programs::tp_btf::BtfTracePointLinkId;
use aya::programs::{BtfTracePoint, Iter, Program};
use aya::{Ebpf, EbpfLoader};
use std::os::fd::AsFd as _;
use std::time::Duration;

/// By far longer than a program runs, with all that may come in between.
const SETTLED: Duration = Duration::from_millis(50);

/// An object that was loaded. Dropped, all of it leaves the kernel.
#[derive(Debug)]
pub struct Object {
    name: &'static str,
    ebpf: Ebpf,
    programs: Vec<(&'static str, Outcome)>,
    links: Vec<(&'static str, BtfTracePointLinkId)>,
}

/// What came of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the kernel.
    Loaded,
    /// It is not, and this is why.
    Refused(String),
}

impl Object {
    /// Reads an object and makes its maps; no program is loaded yet. `sizes`
    /// are other numbers of entries than the object's own, `constants` other values
    /// of its `const volatile` variables.
    ///
    /// # Errors
    /// [`Error::Object`], with the remedy where it is a missing capability.
    pub fn open(
        kernel: &Kernel,
        name: &'static str,
        bytes: &[u8],
        sizes: &[(&'static str, u32)],
        constants: &[(&'static str, u32)],
    ) -> Result<Self, Error> {
        let mut loader = EbpfLoader::new();
        loader.btf(Some(kernel.btf()));
        for (map, entries) in sizes {
            loader.map_max_entries(map, *entries);
        }
        for (name, value) in constants {
            loader.override_global(name, value, true);
        }
        let ebpf = loader.load(bytes).map_err(|error| Error::Object { object: name, why: chain(&error) })?;
        Ok(Self { name, ebpf, programs: Vec::new(), links: Vec::new() })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Loads a program and attaches it to a tracepoint, with the types of its
    /// arguments (`tp_btf`).
    ///
    /// # Errors
    /// [`Error::Program`]; the others of the object are as they were.
    pub fn trace(&mut self, kernel: &Kernel, program: &'static str, tracepoint: &str) -> Result<(), Error> {
        let loaded = (|| {
            let found: &mut BtfTracePoint =
                find(&mut self.ebpf, program)?.try_into().map_err(|error| refused(program, &error))?;
            found.load(tracepoint, kernel.btf()).map_err(|error| refused(program, &error))?;
            let link = found.attach().map_err(|error| refused(program, &error))?;
            self.links.push((program, link));
            Ok(())
        })();
        self.note(program, loaded)
    }

    /// Takes a program away from its tracepoint, and waits until no processor
    /// is in the middle of it: what it had to tell is told then. It stays loaded, so
    /// that what it missed until the end can be asked for.
    pub fn detach(&mut self, program: &'static str) {
        let links = std::mem::take(&mut self.links);
        let (of_it, others) = links.into_iter().partition(|(name, _)| *name == program);
        self.links = others;
        if let Some(Program::BtfTracePoint(found)) = self.ebpf.program_mut(program) {
            let of_it: Vec<_> = of_it;
            // What is in the way of that can only be that it is not there.
            of_it.into_iter().for_each(|(_, link)| drop(found.detach(link)));
        }
        if call::wait_for_processors().is_err() {
            // Machines with processors that the scheduler leaves alone have no such
            // call. A program runs for microseconds.
            std::thread::park_timeout(SETTLED);
        }
    }

    /// Loads a program that goes through all there is of a kind (`task_file`),
    /// or through a map (`bpf_map_elem`, `bpf_sk_storage_map`).
    ///
    /// # Errors
    /// [`Error::Program`]; the others of the object are as they were.
    pub fn iterate(
        &mut self,
        kernel: &Kernel,
        program: &'static str,
        kind: &str,
        map: Option<&'static str>,
    ) -> Result<Iterator, Error> {
        let loaded = (|| {
            let map_fd = match map {
                None => None,
                Some(map) => Some(
                    self.data(map)?
                        .fd()
                        .as_fd()
                        .try_clone_to_owned()
                        .map_err(|source| Error::Call { call: "fcntl(F_DUPFD_CLOEXEC)", source })?,
                ),
            };
            let found: &mut Iter =
                find(&mut self.ebpf, program)?.try_into().map_err(|error| refused(program, &error))?;
            found.load(kind, kernel.btf()).map_err(|error| refused(program, &error))?;
            let fd = found.fd().map_err(|error| refused(program, &error))?;
            Iterator::new(fd.as_fd(), map_fd.as_ref().map(|map| map.as_fd()))
                .map_err(|error| refused(program, &error))
        })();
        self.note(program, loaded)
    }

    fn note<T>(&mut self, program: &'static str, loaded: Result<T, Error>) -> Result<T, Error> {
        let outcome = match &loaded {
            Ok(_) => Outcome::Loaded,
            Err(Error::Program { why, .. }) => Outcome::Refused(why.clone()),
            Err(error) => Outcome::Refused(error.to_string()),
        };
        self.programs.push((program, outcome));
        loaded
    }

    /// Takes a ring of events out of it.
    ///
    /// # Errors
    /// [`Error::Map`] where there is none of this name.
    pub fn ring(&mut self, map: &'static str) -> Result<Ring, Error> {
        let found = self.ebpf.take_map(map).ok_or_else(|| no_map(map, "the object has none of this name"))?;
        Ring::new(map, found)
    }

    /// The sum over all processors of an entry of a per-CPU array of `u64`.
    ///
    /// # Errors
    /// [`Error::Map`] where there is none of this name, or it is of another type.
    pub fn sum(&self, map: &'static str, index: u32) -> Result<u64, Error> {
        let found = self.ebpf.map(map).ok_or_else(|| no_map(map, "the object has none of this name"))?;
        let failed = |error: MapError| no_map(map, &chain(&error));
        let array: PerCpuArray<&MapData, u64> = found.try_into().map_err(failed)?;
        let values = array.get(&index, 0).map_err(failed)?;
        Ok(values.iter().fold(0, |sum: u64, value| sum.saturating_add(*value)))
    }

    /// Sets the first entry of an array of `u32`.
    ///
    /// # Errors
    /// As [`Self::sum`].
    pub fn set(&mut self, map: &'static str, value: u32) -> Result<(), Error> {
        let found = self.ebpf.map_mut(map).ok_or_else(|| no_map(map, "the object has none of this name"))?;
        let failed = |error: MapError| no_map(map, &chain(&error));
        let mut array: Array<&mut MapData, u32> = found.try_into().map_err(failed)?;
        array.set(0, value, 0).map_err(failed)
    }

    /// A hash from `u64` to `u64`, for somebody who does not have the object.
    ///
    /// # Errors
    /// As [`Self::sum`].
    pub fn hash(&self, map: &'static str) -> Result<Hash, Error> {
        Hash::new(map, self.data(map)?)
    }

    /// What each program that was asked for came to, and costs.
    pub fn programs(&self) -> Vec<Measured> {
        let measured = |(name, outcome): &(&'static str, Outcome)| {
            let fd = self.ebpf.program(name).and_then(|program| program.fd().ok());
            let costs = fd.and_then(|fd| stats::of_program(fd.as_fd()).ok());
            Measured { program: name, outcome: outcome.clone(), costs }
        };
        self.programs.iter().map(measured).collect()
    }

    /// Bytes of its maps in the kernel, but for those that were taken out.
    pub fn map_bytes(&self) -> u64 {
        let of = |map: &Map| data(map).and_then(|data| stats::of_map(data.fd().as_fd()));
        self.ebpf.maps().filter_map(|(_, map)| of(map)).sum()
    }

    fn data(&self, map: &'static str) -> Result<&MapData, Error> {
        let found = self.ebpf.map(map).ok_or_else(|| no_map(map, "the object has none of this name"))?;
        data(found).ok_or_else(|| no_map(map, "no iterator goes through maps of its type"))
    }
}

fn data(map: &Map) -> Option<&MapData> {
    match map {
        Map::SkStorage(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuHashMap(data)
        | Map::PerCpuArray(data)
        | Map::Array(data)
        | Map::RingBuf(data) => Some(data),
        _ => None,
    }
}

fn find<'a>(ebpf: &'a mut Ebpf, program: &'static str) -> Result<&'a mut Program, Error> {
    ebpf.program_mut(program)
        .ok_or_else(|| Error::Program { program, why: "the object has none of this name".to_owned() })
}

fn refused(program: &'static str, error: &dyn std::error::Error) -> Error {
    Error::Program { program, why: chain(error) }
}

fn no_map(map: &'static str, why: &str) -> Error {
    Error::Map { map, why: why.to_owned() }
}
