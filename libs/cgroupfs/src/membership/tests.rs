use super::*;

fn good(text: &[u8]) -> Vec<Entry<'_>> {
    entries(text).map(|entry| entry.expect("of the kernel's form")).collect()
}

#[test]
fn all_hierarchies_of_a_hybrid_machine_are_read() {
    let text = b"12:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n5:pids,name=x:/\n0::/system.slice/docker.service\n";
    let read = good(text);
    assert_eq!(read.len(), 4);
    assert_eq!((read[0].hierarchy, read[0].controllers), (12, "cpu,cpuacct"));
    assert_eq!(read[0].path, Path::new("/docker/abc"));
    assert!(read[0].has("cpuacct") && !read[0].has("cpua") && !read[0].is_v2());
    assert!(read[1].has("name=systemd") && !read[1].has("systemd"));
    assert!(read[2].has("pids") && read[2].has("name=x"));
    assert!(read[3].is_v2() && !read[3].deleted);
}

#[test]
fn paths_keep_their_colons_blanks_and_bytes() {
    let read = good(b"0::/kubepods/cri-containerd:ab:cd/a b\\x2d\t\xff\n");
    assert_eq!(read[0].path.as_os_str().as_bytes(), b"/kubepods/cri-containerd:ab:cd/a b\\x2d\t\xff");
    let outside = good(b"0::/../../kubelet\n3:cpu:/..\n");
    assert_eq!(outside[0].path.as_os_str(), "/../../kubelet");
    assert_eq!(outside[1].path.as_os_str(), "/..");
}

#[test]
fn only_v2_says_deleted() {
    let read = good(b"0::/a/b (deleted)\n3:cpu:/a/b (deleted)\n");
    assert_eq!((read[0].path, read[0].deleted), (Path::new("/a/b"), true));
    assert_eq!((read[1].path, read[1].deleted), (Path::new("/a/b (deleted)"), false));
}

#[test]
fn garbage_is_an_error_and_hides_no_line_behind_it() {
    let huge = format!("{}0::/\n", "9".repeat(100));
    for bad in [
        "0\n",
        "0:\n",
        ":::\n",
        "0::relative\n",
        "0::\n",
        "x::/\n",
        "+1:cpu:/\n",
        "-1:cpu:/\n",
        "0:cpu:/\n",
        "3::/\n",
        "4294967296:cpu:/\n",
        " \n",
        huge.as_str(),
    ] {
        let text = format!("{bad}7:pids:/x\n");
        let read: Vec<_> = entries(text.as_bytes()).collect();
        assert_eq!(read[0], Err(Malformed::Line), "{bad:?}");
        assert_eq!(read[1].map(|entry| entry.hierarchy), Ok(7), "{bad:?}");
    }
    assert_eq!(entries(b"1:\xff:/\n").next(), Some(Err(Malformed::Line)));
    assert_eq!(entries(b"").count(), 0);
    assert_eq!(entries(b"\n\n").count(), 0);
}

#[test]
fn the_number_of_lines_is_bounded() {
    let text = "1:cpu:/\n".repeat(1000);
    let read: Vec<_> = entries(text.as_bytes()).collect();
    assert_eq!(read.len(), MAX_ENTRIES + 1);
    assert_eq!(read.last(), Some(&Err(Malformed::TooMany)));
    assert!(read[..MAX_ENTRIES].iter().all(Result::is_ok));
    let just = "1:cpu:/\n".repeat(MAX_ENTRIES);
    assert!(entries(just.as_bytes()).all(|entry| entry.is_ok()));
}

#[test]
fn this_process_s_own_file_is_understood() {
    let mut buffer = Vec::new();
    read(Path::new("/proc"), "self", &mut buffer).expect("readable");
    assert!(!good(&buffer).is_empty());
    let error = read(Path::new("/proc"), "0", &mut buffer).expect_err("no such process");
    assert!(error.to_string().contains("/proc/0/cgroup"), "{error}");
}
