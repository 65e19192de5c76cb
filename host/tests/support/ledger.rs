//! What the fixture's threads counted, by their own books: a file to which
//! each event goes before it is counted.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Threads of the fixture that count.
pub const THREADS: usize = 3;

pub struct Ledger {
    path: PathBuf,
    file: File,
}

/// Events of each thread.
pub type Events = [u64; THREADS];

impl Ledger {
    /// In a directory of the test's.
    pub fn new(dir: &Path) -> Self {
        let path = dir.join("ledger");
        let file =
            File::options().read(true).write(true).create_new(true).open(&path).expect("own directory");
        file.set_len(THREADS as u64 * 8).expect("own file");
        Self { path, file }
    }

    /// The key of the fixture's table.
    pub fn key(&self) -> String {
        format!("ledger = {:?}\n", self.path)
    }

    pub fn read(&self) -> Events {
        std::array::from_fn(|at| {
            let mut bytes = [0; 8];
            self.file.read_exact_at(&mut bytes, at as u64 * 8).expect("own file");
            u64::from_ne_bytes(bytes)
        })
    }
}

/// What a scrape shows of one of the counters, by thread.
pub fn shown(text: &str, name: &str) -> Events {
    std::array::from_fn(|at| {
        let value = super::series::value(text, name, &[("thread", &at.to_string())]);
        value.unwrap_or_else(|| panic!("no {name} of thread {at}:\n{text}")) as u64
    })
}

/// All that the threads count: a counter, and the number of a histogram.
pub const COUNTERS: [&str; 2] = ["hostile_load_total", "hostile_load_bytes_count"];

/// That each counter is between what was written before a scrape and after it.
/// An event that is written may not be counted yet.
pub fn check(text: &str, before: Events, after: Events) {
    for name in COUNTERS {
        for (at, shown) in shown(text, name).into_iter().enumerate() {
            assert!(
                shown + 1 >= before[at] && shown <= after[at],
                "{name} of thread {at} is {shown}; {} before the scrape, {} after it",
                before[at],
                after[at]
            );
        }
    }
}

/// That nothing was lost or counted twice, to the last observation: for when
/// the threads have ended.
pub fn check_to_the_last(text: &str, events: Events) {
    for (at, total) in events.into_iter().enumerate() {
        let thread = at.to_string();
        let value = |name: &str, labels: &[(&str, &str)]| {
            let labels = [labels, &[("thread", thread.as_str())]].concat();
            super::series::value(text, name, &labels)
                .unwrap_or_else(|| panic!("no {name}{labels:?}:\n{text}"))
        };
        // They take turns, from the second size on.
        let (small, middle, large) = (total / 3, total.div_ceil(3), (total + 1) / 3);
        assert_eq!(value("hostile_load_total", &[]), total as f64, "thread {at}");
        assert_eq!(value("hostile_load_bytes_count", &[]), total as f64, "thread {at}");
        for (bound, count) in [("1", small), ("4", small + middle), ("+Inf", total)] {
            let shown = value("hostile_load_bytes_bucket", &[("le", bound)]);
            assert_eq!(shown, count as f64, "thread {at} at {bound}");
        }
        let sum = small as f64 * 0.5 + middle as f64 * 2.0 + large as f64 * 8.0;
        assert_eq!(value("hostile_load_bytes_sum", &[]), sum, "thread {at}");
    }
}
