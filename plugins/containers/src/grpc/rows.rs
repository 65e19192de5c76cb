//! A list of which so many rows are kept: an empty one has two bytes in a
//! message, and a hundred in memory.

use prost::bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType, message, skip_field};
use prost::{DecodeError, Message};

/// As many containers as are told of one runtime.
pub const MOST: usize = 100_000;

/// The field of the rows, in both lists.
const TAG: u32 = 1;

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows<T> {
    /// The first of them.
    pub rows: Vec<T>,
    /// So many more there were.
    pub over: usize,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), over: 0 }
    }
}

impl<T: Message + Default> Message for Rows<T> {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        message::encode_repeated(TAG, &self.rows, buffer);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        if tag != TAG || self.rows.len() >= MOST {
            self.over += usize::from(tag == TAG);
            return skip_field(wire_type, tag, buffer, context);
        }
        let mut row = T::default();
        message::merge(wire_type, &mut row, buffer, context)?;
        self.rows.push(row);
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        message::encoded_len_repeated(TAG, &self.rows)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cri::api::{ContainerList, ContainerRow};

    #[test]
    fn what_is_written_is_read() {
        let row = |id: &str| ContainerRow { id: id.to_owned(), sandbox: "s".to_owned(), state: 1 };
        let list = ContainerList { rows: vec![row("a"), row("b")], over: 0 };
        assert_eq!(ContainerList::decode(list.encode_to_vec().as_slice()), Ok(list));
    }

    #[test]
    fn rows_are_bounded_and_the_rest_is_counted() {
        let bytes = [0x0a, 0].repeat(MOST + 7);
        let list = ContainerList::decode(bytes.as_slice()).expect("rows without anything");
        assert_eq!((list.rows.len(), list.over), (MOST, 7));
        for bad in [&[0x0a][..], &[0x0a, 5, 1], &[0x0a, 0xff, 0xff], &[0xff; 12]] {
            assert!(ContainerList::decode(bad).is_err(), "{bad:?}");
        }
    }
}
