//! Expositions that are kept in a file and compared.

use crate::collected::Collected;
use crate::failure::Failure;
use similar::TextDiff;
use std::path::Path;

/// Set to 1, tests write their golden files anew.
const BLESS: &str = "GANTRY_BLESS";

/// Lines that are the same, shown around each difference.
const CONTEXT: usize = 1;

impl Collected {
    /// Compares [`Self::text`] with a file, by its path below the package (where
    /// cargo starts tests). With `GANTRY_BLESS=1` the file is written instead.
    ///
    /// # Panics
    /// Where they differ, with the lines that do.
    #[track_caller]
    pub fn assert_golden(&self, path: impl AsRef<Path>) {
        let bless = std::env::var_os(BLESS).is_some_and(|value| value == "1");
        let done = if bless { self.write_golden(path) } else { self.compare_golden(path) };
        if let Err(failure) = done {
            panic!("{failure}");
        }
    }

    /// As [`Self::assert_golden`] without looking at the environment.
    pub fn compare_golden(&self, path: impl AsRef<Path>) -> Result<(), Failure> {
        let path = path.as_ref();
        let text = self.text();
        let stored = std::fs::read_to_string(path).map_err(|error| {
            let remedy = format!("run the test with {BLESS}=1 to write it");
            Failure::Golden(format!("{}: {error}; {remedy}", path.display()))
        })?;
        if stored == text {
            return Ok(());
        }
        let diff = TextDiff::from_lines(&stored, &text);
        let lines = diff.unified_diff().context_radius(CONTEXT).header("stored", "emitted").to_string();
        Err(Failure::Golden(format!(
            "{} differs from what was emitted; run the test with {BLESS}=1 where the change is meant\n{lines}",
            path.display()
        )))
    }

    /// Writes the file, with the directories on its way.
    pub fn write_golden(&self, path: impl AsRef<Path>) -> Result<(), Failure> {
        let path = path.as_ref();
        let parent = path.parent().unwrap_or(path);
        let written = std::fs::create_dir_all(parent).and_then(|()| std::fs::write(path, self.text()));
        written.map_err(|error| Failure::Golden(format!("{}: {error}; make it writable", path.display())))
    }
}
