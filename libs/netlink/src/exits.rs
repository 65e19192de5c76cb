//! What processes waited in all, told when they end (`taskstats_exit` in
//! `kernel/taskstats.c`).
//!
//! The kernel sends a message for each thread that ends on a CPU that somebody
//! registered for: with the thread's own numbers, and, where it is the last of a
//! process that ever had several, with the process's. So a message with the
//! thread's alone is the end of a process that had one thread, or that of one
//! thread of several. Since version 12 the structure says which;
//! before, the two cannot be told apart ([`Of::Either`]).
//!
//! Messages come before the process can be waited for, and before the
//! connector of process events tells its end. Pids are those of the first pid
//! namespace: in another one, or in another user namespace, the kernel refuses
//! to register (EINVAL). In another network namespace it registers and is silent,
//! so [`Exits::listen`] waits until it has heard of the end of a thread of its own.

use crate::dump::split;
use crate::error::Error;
use crate::generic::{Family, GENERIC_HEADER, Question, attribute};
use crate::taskstats::{
    CMD_GET, Delays, FAMILY, Form, TYPE_AGGR_PID, TYPE_AGGR_TGID, TYPE_PID, TYPE_TGID, stats,
};
use rustix::io::Errno;
use rustix::net::{RecvFlags, sockopt};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

const CMD_ATTR_REGISTER: u16 = 3;
const CMD_ATTR_DEREGISTER: u16 = 4;

/// Larger than any message that there is: 1,196 bytes in Linux 6.18.
const MESSAGE: usize = 8192;

/// Whose end it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// A process's.
    Process,
    /// That of a process with one thread, or that of a thread.
    Either,
}

/// An end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The process, or the thread.
    pub pid: u32,
    /// Which of them.
    pub of: Of,
    /// For how long it was there, in microseconds; not known of a process of
    /// several threads before version 12.
    pub lived: Option<u64>,
    /// For how long the thread was there whose end it is, in microseconds: with
    /// the pid it names this message, also for another listener.
    pub mark: u64,
    /// How long it waited in all.
    pub delays: Delays,
}

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Read {
    /// There may be more.
    pub more: bool,
    /// Messages of threads whose process goes on.
    pub threads: u64,
    /// Messages that made no sense.
    pub malformed: u64,
}

/// A registration for all ends of processes.
#[derive(Debug)]
pub struct Exits {
    family: Family,
    form: Form,
    cpus: Vec<u8>,
}

impl Exits {
    /// Registers for these CPUs, as `/sys/devices/system/cpu/possible` lists
    /// them: the kernel takes those that may come later too. `buffer` is how many
    /// bytes it may keep for this socket; a message takes about 1.3 KB of it.
    /// `within` as for [`crate::Taskstats::open`].
    ///
    /// # Errors
    /// [`Error::Refused`]: with EINVAL this is not the first pid or user namespace,
    /// or these are no CPUs; EPERM and ENOENT as for [`crate::Taskstats::open`].
    /// [`Error::TimedOut`]: it is silent, as in another network namespace.
    pub fn listen(
        cpus: &str,
        form: Form,
        buffer: usize,
        within: Option<&Path>,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let family = Family::open(FAMILY, within, timeout)?;
        // Over `net.core.rmem_max` where the capability is there; less must do elsewhere.
        if sockopt::set_socket_recv_buffer_size_force(family.socket(), buffer).is_err() {
            let _ = sockopt::set_socket_recv_buffer_size(family.socket(), buffer);
        }
        // The kernel takes the last byte for the end of the text.
        let cpus = [cpus.trim().as_bytes(), &[0]].concat();
        let mut exits = Self { family, form, cpus };
        exits.order(CMD_ATTR_REGISTER)?;
        exits.hear(timeout)?;
        Ok(exits)
    }

    /// Waits until the kernel says that some thread ended: one does here. A buffer
    /// that runs over is heard of as well.
    fn hear(&self, timeout: Duration) -> Result<(), Error> {
        let started = std::thread::Builder::new().name("exits-test".to_owned()).spawn(|| ());
        started.map(drop).map_err(|source| Error::Call { call: "clone", source })?;
        match self.family.socket().receive(&mut [0; MESSAGE]) {
            Ok(_) | Err(Error::Overrun) => Ok(()),
            Err(Error::TimedOut(_)) => Err(Error::TimedOut(timeout)),
            Err(error) => Err(error),
        }
    }

    fn order(&mut self, attribute: u16) -> Result<(), Error> {
        let name = "TASKSTATS_CMD_ATTR_REGISTER_CPUMASK";
        let question = Question { name, command: CMD_GET, attribute, value: &self.cpus, is_order: true };
        self.family.ask(question).map(drop)
    }

    /// Reads what there is, without waiting, at most `most` messages.
    ///
    /// # Errors
    /// [`Error::Overrun`]: messages were lost; what comes then is good again,
    /// once the socket was read until it was empty.
    pub fn read(&self, into: &mut Vec<Exit>, most: usize) -> Result<Read, Error> {
        let mut message = [0; MESSAGE];
        let mut read = Read::default();
        for _ in 0..most {
            match rustix::net::recv(self.family.socket(), &mut message[..], RecvFlags::DONTWAIT) {
                Ok((_, length)) => self.take(&message[..length.min(MESSAGE)], into, &mut read),
                Err(Errno::AGAIN) => return Ok(read),
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => return Err(Error::Overrun),
                Err(errno) => {
                    return Err(Error::Call { call: "recv(NETLINK_GENERIC)", source: errno.into() });
                }
            }
        }
        read.more = true;
        Ok(read)
    }

    fn take(&self, datagram: &[u8], into: &mut Vec<Exit>, read: &mut Read) {
        match parse(datagram, self.family.number(), self.form) {
            Ok(Some(exit)) => into.push(exit),
            Ok(None) => read.threads += 1,
            Err(_) => read.malformed += 1,
        }
    }
}

impl Drop for Exits {
    /// Else the kernel goes on until the next end finds nobody, or somebody
    /// who has the socket's number by then.
    fn drop(&mut self) {
        let _ = self.order(CMD_ATTR_DEREGISTER);
    }
}

impl AsFd for Exits {
    /// Readable when there are messages.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.family.socket().as_fd()
    }
}

/// One message; `None` is a thread of a process that goes on.
fn parse(datagram: &[u8], family: u16, form: Form) -> Result<Option<Exit>, Error> {
    let wrong = |what: &str| Error::Malformed(what.to_owned());
    let (header, payload, _) = split(datagram)?;
    if header.message_type() != family {
        return Err(wrong("a message of another family"));
    }
    let attributes = payload.get(GENERIC_HEADER..).ok_or_else(|| wrong("no header"))?;
    let own = stats(attributes, TYPE_AGGR_PID)?.ok_or_else(|| wrong("no thread"))?;
    if Form::of(own)?.length != form.length {
        return Err(wrong("another form"));
    }
    let (_, mark) = form.thread(own).ok_or_else(|| wrong("no times"))?;
    let group = form.group(own);
    if let Some(whole) = stats(attributes, TYPE_AGGR_TGID)? {
        // Its version is not filled in.
        if whole.len() != form.length {
            return Err(wrong("another form"));
        }
        let pid = number(attributes, TYPE_AGGR_TGID, TYPE_TGID)?;
        let lived = group.map(|(_, lived)| lived);
        return Ok(Some(Exit { pid, of: Of::Process, lived, mark, delays: form.delays(whole) }));
    }
    let pid = number(attributes, TYPE_AGGR_PID, TYPE_PID)?;
    let delays = form.delays(own);
    Ok(match group {
        None => Some(Exit { pid, of: Of::Either, lived: Some(mark), mark, delays }),
        Some((process, lived)) if Form::is_last(own) => {
            Some(Exit { pid: process, of: Of::Process, lived: Some(lived), mark, delays })
        }
        Some(_) => None,
    })
}

fn number(attributes: &[u8], aggregate: u16, kind: u16) -> Result<u32, Error> {
    let nested = attribute(attributes, aggregate)?.unwrap_or_default();
    let pid =
        attribute(nested, kind)?.and_then(|value| value.first_chunk()).map(|pid| u32::from_ne_bytes(*pid));
    pid.filter(|pid| *pid != 0).ok_or_else(|| Error::Malformed("no pid".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generic::tests::{message, nla};
    use crate::taskstats::TYPE_STATS;
    use crate::taskstats::tests::structure;

    const FAMILY_NUMBER: u16 = 31;

    fn nested(aggregate: u16, kind: u16, pid: u32, stats: &[u8]) -> Vec<u8> {
        nla(aggregate, &[nla(kind, &pid.to_ne_bytes()), nla(TYPE_STATS, stats)].concat())
    }

    fn thread(version: u16, length: usize, pid: u32, flags: u8) -> Vec<u8> {
        nested(TYPE_AGGR_PID, TYPE_PID, pid, &structure(version, length, pid, flags))
    }

    fn read(form: Form, attributes: &[u8]) -> Option<Exit> {
        parse(&message(FAMILY_NUMBER, 5, attributes), FAMILY_NUMBER, form).expect("good")
    }

    #[test]
    fn since_version_12_the_last_thread_alone_is_an_end_of_a_process() {
        for (version, length) in [(12, 400), (13, 416), (14, 432), (15, 560), (16, 560), (17, 576)] {
            let form = Form { version, length };
            let last = read(form, &thread(version, length, 4242, 0x20)).expect("an end");
            assert_eq!((last.pid, last.of, last.lived, last.mark), (4242, Of::Process, Some(50_000), 20_000));
            assert_eq!(last.delays[..2], [1, 2]);
            assert_eq!(read(form, &thread(version, length, 4242, 0)), None, "its first thread");
            assert_eq!(read(form, &thread(version, length, 4250, 0)), None, "another");
            // The sum over all threads, without a version, and with a first thread that ended long ago.
            let mut sum = structure(version, length, 0, 0);
            sum[..2].fill(0);
            sum[24] = 99;
            let both =
                [thread(version, length, 4250, 0x20), nested(TYPE_AGGR_TGID, TYPE_TGID, 4242, &sum)].concat();
            let whole = read(form, &both).expect("an end");
            assert_eq!((whole.pid, whole.of, whole.lived), (4242, Of::Process, Some(50_000)));
            assert_eq!(whole.delays[..2], [99, 2]);
        }
    }

    #[test]
    fn before_it_may_be_either() {
        for (version, length) in [(8, 328), (9, 344), (10, 352), (11, 368)] {
            let form = Form { version, length };
            let one = read(form, &thread(version, length, 4250, 0)).expect("an end");
            assert_eq!((one.pid, one.of, one.lived), (4250, Of::Either, Some(20_000)));
            let both = [
                thread(version, length, 4250, 0),
                nested(TYPE_AGGR_TGID, TYPE_TGID, 4242, &structure(0, length, 0, 0)),
            ]
            .concat();
            let whole = read(form, &both).expect("an end");
            assert_eq!((whole.pid, whole.of, whole.lived, whole.mark), (4242, Of::Process, None, 20_000));
        }
    }

    #[test]
    fn what_is_cut_hostile_or_of_another_form_is_refused() {
        let form = Form { version: 16, length: 560 };
        let good = message(FAMILY_NUMBER, 5, &thread(16, 560, 4242, 0x20));
        assert!(parse(&good, FAMILY_NUMBER, form).is_ok());
        for length in 0..good.len() {
            assert!(parse(&good[..length], FAMILY_NUMBER, form).is_err(), "{length} bytes");
        }
        assert!(parse(&good, 32, form).is_err(), "another family");
        assert!(parse(&good, FAMILY_NUMBER, Form { version: 14, length: 432 }).is_err(), "another kernel");
        let old = Form { version: 10, length: 352 };
        let no_pid = nla(TYPE_AGGR_PID, &nla(TYPE_STATS, &structure(10, 352, 1, 0)));
        assert!(parse(&message(FAMILY_NUMBER, 5, &no_pid), FAMILY_NUMBER, old).is_err(), "whose?");
        // Each byte of the headers, turned over: an error or a message, never a panic.
        for at in 0..80 {
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << bit;
                let _ = parse(&bytes, FAMILY_NUMBER, form);
            }
        }
    }
}
