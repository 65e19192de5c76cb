//! The count of a library's heap, with this test's own allocator as the library's.

use gantry_plugin_api::abi::heap::CountedHeap;
use std::hint::black_box;

#[global_allocator]
static HEAP: CountedHeap = CountedHeap::new();

const SIZE: usize = 8 << 20;
/// What the test's own threads may allocate meanwhile.
const NOISE: u64 = 1 << 20;

/// One test: the count is the whole process's.
#[test]
fn it_follows_what_is_allocated_and_freed() {
    let before = HEAP.live();
    let grown = |by: u64| {
        let live = HEAP.live().wrapping_sub(before);
        assert!(live.abs_diff(by) < NOISE, "{live} is not about {by}");
    };
    let mut block: Vec<u8> = black_box(Vec::with_capacity(SIZE));
    grown(SIZE as u64);
    block.reserve_exact(2 * SIZE);
    grown(2 * SIZE as u64);
    block.push(1);
    block.shrink_to(SIZE / 2);
    grown(SIZE as u64 / 2);
    drop(black_box(block));
    grown(0);
    let zeroed = black_box(vec![0u64; SIZE / 8]);
    grown(SIZE as u64);
    drop(zeroed);
    grown(0);
}
