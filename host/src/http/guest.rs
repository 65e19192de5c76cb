//! A connection's stream and answers, as far as its place must know of them.

use super::places::Place;
use bytes::Buf;
use hyper::body::{Body, Frame, SizeHint};
use rustix::net::{RecvFlags, recv};
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_io_timeout::TimeoutStream;

/// A stream that ends where its place is needed.
#[derive(Debug)]
pub struct Guest<S> {
    stream: Pin<Box<TimeoutStream<S>>>,
    place: Arc<Place>,
}

impl<S> Guest<S> {
    pub fn new(stream: TimeoutStream<S>, place: Arc<Place>) -> Self
    where
        S: AsyncRead + AsyncWrite,
    {
        Self { stream: Box::pin(stream), place }
    }
}

/// Whether the kernel has something that nobody has read: what the runtime
/// knows of it may be older.
fn has_sent(stream: &impl AsFd) -> bool {
    let mut byte = [0_u8; 1];
    recv(stream, &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT).is_ok_and(|(_, length)| length > 0)
}

impl<S: AsyncRead + AsyncWrite + AsFd> AsyncRead for Guest<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = self.stream.as_mut().poll_read(cx, buffer);
        match &read {
            // The end of the stream, as if its client had closed it.
            Poll::Pending if self.place.goes(cx.waker(), || has_sent(self.stream.get_ref())) => {
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Ok(())) if buffer.filled().len() > before => self.place.read(),
            _ => {}
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite> AsyncWrite for Guest<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// The server flushes when it has nothing left to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.stream.as_mut().poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.place.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(cx)
    }
}

/// The body of an answer; the server drops it when it has taken all of it.
pub struct Counted<B> {
    body: Pin<Box<B>>,
    place: Arc<Place>,
}

impl<B> Counted<B> {
    pub fn new(body: B, place: Arc<Place>) -> Self {
        Self { body: Box::pin(body), place }
    }
}

impl<B> Drop for Counted<B> {
    fn drop(&mut self) {
        self.place.ends();
    }
}

impl<B: Body<Data: Buf>> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.body.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
