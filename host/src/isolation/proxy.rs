//! The plugin in a child, as the supervisor calls it.

use super::lock;
use super::process::{Process, Spawned};
use super::protocol::{MAX_CHUNK, MAX_MESSAGE, MAX_REPLY, MAX_ROW_CHUNK, Setup, answer, call};
use super::replay;
use super::serve;
use super::wire::{self, Broken, Message, Values};
use crate::loader::{Loaded, Place};
use gantry_plugin_api::Error;
use gantry_plugin_api::abi::abi_stable::sabi_trait::TD_Opaque;
use gantry_plugin_api::abi::abi_stable::std_types::{RErr, ROk, ROption, RResult, RStr, RString, RVec};
use gantry_plugin_api::abi::types::{AbiError, Bytes, result};
use gantry_plugin_api::abi::{AbiPlugin, AbiPlugin_TO, HostBox, SinkRef, ViewSinkRef};
use gantry_pluginfile::Instance;
use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// A child that waits to be told what to do.
#[derive(Debug)]
pub struct Launched {
    pub process: Arc<Process>,
    proxy: Proxy,
    setup: Setup,
}

/// Starts a child, and a thread that answers for `host` what it asks.
pub fn launch(loaded: &Loaded, level: u32, host: HostBox) -> Result<Launched, Error> {
    let at =
        |error: std::io::Error| Error::new(format!("a process of its own could not be started: {error}"));
    let plugin = &loaded.verified.manifest.name;
    let Spawned { process, calls, asks } = Process::spawn(plugin, level).map_err(at)?;
    let launched = Launched {
        proxy: Proxy {
            line: Mutex::new(Line { socket: BufReader::new(calls), buffer: Vec::new() }),
            process: process.clone(),
            heap: AtomicU64::new(0),
        },
        process: process.clone(),
        setup: Setup {
            plugin: plugin.clone(),
            library: loaded.place.path().to_owned(),
            sealed: matches!(loaded.place, Place::Sealed(_)),
            level,
            rights: loaded.verified.rights,
        },
    };
    serve::spawn(plugin, move |why| process.kill(why), asks, host).map_err(at)?;
    Ok(launched)
}

impl Launched {
    /// Confines the child, opens the library in it and makes an instance.
    /// Gives what it could not be confined by, too.
    pub fn create(self) -> Result<(Instance, Vec<String>), Error> {
        let setup = serde_json::to_vec(&self.setup).map_err(Error::new)?;
        let lacks = result(self.proxy.call(call::SETUP, |message| message.raw(&setup), none))?;
        let lacks = serde_json::from_slice(&lacks).map_err(Error::new)?;
        result(self.proxy.call(call::CREATE, |_| {}, none))?;
        Ok((Instance::new(AbiPlugin_TO::from_value(self.proxy, TD_Opaque)), lacks))
    }
}

/// The first socket, with a call under way or none.
#[derive(Debug)]
struct Line {
    /// Small answers come in one read.
    socket: BufReader<UnixStream>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Proxy {
    line: Mutex<Line>,
    process: Arc<Process>,
    heap: AtomicU64,
}

/// No chunk may come before the reply.
fn none(_: u8, _: &[u8]) -> Result<(), Broken> {
    Err(Broken::Protocol("an answer that was not asked for".to_owned()))
}

impl Proxy {
    /// Calls, hands over each chunk that comes before the reply, and gives the
    /// value of the reply.
    fn call(
        &self,
        kind: u8,
        write: impl FnOnce(&mut Message),
        chunk: impl FnMut(u8, &[u8]) -> Result<(), Broken>,
    ) -> RResult<Vec<u8>, AbiError> {
        let line = &mut *lock(&self.line);
        match line.call(kind, write, chunk).and_then(|()| self.reply(&mut line.buffer)) {
            Ok(Ok(value)) => ROk(value),
            Ok(Err(error)) => RErr(error),
            Err(broken) => {
                if let Broken::Protocol(_) = &broken {
                    self.process.kill(&broken.to_string());
                }
                line.buffer = Vec::new();
                RErr(Error::new(self.process.how_it_ended()).into())
            }
        }
    }

    fn reply(&self, buffer: &mut Vec<u8>) -> Result<Result<Vec<u8>, AbiError>, Broken> {
        let mut values = Values(buffer);
        self.heap.store(values.u64()?, Relaxed);
        if values.bool()? {
            let value = values.0.len();
            let mut whole = std::mem::take(buffer);
            whole.drain(..whole.len() - value);
            return Ok(Ok(whole));
        }
        let code = values.u32()?;
        let message = &values.0[..values.0.len().min(MAX_MESSAGE)];
        let message = String::from_utf8_lossy(message).into_owned().into();
        Ok(Err(AbiError { code, message }))
    }

    fn text(&self, kind: u8, write: impl FnOnce(&mut Message)) -> RResult<RString, AbiError> {
        self.call(kind, write, none).map(|value| String::from_utf8_lossy(&value).into_owned().into())
    }

    fn nothing(&self, kind: u8, write: impl FnOnce(&mut Message)) -> RResult<(), AbiError> {
        self.call(kind, write, none).map(drop)
    }
}

impl Line {
    /// To the reply, which is in the buffer then.
    fn call(
        &mut self,
        kind: u8,
        write: impl FnOnce(&mut Message),
        mut chunk: impl FnMut(u8, &[u8]) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        let mut message = Message::new(kind);
        write(&mut message);
        message.send(self.socket.get_ref())?;
        loop {
            match wire::read(&mut self.socket, MAX_REPLY, &mut self.buffer)? {
                answer::REPLY => return Ok(()),
                kind => chunk(kind, &self.buffer)?,
            }
        }
    }
}

fn within(bytes: &[u8], most: usize) -> Result<(), Broken> {
    if bytes.len() > most {
        return Err(Broken::Protocol(format!("a chunk of {} bytes, where {most} are the most", bytes.len())));
    }
    Ok(())
}

impl AbiPlugin for Proxy {
    fn probe(&self, config: RStr<'_>) -> RResult<RString, AbiError> {
        self.text(call::PROBE, |message| message.raw(config.as_str().as_bytes()))
    }

    fn start(&mut self, config: RStr<'_>) -> RResult<(), AbiError> {
        self.nothing(call::START, |message| message.raw(config.as_str().as_bytes()))
    }

    fn activate(&mut self, handover: ROption<Bytes<'_>>) -> RResult<(), AbiError> {
        let handover = handover.into_option();
        self.nothing(call::ACTIVATE, |message| {
            message.option(handover.as_ref().map(|bytes| bytes.as_slice()));
        })
    }

    fn collect(&mut self, mut sink: SinkRef<'_>) -> RResult<(), AbiError> {
        let mut samples = replay::Samples::default();
        let collected = self.call(
            call::COLLECT,
            |_| {},
            |kind, chunk| match kind {
                answer::SAMPLES => {
                    within(chunk, MAX_CHUNK)?;
                    Ok(samples.replay(chunk, &mut sink)?)
                }
                _ => none(kind, chunk),
            },
        );
        wire::shrink(&mut lock(&self.line).buffer);
        collected.map(drop)
    }

    fn view(&mut self, name: RStr<'_>, mut rows: ViewSinkRef<'_>) -> RResult<(), AbiError> {
        let filled = self.call(
            call::VIEW,
            |message| message.raw(name.as_str().as_bytes()),
            |kind, chunk| match kind {
                answer::ROWS => {
                    within(chunk, MAX_ROW_CHUNK)?;
                    Ok(replay::rows(chunk, &mut rows)?)
                }
                _ => none(kind, chunk),
            },
        );
        wire::shrink(&mut lock(&self.line).buffer);
        filled.map(drop)
    }

    fn reconfigure(&mut self, config: RStr<'_>) -> RResult<bool, AbiError> {
        let answer = self.call(call::RECONFIGURE, |message| message.raw(config.as_str().as_bytes()), none);
        answer.map(|value| value.first() == Some(&1))
    }

    fn health(&self) -> RResult<RString, AbiError> {
        self.text(call::HEALTH, |_| {})
    }

    fn stop(&mut self, deadline_ms: u64) -> RResult<RVec<u8>, AbiError> {
        self.call(call::STOP, |message| message.u64(deadline_ms), none).map(RVec::from)
    }

    fn snapshot(&mut self) -> RResult<RVec<u8>, AbiError> {
        self.call(call::SNAPSHOT, |_| {}, none).map(RVec::from)
    }

    fn set_log_level(&self, level: u32) {
        self.process.set_log_level(level);
        // A child that has ended logs nothing.
        let _ = self.nothing(call::LOG_LEVEL, |message| message.u32(level));
    }

    fn heap_bytes(&self) -> u64 {
        self.heap.load(Relaxed)
    }

    /// None of this process: the kernel counts the child by itself.
    fn threads(&self) -> RVec<u64> {
        RVec::new()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Whatever it handed over has come; threads that its plugin left
        // behind end with it.
        self.process.end();
    }
}
