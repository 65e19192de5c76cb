//! bpf(2), where aya has no way to it: iterators with parameters, what programs
//! cost, having the kernel measure, and how far a ring was written and read.
#![allow(unsafe_code, reason = "a system call that takes a union by address")]

use aya_obj::generated::{bpf_attach_type::BPF_TRACE_ITER, bpf_attr, bpf_cmd, bpf_prog_info};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An `attr` of which each byte is 0, as the kernel wants those to be that a
/// command does not know.
fn zeroed() -> bpf_attr {
    // SAFETY: bpf_attr is a union of plain C structures of integers; all zeroes
    // is a value of each of them.
    unsafe { std::mem::zeroed() }
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    // A descriptor that is open is not negative.
    fd.as_raw_fd().unsigned_abs()
}

/// # Safety
/// `attr` is filled as the command wants it: each address in it points at as
/// many bytes as it says, which live until the return.
unsafe fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i64> {
    // SAFETY: the kernel reads and writes `attr` within the length that is given
    // with it, and what it points at, as the caller promises. Nothing safe makes
    // this call: rustix and nix have no bpf(2).
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_long, attr, size_of::<bpf_attr>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// # Safety
/// As [`bpf`]; and the command gives a new descriptor.
unsafe fn bpf_fd(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    let fd = unsafe { bpf(command, attr) }?;
    let fd = i32::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the kernel made this descriptor for this call, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// BPF_LINK_CREATE of an iterator; of those that go through a map, with it.
pub(crate) fn link_iterator(program: BorrowedFd<'_>, map: Option<BorrowedFd<'_>>) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    // union bpf_iter_link_info, of which `map.map_fd` is the first word.
    let mut info = [map.map_or(0, number), 0, 0, 0];
    // These are stores to fields of a union, which Rust has as safe.
    attr.link_create.__bindgen_anon_1.prog_fd = number(program);
    attr.link_create.attach_type = BPF_TRACE_ITER as u32;
    if map.is_some() {
        attr.link_create.__bindgen_anon_3.__bindgen_anon_1.iter_info = &raw mut info as u64;
        attr.link_create.__bindgen_anon_3.__bindgen_anon_1.iter_info_len = size_of_val(&info) as u32;
    }
    // SAFETY: the only address is that of `info`, which has the length that is
    // given and lives to the end of this function. A link is a new descriptor.
    unsafe { bpf_fd(bpf_cmd::BPF_LINK_CREATE, &mut attr) }
}

/// BPF_ITER_CREATE: a file that is one pass of the iterator.
pub(crate) fn create_iterator(link: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.iter_create.link_fd = number(link);
    // SAFETY: there is no address in it. The file is a new descriptor.
    unsafe { bpf_fd(bpf_cmd::BPF_ITER_CREATE, &mut attr) }
}

/// BPF_ENABLE_STATS of run times, for as long as the descriptor is open.
pub(crate) fn enable_stats() -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    // BPF_STATS_RUN_TIME is 0.
    attr.enable_stats.type_ = 0;
    // SAFETY: there is no address in it. What it gives is a new descriptor.
    unsafe { bpf_fd(bpf_cmd::BPF_ENABLE_STATS, &mut attr) }
}

/// membarrier(2): returns when each processor has passed a point at which it is
/// in the middle of nothing (`synchronize_rcu`).
pub(crate) fn wait_for_processors() -> io::Result<()> {
    const GLOBAL: libc::c_long = 1;
    // SAFETY: the call takes three integers and touches no memory of ours.
    // Nothing safe makes it: rustix and nix have no membarrier(2).
    let result = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// BPF_OBJ_GET_INFO_BY_FD of a program.
pub(crate) fn program_info(program: BorrowedFd<'_>) -> io::Result<bpf_prog_info> {
    let mut attr = zeroed();
    // SAFETY: bpf_prog_info is a C structure of integers; all zeroes is a value
    // of it, and says that no arrays are wanted.
    let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
    attr.info.bpf_fd = number(program);
    attr.info.info_len = size_of::<bpf_prog_info>() as u32;
    attr.info.info = &raw mut info as u64;
    // SAFETY: the only address is that of `info`, with its length; the addresses
    // of arrays in it are 0 with lengths of 0. It lives until after the call.
    unsafe { bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr) }?;
    Ok(info)
}

/// How far a ring was written and read: two pages of the kernel's, to be looked at.
pub(crate) struct Positions {
    pages: NonNull<libc::c_void>,
    page: usize,
}

// SAFETY: the pages are of no thread in particular, and only ever read.
unsafe impl Send for Positions {}

impl Positions {
    pub(crate) fn of(ring: BorrowedFd<'_>) -> io::Result<Self> {
        // SAFETY: the call takes an integer.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page = usize::try_from(page).map_err(|_| io::Error::last_os_error())?;
        let (to_read, shared) = (libc::PROT_READ, libc::MAP_SHARED);
        // SAFETY: a new mapping at an address of the kernel's choice, of a descriptor that
        // is open. Nothing safe maps a file: its bytes change, which is why they are read
        // as atomics alone.
        let pages =
            unsafe { libc::mmap(std::ptr::null_mut(), 2 * page, to_read, shared, ring.as_raw_fd(), 0) };
        if pages == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let pages = NonNull::new(pages).ok_or_else(|| io::Error::from_raw_os_error(libc::EFAULT))?;
        Ok(Self { pages, page })
    }

    fn at(&self, offset: usize) -> usize {
        // SAFETY: both offsets are those of a page of the mapping, which lives as long as
        // this does. Each begins with a number of the length of a pointer
        // (kernel/bpf/ringbuf.c), which others change as an atomic.
        let position: &AtomicUsize = unsafe { self.pages.byte_add(offset).cast().as_ref() };
        position.load(Ordering::Acquire)
    }

    /// Bytes that were read, since there is the ring.
    pub(crate) fn read(&self) -> usize {
        self.at(0)
    }

    /// Bytes that were written or are being written.
    pub(crate) fn written(&self) -> usize {
        self.at(self.page)
    }
}

impl Drop for Positions {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's own, and no reference to it is left.
        let _ = unsafe { libc::munmap(self.pages.as_ptr(), 2 * self.page) };
    }
}
