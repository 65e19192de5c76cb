//! Counters of cgroups that come and go, as one that never goes back.

use serde::{Deserialize, Serialize};

/// A counter that began anew each time its cgroup did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Total {
    /// Of cgroups that are gone.
    base: f64,
    last: f64,
}

impl Total {
    /// The counter of the cgroup that is there. One that is smaller than before
    /// is another's.
    pub fn set(&mut self, value: f64) {
        if value < self.last {
            self.begin_anew();
        }
        self.last = value;
    }

    /// The cgroup is gone.
    pub fn begin_anew(&mut self) {
        self.base += self.last;
        self.last = 0.0;
    }

    /// Adds another's, which is at its end.
    pub fn add(&mut self, other: Self) {
        self.base += other.get();
    }

    /// Goes on from what another reader of the same cgroup had.
    pub fn inherit(&mut self, past: Self) {
        self.base += past.base;
        if self.last < past.last {
            // Made anew between the two.
            self.base += past.last;
        }
    }

    /// Whether it is more than the cgroup that is there says.
    pub fn has_past(&self) -> bool {
        self.base > 0.0
    }

    pub fn get(&self) -> f64 {
        self.base + self.last
    }
}

/// Several of them, each of which may not be known. What cgroups counted that
/// are gone is there only where there were such.
#[derive(Debug, Clone)]
pub struct Totals<const N: usize> {
    /// NaN where it is not known.
    last: [f64; N],
    base: Option<Box<[f64; N]>>,
}

impl<const N: usize> Default for Totals<N> {
    fn default() -> Self {
        Self { last: [f64::NAN; N], base: None }
    }
}

impl<const N: usize> Totals<N> {
    /// One of them, where it is known.
    pub fn total(&self, at: usize) -> Option<Total> {
        let base = self.base.as_ref().map_or(0.0, |base| base[at]);
        (!self.last[at].is_nan()).then_some(Total { base, last: self.last[at] })
    }

    /// Changes one of them, which is known from then on.
    pub fn update(&mut self, at: usize, change: impl FnOnce(&mut Total)) {
        let mut total = self.total(at).unwrap_or_default();
        change(&mut total);
        self.last[at] = total.last;
        if total.has_past() || self.base.is_some() {
            self.base.get_or_insert_with(|| Box::new([0.0; N]))[at] = total.base;
        }
    }

    /// See [`Total::begin_anew`].
    pub fn begin_anew(&mut self) {
        for at in 0..N {
            if self.total(at).is_some() {
                self.update(at, Total::begin_anew);
            }
        }
    }

    /// See [`Total::add`].
    pub fn add(&mut self, other: &Self) {
        for at in 0..N {
            if let Some(other) = other.total(at) {
                self.update(at, |total| total.add(other));
            }
        }
    }

    /// See [`Total::inherit`]; one that was not read yet is as it was.
    pub fn inherit(&mut self, past: &Self) {
        for at in 0..N {
            if let Some(past) = past.total(at) {
                let is_known = self.total(at).is_some();
                self.update(at, |total| if is_known { total.inherit(past) } else { *total = past });
            }
        }
    }

    /// See [`Total::has_past`].
    pub fn has_past(&self) -> bool {
        (0..N).any(|at| self.total(at).is_some_and(|total| total.has_past()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back() {
        let mut total = Total::default();
        for (value, shown) in [(5.0, 5.0), (7.0, 7.0), (2.0, 9.0), (2.0, 9.0), (8.0, 15.0)] {
            total.set(value);
            assert!((total.get() - shown).abs() < 1e-9);
        }
        total.begin_anew();
        total.set(9.0);
        assert!((total.get() - 24.0).abs() < 1e-9, "a new cgroup may have more than the one before");
    }

    #[test]
    fn another_reader_goes_on() {
        let past = Total { base: 10.0, last: 5.0 };
        for (seen, shown) in [(5.0, 15.0), (6.0, 16.0), (2.0, 17.0), (0.0, 15.0)] {
            let mut total = Total::default();
            total.set(seen);
            total.inherit(past);
            assert!((total.get() - shown).abs() < 1e-9, "{seen}: {}", total.get());
        }
    }
}
