//! Lines that wait to be written, and the thread that writes them: a standard
//! error that nobody reads blocks it, and must block nothing else.

use super::plugins;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

/// Lines that could not be written.
static LOST: AtomicU64 = AtomicU64::new(0);

/// How many lines of the log were lost: its disk was full, or its reader gone.
pub fn lost() -> u64 {
    LOST.load(Relaxed)
}

/// Lines that may wait for a slow standard error.
const QUEUE: usize = 4096;

/// And their bytes: lines have 200 bytes as a rule, but may have thousands.
const QUEUE_BYTES: usize = 4 << 20;

static WAITING_BYTES: AtomicUsize = AtomicUsize::new(0);

/// The end of the agent waits so long for lines that are not written yet.
const FLUSH_WAIT: Duration = Duration::from_millis(500);

static QUEUED: OnceLock<SyncSender<Item>> = OnceLock::new();

enum Item {
    Line(Vec<u8>),
    /// Nothing to write; a flood began that is to be told of.
    Wake,
    Flush(SyncSender<()>),
}

/// Starts the thread. A second call changes nothing.
pub fn start() {
    let (queue, items) = mpsc::sync_channel(QUEUE);
    let thread = std::thread::Builder::new().name("log".to_owned());
    // Without the thread, or the second time, the queue is not used.
    if thread.spawn(move || write_queued(&items)).is_ok() {
        let _ = QUEUED.set(queue);
    }
}

fn write_queued(items: &Receiver<Item>) {
    loop {
        let item = match plugins::due() {
            None => items.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => items.recv_timeout(due.saturating_duration_since(Instant::now())),
        };
        match item {
            Ok(Item::Line(line)) => {
                WAITING_BYTES.fetch_sub(line.len(), Relaxed);
                if io::stderr().write_all(&line).is_err() {
                    LOST.fetch_add(1, Relaxed);
                }
            }
            // Whoever waited may have gone.
            Ok(Item::Flush(done)) => drop(done.try_send(())),
            Ok(Item::Wake) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        // Into the queue, like any other line.
        plugins::tell(Instant::now());
    }
}

/// Has the thread look when the next flood is to be told of. With a full
/// queue it does so anyway.
pub fn wake() {
    if let Some(queue) = QUEUED.get() {
        let _ = queue.try_send(Item::Wake);
    }
}

/// Waits a little until what was logged is written.
pub fn flush() {
    let Some(queue) = QUEUED.get() else { return };
    plugins::tell_all();
    let (done, written) = mpsc::sync_channel(1);
    if queue.try_send(Item::Flush(done)).is_ok() {
        // After the time-out what is left is lost with the process.
        let _ = written.recv_timeout(FLUSH_WAIT);
    }
}

/// The queue's end. A line that cannot be queued is counted and costs nothing
/// else: the agent must neither end nor stand still because its log does.
pub struct Output;

impl Write for Output {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let room = WAITING_BYTES.fetch_add(line.len(), Relaxed) < QUEUE_BYTES;
        let send = |queue: &SyncSender<Item>| queue.try_send(Item::Line(line.to_vec())).is_ok();
        if !(room && QUEUED.get().is_some_and(send)) {
            WAITING_BYTES.fetch_sub(line.len(), Relaxed);
            LOST.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
