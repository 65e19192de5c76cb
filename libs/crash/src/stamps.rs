//! Writing the stamps of this process.

use crate::fault;
use crate::handlers::{self, Replaced};
use crate::layout::{self, File, MAGIC, NAME_WORDS};
use rustix::fs::{Mode, OFlags, open};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// The mapped file. It stays mapped for the life of the process: the signal
/// handler may come at any time. Clones are of the same one.
#[derive(Debug, Clone, Copy)]
pub struct Stamps {
    file: &'static File,
}

/// The place of one thread; free again when this is dropped.
#[derive(Debug)]
pub struct Stamp {
    thread: &'static layout::Thread,
}

/// Whose the handlers are that a look found behind a plugin's call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// They lie in the library of this plugin.
    Library(String),
    /// Nobody else was in a call.
    OnlyInCall,
    /// These were, too.
    Unknown(Vec<String>),
}

impl Stamps {
    /// A new file in the place of what a process before left there; read that
    /// first. `boot` tells one boot of the machine from the next.
    ///
    /// # Errors
    /// Where the file cannot be made or mapped.
    #[allow(unsafe_code, reason = "memory of a file is mapped by nothing safe")]
    pub fn create(path: &Path, boot: [u64; 2]) -> io::Result<Self> {
        // Another file, so that an earlier mapping of it is never cut off.
        let _ = std::fs::remove_file(path);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = open(path, flags, Mode::RUSR | Mode::WUSR)?;
        // Its blocks are there before it is mapped: a store into a hole of a full
        // disk is a fault itself.
        let mut file = std::fs::File::from(descriptor);
        file.write_all(&vec![0; size_of::<File>()])?;
        file.sync_data()?;
        // SAFETY: a fresh mapping at an address of the kernel's choice, shared
        // with nothing that exists yet; it is never unmapped.
        let memory = unsafe {
            mmap(
                std::ptr::null_mut(),
                size_of::<File>(),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &file,
                0,
            )?
        };
        // SAFETY: the mapping is as long as a `File`, aligned to a page, lives
        // for ever, and consists of atomics, for which any content is valid.
        // The file was made here with mode 0600 in a directory of the agent's
        // own: nobody else cuts it.
        let file = unsafe { &*memory.cast::<File>() };
        file.boot[0].store(boot[0], Relaxed);
        file.boot[1].store(boot[1], Relaxed);
        file.pid.store(u64::from(std::process::id()), Relaxed);
        file.magic.store(MAGIC, Release);
        Ok(Self { file })
    }

    /// Lets the handler of faults write into it. The last one that is asked to wins.
    ///
    /// # Errors
    /// Where a handler cannot be set.
    pub fn watch_faults(&self) -> io::Result<()> {
        fault::install(self.file)
    }

    /// A place for the calling thread, which is in this plugin from now on, or
    /// was made by it; `None` where all are taken.
    pub fn thread(&self, plugin: &str) -> Option<Stamp> {
        self.thread_of(plugin, fault::tid())
    }

    /// The same for another thread.
    pub fn thread_of(&self, plugin: &str, tid: u64) -> Option<Stamp> {
        // Claimed by a number that no thread has, so that nobody reads half a name.
        let free =
            |thread: &&layout::Thread| thread.tid.compare_exchange(0, u64::MAX, AcqRel, Relaxed).is_ok();
        let thread = self.file.threads.iter().find(free)?;
        write(&thread.name, plugin);
        thread.call.store(0, Relaxed);
        thread.tid.store(tid, Release);
        Some(Stamp { thread })
    }

    /// A plugin's library is mapped there. Libraries stay mapped; what is
    /// beyond the file's places is found by its threads alone.
    pub fn library(&self, plugin: &str, mapped: Range<u64>) {
        let free =
            |library: &&layout::Library| library.to.compare_exchange(0, u64::MAX, AcqRel, Relaxed).is_ok();
        if let Some(library) = self.file.libraries.iter().find(free) {
            write(&library.name, plugin);
            library.from.store(mapped.start, Relaxed);
            library.to.store(mapped.end, Release);
        }
    }

    /// Puts the handlers of faults back where somebody put others in their place:
    /// six system calls. Faults are noted again from then on, and handed on to
    /// those others first. A fault that ended nothing is noted no longer: the calling
    /// thread's at once, another's where the look before found the same one. `None`:
    /// they were in place.
    pub fn mind_handlers(&self) -> Option<Replaced> {
        handlers::look(self.file)
    }

    /// Whose a handler is that was found behind this plugin's call. Whoever called
    /// is to [leave](Stamp::leave) its stamp after that: whose call ended, but who
    /// has not looked yet, may have set it as well.
    pub fn whose(&self, handler: u64, plugin: &str) -> Whose {
        let holds = |library: &&layout::Library| {
            let to = library.to.load(Acquire);
            to != u64::MAX && (library.from.load(Relaxed)..to).contains(&handler)
        };
        if let Some(library) = self.file.libraries.iter().find(holds) {
            return Whose::Library(name_in(&library.name));
        }
        let threads = self.file.threads.iter();
        let in_calls = threads.filter(|thread| {
            !matches!(thread.tid.load(Acquire), 0 | u64::MAX) && thread.call.load(Relaxed) != 0
        });
        let mut others: Vec<String> =
            in_calls.map(|thread| name_in(&thread.name)).filter(|other| other != plugin).collect();
        others.sort_unstable();
        others.dedup();
        if others.is_empty() { Whose::OnlyInCall } else { Whose::Unknown(others) }
    }

    /// The process ends as it should.
    pub fn end(&self) {
        self.file.ended.store(1, Release);
    }
}

impl Stamp {
    /// The thread enters a call of the plugin's. `call` is any number above 0.
    pub fn enter(&self, call: u32) {
        self.thread.call.store(u64::from(call), Release);
    }

    /// It came back.
    pub fn leave(&self) {
        self.thread.call.store(0, Release);
    }
}

impl Drop for Stamp {
    fn drop(&mut self) {
        self.leave();
        debug_assert_ne!(self.thread.tid.load(Acquire), 0, "a place is freed once");
        self.thread.tid.store(0, Release);
    }
}

fn name_in(words: &[AtomicU64; NAME_WORDS]) -> String {
    layout::name_of(&words.each_ref().map(|word| word.load(Relaxed)))
}

fn write(place: &[AtomicU64; NAME_WORDS], name: &str) {
    place.iter().zip(layout::name_words(name)).for_each(|(place, word)| place.store(word, Relaxed));
}
