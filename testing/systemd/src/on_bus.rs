//! The same answers, on a message bus.

use super::{Shared, path, serve};
use std::future::poll_fn;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use zbus::export::futures_core::Stream;
use zbus::message::Type;
use zbus::{Connection, MessageStream};

/// Something that has systemd's name; it goes with the value.
#[derive(Debug)]
pub struct OnBus {
    jobs: Option<UnboundedSender<String>>,
    thread: Option<JoinHandle<()>>,
}

impl OnBus {
    pub fn start(socket: &Path, shared: Arc<Shared>) -> Self {
        let (jobs, jobs_done) = tokio::sync::mpsc::unbounded_channel();
        let (there, wait) = mpsc::channel();
        let address = format!("unix:path={}", socket.display());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(serve_on(address, &shared, jobs_done, there));
        });
        wait.recv_timeout(super::PATIENCE).expect("it has its name");
        Self { jobs: Some(jobs), thread: Some(thread) }
    }

    pub fn job_removed(&self, unit: &str) {
        let jobs = self.jobs.as_ref().expect("it is there");
        jobs.send(unit.to_owned()).expect("its thread lives");
    }
}

impl Drop for OnBus {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve_on(
    address: String,
    shared: &Shared,
    mut jobs: UnboundedReceiver<String>,
    there: mpsc::Sender<()>,
) {
    let builder = zbus::connection::Builder::address(address.as_str()).expect("an address");
    let connection: Connection = builder.max_queued(4096).build().await.expect("a connection");
    let mut calls = MessageStream::from(&connection);
    connection.request_name(serve::NAME).await.expect("the name");
    there.send(()).expect("it is waited for");
    loop {
        tokio::select! {
            call = poll_fn(|context| std::pin::Pin::new(&mut calls).poll_next(context)) => match call {
                Some(Ok(call)) if call.message_type() == Type::MethodCall => {
                    serve::answer(shared, &connection, &call, None).await;
                }
                Some(Ok(_)) => {}
                // The bus is gone; the value is dropped later.
                _ => return while jobs.recv().await.is_some() {},
            },
            job = jobs.recv() => {
                let Some(unit) = job else { return };
                let body = (7_u32, path("job"), unit, "done");
                let sent = connection.emit_signal(None::<&str>, serve::PATH, serve::MANAGER, "JobRemoved", &body);
                sent.await.expect("the bus takes it");
            }
        }
    }
}
