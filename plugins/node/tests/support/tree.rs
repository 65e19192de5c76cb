//! Trees of files as the kernel has them.

use gantry_plugin_testkit::Tree;

/// The files of `/proc`, with numbers that are told apart easily.
pub const FILES: [(&str, &str); 13] = [
    ("proc/uptime", "350735.47 234388.90\n"),
    ("proc/loadavg", "0.27 1.05 12.60 2/1234 98765\n"),
    (
        "proc/stat",
        "cpu  1000 200 300 4000 500 60 70 80 9 1\ncpu0 600 100 200 2000 300 30 40 40 9 1\n\
         cpu1 400 100 100 2000 200 30 30 40 0 0\nintr 123 0 9\nctxt 456\nbtime 1700000000\nprocesses 789\n\
         procs_running 1\nprocs_blocked 0\nsoftirq 5 1 2 3\nof_a_newer_kernel 1 2 x\n",
    ),
    (
        "proc/meminfo",
        "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    8000000 kB\n\
         Buffers:          100000 kB\nCached:          4000000 kB\nSwapCached:            7 kB\n\
         SwapTotal:       2000000 kB\nSwapFree:        1500000 kB\nHugePages_Total:       0\nUnheardOf: many kB\n",
    ),
    ("proc/vmstat", "nr_free_pages 250000\npswpin 11\npswpout 22\npswpinned 5\n"),
    (
        "proc/pressure/cpu",
        "some avg10=0.27 avg60=0.38 avg300=0.34 total=10500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    ),
    (
        "proc/pressure/memory",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1250000\n",
    ),
    (
        "proc/pressure/io",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=4500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=4000000\n",
    ),
    ("proc/pressure/irq", "full avg10=0.00 avg60=0.00 avg300=0.00 total=750000\n"),
    (
        "proc/diskstats",
        " 253       0 vda 100 1 2000 300 400 2 5000 600 0 700 900 1 2 3 4 5 6\n \
         253       1 vda1 90 1 1900 290 390 2 4900 590 0 690 890\n   7       0 loop0 5 0 50 5 0 0 0 0 0 5 5\n \
         259       0 nvme0n1 10 0 20 30 40 0 50 60 0 70 90\n   1       0 ram0 1 1 1 1 1 1 1 1 1 1 1\n",
    ),
    (
        "proc/1/mountinfo",
        "22 27 0:21 / /proc rw,relatime - proc proc rw\n27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,errors=remount-ro\n\
         30 27 254:0 /srv /bind rw,relatime - ext4 /dev/vda rw\n\
         31 27 8:16 / /with\\040blank ro,relatime shared:5 - xfs /dev/sdb rw,attr2\n\
         32 27 0:40 / /tmp rw - tmpfs tmpfs rw\n33 27 0:41 / /var/lib/docker/overlay2/abc/merged rw - overlay overlay rw\n",
    ),
    ("sys/class/net/eth9/operstate", "up\n"),
    ("sys/class/net/eth9/type", "1\n"),
];

/// The directories of `/sys/block`.
pub const BLOCK: [&str; 5] = ["vda", "loop0", "nvme0n1", "ram0", "zram0"];

/// With all that a node has.
pub fn whole() -> Tree {
    let tree = Tree::new();
    FILES.iter().for_each(|(path, text)| tree.write(path, text));
    BLOCK.iter().for_each(|name| tree.dir(format!("sys/block/{name}")));
    ["bind", "with blank", "tmp", "data"].iter().for_each(|name| tree.dir(name));
    tree
}
