//! Samples and rows on their way out of the child, in chunks, so that both
//! ends work at the same time.

use super::protocol::{
    CHUNK, MAX_BOUNDS, MAX_CELLS, MAX_LABEL, MAX_LABELS, MAX_REASON, MAX_ROWS, MAX_TEXT, SAME, answer, record,
};
use super::wire::Message;
use gantry_plugin_api::abi::abi_stable::sabi_trait::TD_Opaque;
use gantry_plugin_api::abi::abi_stable::sabi_types::RMut;
use gantry_plugin_api::abi::abi_stable::std_types::{ROption, RSlice, RStr};
use gantry_plugin_api::abi::types::{AbiCell, Bytes};
use gantry_plugin_api::abi::{AbiSink, AbiSink_TO, AbiViewSink, AbiViewSink_TO, SinkRef, ViewSinkRef};
use std::io;
use std::ops::Range;
use std::os::unix::net::UnixStream;

/// What a chunk takes while it is filled.
#[derive(Debug)]
struct Chunk<'a> {
    socket: &'a UnixStream,
    kind: u8,
    message: Message,
    /// The socket broke: the agent is gone, and nothing more is sent.
    broken: Option<io::Error>,
}

impl<'a> Chunk<'a> {
    fn new(socket: &'a UnixStream, kind: u8) -> Self {
        Self { socket, kind, message: Message::new(kind), broken: None }
    }

    /// Whether it was full, and another one has begun.
    fn is_sent_where_full(&mut self) -> bool {
        let full = self.message.len() >= CHUNK;
        if full {
            self.send();
        }
        full
    }

    fn send(&mut self) {
        if self.message.len() == 0 {
            return;
        }
        if self.broken.is_none() {
            self.broken = self.message.send(self.socket).err();
        }
        let buffer = std::mem::replace(&mut self.message, Message::new(self.kind)).into_buffer();
        self.message = Message::in_buffer(buffer, self.kind);
    }

    fn finish(mut self) -> io::Result<()> {
        self.send();
        self.broken.map_or(Ok(()), Err)
    }
}

/// A sink for one collection.
#[derive(Debug)]
pub struct Samples<'a> {
    chunk: Chunk<'a>,
    /// Where the labels of the sample before lie in the chunk.
    before: [Range<usize>; MAX_LABELS],
    count: usize,
}

impl<'a> Samples<'a> {
    pub fn new(socket: &'a UnixStream) -> Self {
        Self { chunk: Chunk::new(socket, answer::SAMPLES), before: std::array::from_fn(|_| 0..0), count: 0 }
    }

    pub fn crossing(&mut self) -> SinkRef<'_> {
        AbiSink_TO::from_ptr(RMut::new(self), TD_Opaque)
    }

    /// Sends what is left.
    pub fn finish(self) -> io::Result<()> {
        self.chunk.finish()
    }

    /// A label like the one before it in its place takes four bytes: most
    /// labels of a plugin are.
    fn labels(&mut self, labels: &[Bytes<'_>]) {
        let labels = &labels[..labels.len().min(MAX_LABELS)];
        let message = &mut self.chunk.message;
        message.u8(labels.len() as u8);
        for (at, (label, before)) in labels.iter().zip(&mut self.before).enumerate() {
            let label = &label.as_slice()[..label.len().min(MAX_LABEL)];
            if at < self.count && message.written(before) == label {
                message.u32(SAME);
                continue;
            }
            message.bytes(label);
            *before = message.len() - label.len()..message.len();
        }
        self.count = labels.len();
    }

    fn end(&mut self) {
        if self.chunk.is_sent_where_full() {
            self.count = 0;
        }
    }
}

impl AbiSink for Samples<'_> {
    fn sample(&mut self, family: u32, container: u64, labels: RSlice<'_, Bytes<'_>>, value: f64) {
        self.chunk.message.sample(record::SAMPLE, family, container, value);
        self.labels(labels.as_slice());
        self.end();
    }

    fn histogram(
        &mut self,
        family: u32,
        container: u64,
        labels: RSlice<'_, Bytes<'_>>,
        bounds: RSlice<'_, f64>,
        cumulative: RSlice<'_, u64>,
        sum: f64,
        count: u64,
    ) {
        let bounds = &bounds.as_slice()[..bounds.len().min(MAX_BOUNDS)];
        let cumulative = &cumulative.as_slice()[..cumulative.len().min(MAX_BOUNDS)];
        let message = &mut self.chunk.message;
        message.u8(record::HISTOGRAM);
        message.u32(family);
        message.u64(container);
        message.f64(sum);
        message.u64(count);
        self.labels(labels.as_slice());
        let message = &mut self.chunk.message;
        message.u32(bounds.len() as u32);
        message.u32(cumulative.len() as u32);
        message.f64s(bounds);
        message.u64s(cumulative);
        self.end();
    }

    fn created(&mut self, at: ROption<f64>) {
        match at.into_option() {
            Some(at) => {
                self.chunk.message.u8(record::CREATED);
                self.chunk.message.f64(at);
            }
            None => self.chunk.message.u8(record::NOT_CREATED),
        }
        self.end();
    }

    fn skipped(&mut self, reason: RStr<'_>, count: u64) {
        let reason = reason.as_str();
        self.chunk.message.u8(record::SKIPPED);
        self.chunk.message.u64(count);
        self.chunk.message.bytes(&reason.as_bytes()[..reason.floor_char_boundary(MAX_REASON)]);
        self.end();
    }
}

/// A sink for one view.
#[derive(Debug)]
pub struct Rows<'a> {
    chunk: Chunk<'a>,
    rows: usize,
    text: usize,
}

impl<'a> Rows<'a> {
    pub fn new(socket: &'a UnixStream) -> Self {
        Self { chunk: Chunk::new(socket, answer::ROWS), rows: 0, text: 0 }
    }

    pub fn crossing(&mut self) -> ViewSinkRef<'_> {
        AbiViewSink_TO::from_ptr(RMut::new(self), TD_Opaque)
    }

    /// Sends what is left.
    pub fn finish(self) -> io::Result<()> {
        self.chunk.finish()
    }
}

impl AbiViewSink for Rows<'_> {
    fn row(&mut self, cells: RSlice<'_, AbiCell<'_>>) -> bool {
        if self.rows >= MAX_ROWS || self.text >= MAX_TEXT {
            return false;
        }
        let cells = &cells.as_slice()[..cells.len().min(MAX_CELLS)];
        self.rows += 1;
        self.chunk.message.u32(cells.len() as u32);
        for cell in cells {
            let text = &cell.text.as_slice()[..cell.text.len().min(MAX_TEXT - self.text)];
            self.text += text.len();
            self.chunk.message.u32(cell.kind);
            self.chunk.message.f64(cell.number);
            self.chunk.message.u64(cell.container);
            self.chunk.message.bytes(text);
        }
        self.chunk.is_sent_where_full();
        true
    }
}
