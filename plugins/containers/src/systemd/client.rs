//! systemd's requests, each under the deadline, bounded and counted. What each
//! of them means: org.freedesktop.systemd1(5).
//!
//! Properties are asked for one by one: all of a service's are some 300, for
//! which systemd reads files of its cgroup, and the environment is among them.

use super::names;
use super::signals::Signals;
use super::transport::{self, Malformed, Rejected, TooLarge};
use crate::provider::door::Door;
use crate::provider::link::Link;
use crate::provider::outcome::Outcome;
use crate::provider::{Ended, Failed};
use gantry_plugin_api::serde::Serialize;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use zbus::zvariant::{DynamicType, ObjectPath, OwnedObjectPath, OwnedValue};
use zbus::{Connection, Error, Message, MessageStream};

/// The requests by which it is seen who is there.
pub const VERSION: &str = "version";
/// Those after which changes are heard of.
pub const EVENTS: &str = "events";
/// The request for all services that run.
pub const LIST: &str = "list";
/// Those for one unit: where it is, and each of its properties.
pub const INSPECT: &str = "inspect";

/// Who is asked: a name, an object and an interface.
type To<'a> = (&'a str, &'a str, &'a str);
/// The message bus itself.
const BUS: To<'static> = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus");
/// systemd, by its name on the bus.
pub const NAME: &str = "org.freedesktop.systemd1";
/// Its object that has all units.
pub const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
/// That one's interface.
pub const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Signals that may wait while something is asked: 16 MiB at most.
const MOST_QUEUED: usize = 256;

/// The states of units in which something may run. Others match nothing, and
/// an older systemd passes over those that it does not know.
const RUNNING: [&str; 5] = ["active", "activating", "deactivating", "reloading", "refreshing"];
/// It is active and nothing of it runs, as of a unit that runs once.
const EXITED: &str = "exited";
/// The fields of a listed unit: name, description, load state, state, substate,
/// the unit it follows, its object, its job's id, kind and object.
type Row<'a> =
    (&'a str, &'a str, &'a str, &'a str, &'a str, &'a str, ObjectPath<'a>, u32, &'a str, ObjectPath<'a>);

/// A connection over which somebody answers.
#[derive(Debug, Clone)]
pub struct Client {
    connection: Connection,
    /// Between here and systemd there is a message bus.
    over_bus: bool,
    deadline: Duration,
    link: Arc<Link>,
}

impl Client {
    /// Connects to a message bus, or to systemd itself: who does not know a
    /// bus's greeting is no bus.
    ///
    /// # Errors
    /// Where there is no answer, or one that makes no sense.
    pub async fn connect(door: &Door, deadline: Duration, link: Arc<Link>) -> Result<(Self, Signals), Ended> {
        let ended = |failed: Failed| failed.into_ended(VERSION);
        let connected = async {
            let (socket, id) = transport::connect(door, Arc::clone(&link)).await?;
            let builder = zbus::connection::Builder::authenticated_socket(socket, id.as_str())?;
            builder.max_queued(MOST_QUEUED).build().await
        };
        let connection = ask(&link, VERSION, deadline, connected).await.map_err(ended)?;
        let stream = MessageStream::from(&connection);
        let mut client = Self { connection, over_bus: true, deadline, link };
        match client.call(VERSION, BUS, "Hello", &(), |_| Ok(())).await {
            Ok(()) => {}
            Err(failed) if failed.outcome == Outcome::NotFound => client.over_bus = false,
            Err(failed) => return Err(ended(failed)),
        }
        let signals = Signals::new(stream, client.over_bus);
        Ok((client, signals))
    }

    /// Whether there is a message bus between.
    pub fn is_over_bus(&self) -> bool {
        self.over_bus
    }

    /// What it shares.
    pub fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// How long one request may take.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// From now on the bus passes signals on that this rule is about.
    pub async fn add_match(&self, rule: &str) -> Result<(), Failed> {
        self.call(EVENTS, BUS, "AddMatch", &(rule,), |_| Ok(())).await
    }

    /// The connection to the bus by which systemd has its name; `None` where
    /// it is not there.
    pub async fn owner(&self) -> Result<Option<String>, Failed> {
        let owner = |answer: &Message| answer.body().deserialize::<String>();
        match self.call(VERSION, BUS, "GetNameOwner", &(NAME,), owner).await {
            Ok(owner) => Ok(Some(owner)),
            Err(failed) if failed.outcome == Outcome::NotFound => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    /// From now on systemd sends signals.
    pub async fn subscribe(&self) -> Result<(), Failed> {
        const AGAIN: &str = "org.freedesktop.systemd1.AlreadySubscribed";
        match self.manager(EVENTS, "Subscribe", &(), |_| Ok(())).await {
            Err(failed) if failed.detail == AGAIN => Ok(()),
            done => done,
        }
    }

    /// Whether systemd answers at all.
    pub async fn lives(&self) -> Result<(), Failed> {
        let to = (NAME, MANAGER_PATH, PROPERTIES);
        self.call(VERSION, to, "Get", &(MANAGER, "Version"), |_| Ok(())).await
    }

    /// The services that run.
    pub async fn list(&self) -> Result<Vec<String>, Failed> {
        let patterns = (&RUNNING[..], &["*.service"][..]);
        match self.manager(LIST, "ListUnitsByPatterns", &patterns, running).await {
            // Before systemd 230.
            Err(failed) if failed.outcome == Outcome::NotFound => {
                self.manager(LIST, "ListUnits", &(), running).await
            }
            done => done,
        }
    }

    /// Where a unit is. One that is not loaded is not found, and not loaded,
    /// as it would be if its properties were asked for.
    pub async fn unit(&self, name: &str) -> Result<OwnedObjectPath, Failed> {
        self.manager(INSPECT, "GetUnit", &(name,), |answer| answer.body().deserialize()).await
    }

    /// A property of a unit.
    pub async fn property<T>(&self, unit: &OwnedObjectPath, interface: &str, name: &str) -> Result<T, Failed>
    where
        T: TryFrom<OwnedValue, Error = zbus::zvariant::Error>,
    {
        let read = |answer: &Message| Ok(T::try_from(answer.body().deserialize::<OwnedValue>()?)?);
        self.call(INSPECT, (NAME, unit.as_str(), PROPERTIES), "Get", &(interface, name), read).await
    }

    async fn manager<T>(
        &self,
        request: &str,
        method: &str,
        arguments: &(impl Serialize + DynamicType),
        read: impl FnOnce(&Message) -> zbus::Result<T>,
    ) -> Result<T, Failed> {
        self.call(request, (NAME, MANAGER_PATH, MANAGER), method, arguments, read).await
    }

    async fn call<T>(
        &self,
        request: &str,
        (name, path, interface): To<'_>,
        method: &str,
        arguments: &(impl Serialize + DynamicType),
        read: impl FnOnce(&Message) -> zbus::Result<T>,
    ) -> Result<T, Failed> {
        let answer = async {
            let call = self.connection.call_method(Some(name), path, Some(interface), method, arguments);
            read(&call.await?)
        };
        ask(&self.link, request, self.deadline, answer).await
    }
}

/// What all requests go through.
async fn ask<T>(
    link: &Link,
    request: &str,
    deadline: Duration,
    answer: impl Future<Output = zbus::Result<T>>,
) -> Result<T, Failed> {
    let answer = match tokio::time::timeout(deadline, answer).await {
        Ok(answer) => answer.map_err(|error| failed(&error)),
        Err(_) => Err(Failed { outcome: Outcome::Timeout, detail: String::new() }),
    };
    link.count(request, answer.as_ref().map_or_else(|failed| failed.outcome, |_| Outcome::Ok));
    answer
}

/// The services among listed units of which something may run.
fn running(answer: &Message) -> zbus::Result<Vec<String>> {
    let body = answer.body();
    let rows = body.deserialize::<Vec<Row<'_>>>()?;
    let running = rows.iter().filter(|(name, _, _, state, substate, ..)| {
        names::is_unit(name) && names::is_service(name) && RUNNING.contains(state) && *substate != EXITED
    });
    Ok(running.map(|(name, ..)| (*name).to_owned()).collect())
}

/// What became of a request. Of the texts of answers nothing is told.
pub fn failed(error: &Error) -> Failed {
    let (outcome, detail) = match error {
        Error::MethodError(name, ..) => refused(name.as_str()),
        Error::InputOutput(error) => (io_outcome(error), error.to_string()),
        Error::Variant(_)
        | Error::Names(_)
        | Error::IncorrectEndian
        | Error::InvalidField
        | Error::MissingField
        | Error::MissingParameter(_)
        | Error::InvalidSerial
        | Error::InvalidReply
        | Error::InvalidGUID
        | Error::ExcessData => (Outcome::Malformed, String::new()),
        _ => (Outcome::Failed, String::new()),
    };
    Failed { outcome, detail }
}

fn refused(error: &str) -> (Outcome, String) {
    match error.strip_prefix("org.freedesktop.DBus.Error.").unwrap_or(error) {
        "UnknownObject"
        | "UnknownMethod"
        | "UnknownInterface"
        | "UnknownProperty"
        | "NameHasNoOwner"
        | "ServiceUnknown"
        | "org.freedesktop.systemd1.NoSuchUnit" => (Outcome::NotFound, String::new()),
        "AccessDenied" => {
            let remedy =
                "access denied: run as root, or let the policies of the bus, AppArmor and SELinux allow it";
            (Outcome::Refused, remedy.to_owned())
        }
        // Who was asked has gone.
        "NoReply" | "Disconnected" => (Outcome::Failed, "systemd went away".to_owned()),
        other => (Outcome::Refused, other.to_owned()),
    }
}

fn io_outcome(error: &std::io::Error) -> Outcome {
    match error.get_ref() {
        Some(inner) if inner.is::<TooLarge>() => Outcome::TooLarge,
        Some(inner) if inner.is::<Malformed>() => Outcome::Malformed,
        Some(inner) if inner.is::<Rejected>() => Outcome::Refused,
        _ => Outcome::Failed,
    }
}
