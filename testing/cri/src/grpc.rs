//! A server of gRPC that answers well or badly.

use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use hyper::http::{HeaderMap, Request, Response};
use prost::bytes::Bytes;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

/// How requests of one kind are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mood {
    Good,
    /// Never.
    Hang,
    /// With a head that announces more than comes.
    HangInBody,
    /// With an error of this code.
    Code(u16),
    /// With bytes that are no message.
    Garbage,
    /// With a message of a gigabyte, as its head says.
    Endless,
    /// With half of a message.
    Half,
    /// Not at all: the stream is reset.
    Reset,
    /// With HTTP's own error.
    Status(u16),
}

/// What is served.
pub trait Serve: Clone + Send + Sync + 'static {
    /// What connections get in place of HTTP/2.
    fn raw(&self) -> Option<Vec<u8>>;
    /// A request of a method: its namespace and its message.
    fn serve(&self, path: &str, namespace: &str, question: &[u8]) -> Answer;
}

/// What a request is answered by.
pub enum Answer {
    /// One message, or an error's code, in a mood.
    One(Mood, Result<Vec<u8>, u16>),
    /// These, and then the end.
    All(Vec<Vec<u8>>),
    /// What comes, as long as it comes.
    Stream(mpsc::UnboundedReceiver<Bytes>),
}

/// With the value it is gone, and its socket too.
pub struct Server {
    socket: PathBuf,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(socket: &Path, served: impl Serve) -> Self {
        let listener = std::os::unix::net::UnixListener::bind(socket).expect("a socket");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let (end, ended) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, served) => {}
                    _ = ended => {}
                }
            });
        });
        Self { socket: socket.to_owned(), end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

async fn accept(listener: std::os::unix::net::UnixListener, served: impl Serve) {
    let listener = tokio::net::UnixListener::from_std(listener).expect("a listener");
    while let Ok((stream, _)) = listener.accept().await {
        if let Some(bytes) = served.raw() {
            let mut stream = stream.into_std().expect("a stream");
            let _ = stream.write_all(&bytes);
            continue;
        }
        tokio::spawn(connection(stream, served.clone()));
    }
}

async fn connection(stream: UnixStream, served: impl Serve) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(serve(request, respond, served.clone()));
    }
}

async fn serve(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, served: impl Serve) {
    let path = request.uri().path().to_owned();
    let namespace = request.headers().get("containerd-namespace").cloned();
    let namespace = namespace.and_then(|value| value.to_str().map(str::to_owned).ok()).unwrap_or_default();
    let mut body = request.into_body();
    let mut question = Vec::new();
    while let Some(Ok(chunk)) = body.data().await {
        let _ = body.flow_control().release_capacity(chunk.len());
        question.extend_from_slice(&chunk);
    }
    match served.serve(&path, &namespace, question.get(5..).unwrap_or_default()) {
        Answer::One(mood, answer) => send(&mut respond, mood, answer).await,
        Answer::All(messages) => {
            let Ok(mut stream) = respond.send_response(head(), false) else { return };
            for message in messages {
                let _ = stream.send_data(framed(&message, message.len()), false);
            }
            let _ = stream.send_trailers(trailers(0));
        }
        Answer::Stream(heard) => events(respond, heard).await,
    }
}

fn head() -> Response<()> {
    Response::builder().header("content-type", "application/grpc").body(()).expect("a head")
}

fn trailers(code: u16) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.into());
    trailers
}

fn framed(message: &[u8], length: usize) -> Bytes {
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(length).expect("a length").to_be_bytes());
    bytes.extend_from_slice(message);
    bytes.into()
}

async fn send(respond: &mut SendResponse<Bytes>, mood: Mood, answer: Result<Vec<u8>, u16>) {
    let refuse = |respond: &mut SendResponse<Bytes>, code: u16| {
        let (mut parts, ()) = head().into_parts();
        parts.headers.extend(trailers(code));
        let _ = respond.send_response(Response::from_parts(parts, ()), true);
    };
    let message = match answer {
        Ok(message) => message,
        Err(code) if mood == Mood::Good => return refuse(respond, code),
        Err(_) => Vec::new(),
    };
    let bytes = match mood {
        Mood::Hang => return std::future::pending().await,
        Mood::Code(code) => return refuse(respond, code),
        Mood::Reset => return respond.send_reset(Reason::INTERNAL_ERROR),
        Mood::Status(status) => {
            let head = Response::builder().status(status).body(()).expect("a head");
            let _ = respond.send_response(head, true);
            return;
        }
        Mood::Good => framed(&message, message.len()),
        Mood::Garbage => framed(b"\xff\xff\xff\xffgarbage", 11),
        Mood::Endless => framed(b"x", 1 << 30),
        Mood::HangInBody | Mood::Half => framed(&message, message.len() + 10),
    };
    let Ok(mut stream) = respond.send_response(head(), false) else { return };
    let _ = stream.send_data(bytes, false);
    if mood == Mood::HangInBody {
        return std::future::pending().await;
    }
    let _ = stream.send_trailers(trailers(0));
}

/// As servers in Go do: nothing is sent before the first event.
async fn events(mut respond: SendResponse<Bytes>, mut heard: mpsc::UnboundedReceiver<Bytes>) {
    let Some(first) = heard.recv().await else {
        return send(&mut respond, Mood::Code(0), Ok(Vec::new())).await;
    };
    let Ok(mut stream) = respond.send_response(head(), false) else { return };
    let mut next = Some(first);
    while let Some(message) = next {
        let _ = stream.send_data(framed(&message, message.len()), false);
        next = heard.recv().await;
    }
    let _ = stream.send_trailers(trailers(0));
}
