//! What is kept behind upgrades and rollbacks, and which file is opened unseen.

use super::*;

#[test]
fn a_file_is_opened_again_unseen_only_where_it_cannot_be_another() {
    let (open, path) = (Path::new("/opt/open.so"), |name: &str| PathBuf::from(format!("/opt/{name}.so")));
    let is_sure = |place: Place, in_process| is_sure(&place, in_process, |path| path == open);
    for in_process in [false, true] {
        assert!(is_sure(Place::Sealed(path("sealed")), in_process));
        assert!(!is_sure(Place::Store(path("open")), in_process), "it may be damaged");
        assert!(!is_sure(Place::AsItLies(path("other")), in_process));
    }
    assert!(is_sure(Place::AsItLies(path("open")), true));
    assert!(!is_sure(Place::AsItLies(path("open")), false), "another process opens what lies there");
}

#[test]
fn an_upgrade_keeps_what_was_written_down_meanwhile() {
    let stored = Stored::of_digest;
    let ran = Some(Ran { stored: stored("ran"), known: Vec::new() });
    let before = Lineage { previous: Some(stored("old")), ran: ran.clone(), ..Lineage::default() };
    let new = || "new".to_owned();
    let after = descent(new(), Some(stored("ran")), false, None)(before.clone());
    assert_eq!((after.previous, after.ran), (Some(stored("ran")), ran.clone()));
    let after = descent(new(), None, false, None)(before.clone());
    assert_eq!(
        (after.previous, &after.ran),
        (Some(stored("old")), &ran),
        "nobody wants back what was given up"
    );
    let after = descent(new(), None, true, None)(before.clone());
    assert_eq!(after.previous, Some(stored("ran")), "it served before a word brought what ran");
    let after = descent("ran".to_owned(), None, true, None)(before);
    assert_eq!(after.previous, Some(stored("old")), "the word is taken back");
}

#[test]
fn nothing_goes_back_to_what_was_rolled_back_from() {
    let ran = |digest: &str| Some(Ran { stored: Stored::of_digest(digest), known: Vec::new() });
    let before = Lineage { previous: Some(Stored::of_digest("old")), ran: ran("bad"), ..Lineage::default() };
    let bad = || Some("bad".to_owned());
    assert_eq!(ascent(bad(), false, None, None)(before.clone()), Lineage::default());
    let after = ascent(bad(), false, None, ran("old"))(before.clone());
    assert_eq!(after, Lineage { ran: ran("old"), ..Lineage::default() });
    assert_eq!(ascent(bad(), true, None, None)(before.clone()), before, "the next agent knows what it knew");
}
