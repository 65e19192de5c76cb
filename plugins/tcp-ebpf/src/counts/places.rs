//! Things by number: a number of one that is gone is given again.

/// Things by number.
#[derive(Debug)]
pub(super) struct Places<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Places<T> {
    pub(super) fn put(&mut self, thing: T) -> u32 {
        // There are fewer than 2^32 of anything here.
        let index = self.free.pop().unwrap_or(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        match self.slots.get_mut(index as usize) {
            Some(slot) => *slot = Some(thing),
            None => self.slots.push(Some(thing)),
        }
        index
    }

    pub(super) fn take(&mut self, index: u32) -> Option<T> {
        let taken = self.slots.get_mut(index as usize)?.take();
        if taken.is_some() {
            self.free.push(index);
        }
        taken
    }

    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.slots.get(index as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize)?.as_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(&self.slots).filter_map(|(index, slot)| Some((index, slot.as_ref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        (0..).zip(&mut self.slots).filter_map(|(index, slot)| Some((index, slot.as_mut()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_again() {
        let mut places = Places::default();
        assert_eq!((places.put('a'), places.put('b')), (0, 1));
        assert_eq!((places.take(0), places.take(0), places.take(9)), (Some('a'), None, None));
        assert_eq!((places.len(), places.get(0)), (1, None));
        assert_eq!(places.put('c'), 0);
        assert_eq!(places.iter().collect::<Vec<_>>(), [(0, &'c'), (1, &'b')]);
    }
}
