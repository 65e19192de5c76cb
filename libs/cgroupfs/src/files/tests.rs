use super::*;
use crate::fixture::Fixture;
use crate::layout::Mode as Of;
use std::fs;
use std::path::PathBuf;

struct Tree {
    _dir: tempfile::TempDir,
    cgroup: PathBuf,
    layout: Layout,
}

/// Cgroups `0` to `count`, each with a file `figure` that holds its number.
fn tree(count: usize) -> Tree {
    let dir = tempfile::tempdir().expect("a directory");
    let fixture = Fixture::new(dir.path(), Of::V2).expect("written");
    for number in 0..count {
        fs::create_dir(fixture.cgroup().join(number.to_string())).expect("made");
        fs::write(fixture.cgroup().join(format!("{number}/figure")), format!("{number}\n")).expect("written");
    }
    Tree { cgroup: fixture.cgroup(), layout: fixture.layout().expect("a layout"), _dir: dir }
}

fn read(files: &mut Files, kept: &mut Kept, directory: &str, name: &str) -> Result<String, Failure> {
    let at = At { hierarchy: 0, directory: Path::new(directory), name };
    let text = files.read(kept, &mut Directory::default(), at)?;
    Ok(String::from_utf8(text.bytes.to_vec()).expect("a text"))
}

/// Reads all cgroups once; the texts are checked.
fn round(files: &mut Files, kept: &mut [Kept]) {
    for (number, kept) in kept.iter_mut().enumerate() {
        assert_eq!(read(files, kept, &number.to_string(), "figure"), Ok(format!("{number}\n")));
    }
}

#[test]
fn an_open_file_is_read_anew_and_not_opened_again() {
    let tree = tree(3);
    let mut files = Files::new(&tree.layout, 10);
    let mut kept = vec![Kept::default(); 3];
    round(&mut files, &mut kept);
    round(&mut files, &mut kept);
    assert_eq!(files.counters(), Counters { opens: 3, hits: 3, evictions: 0, passed: 0 });
    fs::write(tree.cgroup.join("1/figure"), "new\n").expect("written");
    assert_eq!(read(&mut files, &mut kept[1], "1", "figure").as_deref(), Ok("new\n"));
    files.forget(&mut kept[1]);
    assert_eq!(files.kept(), 2);
    assert_eq!(read(&mut files, &mut kept[1], "1", "figure").as_deref(), Ok("new\n"));
    assert_eq!(files.counters().opens, 4);
}

#[test]
fn the_bound_holds_and_the_least_recently_used_goes() {
    let tree = tree(4);
    let mut files = Files::new(&tree.layout, 3);
    let mut kept = vec![Kept::default(); 4];
    round(&mut files, &mut kept[..3]);
    read(&mut files, &mut kept[0], "0", "figure").expect("read");
    read(&mut files, &mut kept[3], "3", "figure").expect("read");
    assert_eq!((files.kept(), files.counters().evictions), (3, 1));
    let opens = files.counters().opens;
    for number in [0, 2, 3] {
        read(&mut files, &mut kept[number], &number.to_string(), "figure").expect("read");
    }
    assert_eq!(files.counters().opens, opens, "1 is the one that went");
    for bound in [0, 1] {
        let mut files = Files::new(&tree.layout, bound);
        let mut kept = vec![Kept::default(); 4];
        round(&mut files, &mut kept);
        assert_eq!(files.kept(), bound);
    }
}

#[test]
fn more_files_than_the_bound_read_in_turn_still_hit() {
    let tree = tree(10);
    let mut files = Files::new(&tree.layout, 6);
    let mut kept = vec![Kept::default(); 10];
    for _ in 0..5 {
        files.begin();
        round(&mut files, &mut kept);
        assert!(files.kept() <= 6);
    }
    let counters = files.counters();
    assert_eq!((counters.hits, counters.evictions), (4 * 6, 0));
    assert_eq!((counters.opens, counters.passed), (6 + 5 * 4, 5 * 4));
    // Those that are not read any more make room, two rounds later.
    for _ in 0..3 {
        files.begin();
        round(&mut files, &mut kept[..0]);
        for (number, kept) in kept.iter_mut().enumerate().skip(6) {
            read(&mut files, kept, &number.to_string(), "figure").expect("read");
        }
    }
    assert_eq!(files.counters().evictions, 4);
    assert_eq!(files.counters().hits, 4 * 6 + 4);
}

#[test]
fn a_missing_file_is_not_tried_each_time_but_is_found_when_it_appears() {
    let tree = tree(1);
    let mut files = Files::new(&tree.layout, 9);
    let mut kept = Kept::default();
    assert_eq!(read(&mut files, &mut kept, "0", "late"), Err(Failure::Missing));
    fs::write(tree.cgroup.join("0/late"), "1\n").expect("written");
    files.now = RETRY_MISSING - 1;
    assert_eq!(read(&mut files, &mut kept, "0", "late"), Err(Failure::Missing));
    files.now = RETRY_MISSING;
    assert_eq!(read(&mut files, &mut kept, "0", "late").as_deref(), Ok("1\n"));
    assert_eq!(files.counters().opens, 1);
}

#[test]
fn a_missing_cgroup_is_gone_and_found_when_it_is_made() {
    let tree = tree(0);
    let mut files = Files::new(&tree.layout, 9);
    let mut kept = Kept::default();
    assert_eq!(read(&mut files, &mut kept, "x/y", "figure"), Err(Failure::Gone));
    fs::create_dir_all(tree.cgroup.join("x/y")).expect("made");
    fs::write(tree.cgroup.join("x/y/figure"), "7\n").expect("written");
    assert_eq!(read(&mut files, &mut kept, "x/y", "figure").as_deref(), Ok("7\n"));
}

/// Whether the file is told to be another than before.
fn is_anew(files: &mut Files, kept: &mut Kept, directory: &mut Directory) -> bool {
    let at = At { hierarchy: 0, directory: Path::new("0"), name: "figure" };
    files.read(kept, directory, at).expect("it is there").anew
}

#[test]
fn a_directory_that_was_made_anew_is_told_once_a_file() {
    let tree = tree(1);
    // One that stays, so that its inode is not given again.
    let make_anew = |to: &str| {
        fs::rename(tree.cgroup.join("0"), tree.cgroup.join(to)).expect("moved");
        fs::create_dir(tree.cgroup.join("0")).expect("made");
        fs::write(tree.cgroup.join("0/figure"), "9\n").expect("written");
    };
    // Nothing is kept open: each reading opens.
    let mut files = Files::new(&tree.layout, 0);
    let (mut one, mut two, mut directory) = (Kept::default(), Kept::default(), Directory::default());
    assert!(!is_anew(&mut files, &mut one, &mut directory), "nothing was read before");
    assert!(!is_anew(&mut files, &mut one, &mut directory));
    assert!(!is_anew(&mut files, &mut two, &mut directory));
    make_anew("old");
    assert!(is_anew(&mut files, &mut one, &mut directory));
    assert!(is_anew(&mut files, &mut two, &mut directory), "it is of the same directory, and was not told");
    assert!(!is_anew(&mut files, &mut one, &mut directory));
    // What was not read in between is made anew all the same.
    make_anew("older");
    assert!(is_anew(&mut files, &mut one, &mut directory));
    let mut next = Kept::default();
    next.go_on_from(&two);
    assert!(is_anew(&mut files, &mut next, &mut directory), "put in another's place");
    // It went, and came back.
    fs::rename(tree.cgroup.join("0"), tree.cgroup.join("away")).expect("moved");
    assert_eq!(read(&mut files, &mut one, "0", "figure"), Err(Failure::Gone));
    fs::rename(tree.cgroup.join("away"), tree.cgroup.join("0")).expect("moved");
    assert!(is_anew(&mut files, &mut one, &mut directory), "whether it is the same nobody knows");
    assert!(!is_anew(&mut files, &mut one, &mut directory));
}

#[test]
fn huge_empty_and_unfinished_files_end() {
    let tree = tree(1);
    let write = |length: usize, end: &str| {
        fs::write(tree.cgroup.join("0/figure"), "x".repeat(length) + end).expect("written");
    };
    let mut files = Files::new(&tree.layout, 9);
    let mut kept = Kept::default();
    for length in [0, 1, 4096, MAX_FILE - 2] {
        for end in ["\n", ""] {
            write(length, end);
            let text = read(&mut files, &mut kept, "0", "figure").expect("read");
            assert_eq!(text.len(), length + end.len());
        }
    }
    write(MAX_FILE - 1, "\n");
    assert_eq!(read(&mut files, &mut kept, "0", "figure"), Err(Failure::TooLarge));
    write(10 * MAX_FILE, "");
    assert_eq!(read(&mut files, &mut kept, "0", "figure"), Err(Failure::TooLarge));
    write(1, "\n");
    assert_eq!(read(&mut files, &mut kept, "0", "figure").as_deref(), Ok("x\n"));
}

#[test]
fn nothing_outside_of_the_hierarchy_is_opened() {
    let tree = tree(1);
    fs::write(tree.cgroup.join("../secret"), "secret\n").expect("written");
    std::os::unix::fs::symlink("../../secret", tree.cgroup.join("0/link")).expect("linked");
    std::os::unix::fs::symlink("..", tree.cgroup.join("up")).expect("linked");
    std::os::unix::fs::symlink("figure", tree.cgroup.join("0/inside")).expect("linked");
    std::os::unix::fs::symlink("0", tree.cgroup.join("alias")).expect("linked");
    let secret = tree.cgroup.parent().expect("has one").canonicalize().expect("there");
    let plain = [("..", "secret"), ("0", "link"), ("0", "inside"), ("0/../..", "secret"), ("", "../secret")];
    let linked = [("up", "secret"), ("alias", "figure")];
    let all = [&plain[..], &linked[..]].concat();
    // As before Linux 5.6; links in the middle are not seen to there.
    for (has_openat2, cases) in [(true, &all[..]), (false, &plain[..])] {
        let mut files = Files::new(&tree.layout, 9);
        files.has_openat2 &= has_openat2;
        for (directory, name) in cases {
            let read = read(&mut files, &mut Kept::default(), directory, name);
            assert!(matches!(read, Err(Failure::Unreadable { .. })), "{directory}/{name}: {read:?}");
        }
        let absolute = read(&mut files, &mut Kept::default(), secret.to_str().expect("a text"), "secret");
        assert!(absolute.is_err(), "{absolute:?}");
        assert!(read(&mut files, &mut Kept::default(), "0", "figure").is_ok());
    }
    let mut files = Files::new(&tree.layout, 9);
    let at = At { hierarchy: 7, directory: Path::new("0"), name: "figure" };
    let (mut kept, mut directory) = (Kept::default(), Directory::default());
    assert_eq!(files.read(&mut kept, &mut directory, at), Err(Failure::Missing), "no such hierarchy");
}
