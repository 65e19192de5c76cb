//! The course of a child: it takes its orders, gives up what it does not need,
//! opens the library, and serves calls until the agent hangs up.

use super::protocol::{MAX_CALL, MAX_KEPT, MAX_MESSAGE, Setup, answer, call};
use super::remote::Remote;
use super::rights;
use super::sinks::{Rows, Samples};
use super::wire::{self, Message, Values};
use gantry_plugin_api::Error;
use gantry_plugin_api::abi::AbiHost_TO;
use gantry_plugin_api::abi::abi_stable::sabi_trait::TD_Opaque;
use gantry_plugin_api::abi::types::AbiError;
use gantry_pluginfile::{Instance, Library};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use std::fs::File;
use std::io::BufReader;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The option that makes this binary the child.
pub const OPTION: &str = "--plugin-runner";

/// What the child does. `parent` is the agent's process number.
pub fn run_child(parent: &str) -> Result<(), String> {
    gantry_child::close_inherited();
    gantry_child::leave_ending_to_the_agent();
    // The agent may have died before the kernel knew what to do then.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| format!("prctl: {error}"))?;
    if getppid().is_none_or(|now| now.as_raw_nonzero().to_string() != parent) {
        return Ok(());
    }
    gantry_malloc::keep_to_one_arena();
    let at = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
    let calls = take_standard_input().map_err(at("standard input"))?;
    let asks = wire::take_socket(&calls).map_err(at("the second socket"))?;
    let mut child = Child {
        reader: BufReader::with_capacity(4096, calls.try_clone().map_err(at("dup"))?),
        calls,
        asks: Some(asks),
        library: None,
        instance: None,
    };
    let mut buffer = Vec::new();
    // It ends when the agent hangs up, and by whatever cannot be a call.
    while let Ok(kind) = wire::read(&mut child.reader, MAX_CALL, &mut buffer) {
        let answered = child.answer(kind, &buffer);
        wire::shrink(&mut buffer);
        if answered.is_err() {
            break;
        }
    }
    Ok(())
}

/// The first socket. In its place the plugin finds an empty standard input.
fn take_standard_input() -> std::io::Result<UnixStream> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(UnixStream::from(socket))
}

struct Child {
    calls: UnixStream,
    reader: BufReader<UnixStream>,
    /// Until the plugin has it.
    asks: Option<UnixStream>,
    library: Option<(Setup, File)>,
    instance: Option<Instance>,
}

impl Child {
    /// An error ends the child; what the plugin says is none.
    fn answer(&mut self, kind: u8, body: &[u8]) -> std::io::Result<()> {
        let value = match kind {
            call::SETUP => self.set_up(body).map_err(Error::new),
            call::CREATE => self.create().map(|()| Vec::new()),
            call::COLLECT => {
                let mut sink = Samples::new(&self.calls);
                let collected = instance(&mut self.instance).and_then(|one| one.collect(sink.crossing()));
                sink.finish()?;
                collected.map(|()| Vec::new())
            }
            call::VIEW => {
                let mut rows = Rows::new(&self.calls);
                let name = String::from_utf8_lossy(body);
                let filled = instance(&mut self.instance).and_then(|one| one.view(&name, rows.crossing()));
                rows.finish()?;
                filled.map(|()| Vec::new())
            }
            _ => instance(&mut self.instance).and_then(|instance| simple(instance, kind, body)),
        };
        self.reply(value)
    }

    fn set_up(&mut self, body: &[u8]) -> Result<Vec<u8>, String> {
        let setup: Setup = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let name: Vec<u8> = [b"p:", setup.plugin.as_bytes()].concat();
        if let Ok(name) = std::ffi::CString::new(&name[..name.len().min(15)]) {
            // A name is a comfort alone.
            let _ = rustix::thread::set_name(&name);
        }
        // While it may still open what is the agent's alone.
        let file =
            File::open(&setup.library).map_err(|error| format!("{}: {error}", setup.library.display()))?;
        let lacks = rights::confine(&setup.rights)?;
        self.library = Some((setup, file));
        serde_json::to_vec(&lacks).map_err(|error| error.to_string())
    }

    fn create(&mut self) -> Result<(), Error> {
        let (Some((setup, file)), Some(asks)) = (self.library.as_ref(), self.asks.take()) else {
            return Err(Error::new("it was not set up"));
        };
        let by_descriptor = || format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file)).into();
        // By its own path a debugger finds it.
        let path = if setup.sealed { by_descriptor() } else { setup.library.clone() };
        // The comparison of layouts goes deep. Its stack is given back with its thread.
        let opened = std::thread::scope(|scope| {
            let opens = std::thread::Builder::new().spawn_scoped(scope, || Library::open(&path))?;
            opens.join().map_err(|_| std::io::Error::other("opening it panicked"))
        });
        let library = opened.map_err(Error::new)?.map_err(Error::new)?;
        let host = AbiHost_TO::from_value(Remote::new(asks)?, TD_Opaque);
        self.instance = Some(library.create(host, setup.level)?);
        // The comparison of layouts is some 200 KiB.
        gantry_malloc::give_back_what_is_free();
        Ok(())
    }

    fn reply(&self, value: Result<Vec<u8>, Error>) -> std::io::Result<()> {
        let mut message = Message::new(answer::REPLY);
        message.u64(self.instance.as_ref().map_or(0, Instance::heap_bytes));
        match value {
            Ok(value) if value.len() <= MAX_KEPT => {
                message.u8(1);
                message.raw(&value);
            }
            Ok(value) => {
                let why = format!("{} bytes, where {MAX_KEPT} are the most", value.len());
                refuse(&mut message, Error::new(why));
            }
            Err(error) => refuse(&mut message, error),
        }
        message.send(&self.calls)
    }
}

fn refuse(message: &mut Message, error: Error) {
    let AbiError { code, message: why } = error.into();
    message.u8(0);
    message.u32(code);
    message.raw(why[..why.floor_char_boundary(MAX_MESSAGE)].as_bytes());
}

fn instance(instance: &mut Option<Instance>) -> Result<&mut Instance, Error> {
    instance.as_mut().ok_or_else(|| Error::new("there is no instance"))
}

/// Calls that are answered with one value.
fn simple(instance: &mut Instance, kind: u8, body: &[u8]) -> Result<Vec<u8>, Error> {
    let text = || String::from_utf8_lossy(body);
    let malformed = |_| Error::new("a call that cannot be read");
    let mut values = Values(body);
    match kind {
        call::PROBE => json(&instance.probe(&text())?),
        call::START => instance.start(&text()).map(|()| Vec::new()),
        call::ACTIVATE => instance.activate(values.option().map_err(malformed)?).map(|()| Vec::new()),
        call::RECONFIGURE => instance.reconfigure(&text()).map(|applied| vec![applied.into()]),
        call::HEALTH => json(&instance.health()?),
        call::STOP => instance.stop(Duration::from_millis(values.u64().map_err(malformed)?)),
        call::SNAPSHOT => instance.snapshot(),
        call::LOG_LEVEL => {
            instance.set_log_level(values.u32().map_err(malformed)?);
            Ok(Vec::new())
        }
        other => Err(Error::new(format!("a call of the unknown kind {other}"))),
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(Error::new)
}
