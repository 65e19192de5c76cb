use super::*;
use crate::labels::{Group, Member};
use std::cell::Cell;

/// 5 is a container, 6 one of the same labels, 7 one whose labels are of the
/// epoch that is given; 8 and 9 are in the groups 7 and 8, of which 8 is not there.
struct Three(Cell<u32>, u64);

impl Labels for Three {
    fn node(&self) -> Constant<'_> {
        Constant::new("node", 1)
    }
    fn container(&self, handle: u64) -> Option<Member<'_>> {
        self.0.set(self.0.get() + 1);
        let member = |text, epoch| Member::shown(Constant::new(text, epoch));
        match handle {
            5 | 6 => Some(member("same", handle)),
            7 => Some(member(if self.1 == 7 { "other" } else { "new" }, self.1)),
            8 | 9 => Some(Member { group: Some(handle - 1), ..member("unread", 0) }),
            _ => None,
        }
    }
    fn group(&self, group: u64) -> Option<Group<'_>> {
        self.0.set(self.0.get() + 1);
        (group == 7).then_some(Group { labels: Constant::new("group", 0), gone: false, from_zero: false })
    }
}

#[test]
fn each_is_asked_once_and_the_first_of_the_same_labels_is_shown() {
    let host = Three(Cell::new(0), 7);
    let mut named = Named::new(&host, Subjects::default(), 1);
    for _ in 0..3 {
        assert_eq!(named.get(NODE), Ok(NODE_PLACE));
        assert!(named.get(5).is_ok() && named.get(7).is_ok());
        assert_eq!(named.get(6), Err(Reason::Duplicate));
        assert_eq!(named.get(4), Err(Reason::UnknownContainer));
    }
    assert_eq!(host.0.get(), 4);
    let member = named.get(8).unwrap();
    let group = named.subjects.summed_in(member);
    assert_eq!(named.get(9), Err(Reason::UnknownContainer), "its group is no more");
    assert!(!named.subjects.is_shown(member) && named.subjects.is_shown(group));
    assert_eq!((named.subjects.text(group), named.subjects.text(member)), ("group", ""));
    assert_eq!(host.0.get(), 8);
}

#[test]
fn labels_change_with_their_epoch_and_go_with_their_container() {
    let host = Three(Cell::new(0), 7);
    let mut named = Named::new(&host, Subjects::default(), 1);
    let (five, seven) = (named.get(5).unwrap(), named.get(7).unwrap());
    let mut subjects = named.subjects;
    subjects.finish();
    assert_eq!((subjects.text(five), subjects.text(seven)), ("same", "other"));
    let host = Three(Cell::new(0), 8);
    let mut named = Named::new(&host, subjects, 2);
    assert_eq!(named.get(7), Ok(seven));
    assert_eq!(named.get(6), Err(Reason::Duplicate), "5 may yet have series that stay");
    let mut subjects = named.subjects;
    subjects.finish();
    assert_eq!(
        (subjects.text(seven), subjects.containers.len(), &subjects.free[..]),
        ("new", 2, &[five][..])
    );
    assert_eq!(subjects.texts.len(), 1);
    let mut named = Named::new(&host, subjects, 3);
    assert!(named.get(6).is_ok());
    assert_eq!(named.get(5), Err(Reason::Duplicate));
}
