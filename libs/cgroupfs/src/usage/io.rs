//! Traffic of block devices (Documentation/admin-guide/cgroup-v1/
//! blkio-controller.rst; cgroup-v2.rst, section IO).

use super::number::{Bad, lines, number};
use super::{Device, Io};

/// What a file of v1 counts.
#[derive(Debug, Clone, Copy)]
pub enum What {
    Requests,
    Bytes,
}

/// `8:0 Read 4096` lines of v1; the last, `Total 8192`, has no device.
pub fn stat_v1(text: &[u8], what: What, io: &mut Io, bad: &mut Bad) {
    io.known = true;
    for line in lines(text) {
        let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let (Some(number_of), Some(kind)) = (words.next(), words.next()) else {
            bad.0 += 1;
            continue;
        };
        if number_of == b"Total" || !matches!(kind, b"Read" | b"Write") {
            continue;
        }
        let value = words.next().and_then(number);
        let Some((number, value)) = bad.check(device_number(number_of).zip(value)) else { continue };
        let device = device(io, number);
        *match (kind, what) {
            (b"Read", What::Requests) => &mut device.reads,
            (b"Read", What::Bytes) => &mut device.read_bytes,
            (_, What::Requests) => &mut device.writes,
            (_, What::Bytes) => &mut device.written_bytes,
        } = value;
    }
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …` of v2. Some kernels write the number
/// of a device without figures, and the next device in the same line.
pub fn stat_v2(text: &[u8], io: &mut Io, bad: &mut Bad) {
    io.known = true;
    for line in lines(text) {
        let mut current = None;
        for word in line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()) {
            let Some(equals) = word.iter().position(|byte| *byte == b'=') else {
                current = bad.check(device_number(word));
                continue;
            };
            let wanted = matches!(&word[..equals], b"rbytes" | b"wbytes" | b"rios" | b"wios");
            let Some(number_of) = current.filter(|_| wanted) else { continue };
            let Some(value) = bad.check(number(&word[equals + 1..])) else { continue };
            let device = device(io, number_of);
            *match &word[..equals] {
                b"rbytes" => &mut device.read_bytes,
                b"wbytes" => &mut device.written_bytes,
                b"rios" => &mut device.reads,
                _ => &mut device.writes,
            } = value;
        }
    }
}

fn device_number(text: &[u8]) -> Option<(u32, u32)> {
    let colon = text.iter().position(|byte| *byte == b':')?;
    let half = |text: &[u8]| number(text).and_then(|half| u32::try_from(half).ok());
    Some((half(&text[..colon])?, half(&text[colon + 1..])?))
}

/// The device, which is added if need be. A node has few.
fn device(io: &mut Io, number: (u32, u32)) -> &mut Device {
    // The last one is the one that the line before told of.
    let known = io.devices.iter().rposition(|device| device.number == number);
    let index = known.unwrap_or_else(|| {
        io.devices.push(Device { number, ..Device::default() });
        io.devices.len() - 1
    });
    &mut io.devices[index]
}
