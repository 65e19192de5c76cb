//! What systemd tells by itself. Over a bus everybody may send signals to
//! everybody, so each is believed of its sender alone.

use super::client::{Client, EVENTS, MANAGER, MANAGER_PATH, NAME, failed};
use super::names;
use crate::provider::bounds::Loss;
use crate::provider::link::Link;
use crate::provider::outcome::Outcome;
use crate::provider::{Ended, Failed};
use std::future::poll_fn;
use std::pin::Pin;
use zbus::export::futures_core::Stream;
use zbus::message::Type;
use zbus::zvariant::ObjectPath;
use zbus::{Message, MessageStream};

/// A unit's job is done: it was started, stopped, restarted or reloaded, or
/// failed to. A unit is no more. Its settings were read anew. Not listened to:
/// properties that change, of which every timer and session has many.
const MEMBERS: [&str; 3] = ["JobRemoved", "UnitRemoved", "Reloading"];

/// The bus, as a sender.
const BUS: &str = "org.freedesktop.DBus";
/// Who has a name on the bus.
const OWNER_CHANGED: &str = "NameOwnerChanged";

/// What a signal asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// To look at a unit.
    Look(String),
    /// Nothing more: it is not loaded any more.
    Removed(String),
    /// To look at all that is known.
    Reloaded,
    /// To begin anew: systemd came to the bus, in a new process image too.
    Came,
    /// To wait until it comes.
    Went,
}

/// What comes over a connection and answers nothing.
#[derive(Debug)]
pub struct Signals {
    stream: MessageStream,
    over_bus: bool,
    /// systemd's connection to the bus; empty where it has none.
    owner: String,
}

impl Signals {
    /// Those of a connection.
    pub fn new(stream: MessageStream, over_bus: bool) -> Self {
        Self { stream, over_bus, owner: String::new() }
    }

    /// Listens from now on; whether systemd is there.
    ///
    /// # Errors
    /// Where the bus does not answer, or refuses.
    pub async fn listen(&mut self, client: &Client) -> Result<bool, Ended> {
        if !client.is_over_bus() {
            return Ok(true);
        }
        let of_owner =
            format!("type='signal',sender='{BUS}',interface='{BUS}',member='{OWNER_CHANGED}',arg0='{NAME}'");
        let of_manager = MEMBERS.map(|member| {
            format!(
                "type='signal',sender='{NAME}',path='{MANAGER_PATH}',interface='{MANAGER}',member='{member}'"
            )
        });
        for rule in std::iter::once(&of_owner).chain(&of_manager) {
            client.add_match(rule).await.map_err(|failed| failed.into_ended(EVENTS))?;
        }
        let owner = client.owner().await.map_err(|failed| failed.into_ended(EVENTS))?;
        self.owner = owner.unwrap_or_default();
        Ok(!self.owner.is_empty())
    }

    /// The next change. May be dropped while it waits; nothing is lost then.
    ///
    /// # Errors
    /// Where the connection ends.
    pub async fn next(&mut self, link: &Link) -> Result<Change, Ended> {
        loop {
            let message = poll_fn(|context| Pin::new(&mut self.stream).poll_next(context)).await;
            let message = match message {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Err(failed(&error).into_ended(EVENTS)),
                None => {
                    let detail = "the connection ended".to_owned();
                    return Err(Failed { outcome: Outcome::Failed, detail }.into_ended(EVENTS));
                }
            };
            match self.change(&message) {
                Ok(Some(change)) => return Ok(change),
                Ok(None) => {}
                Err(_) => link.losses().add(Loss::Event, 1),
            }
        }
    }

    /// What a message asks for, if anything.
    fn change(&mut self, message: &Message) -> zbus::Result<Option<Change>> {
        let header = message.header();
        let (Some(interface), Some(member)) = (header.interface(), header.member()) else { return Ok(None) };
        if message.message_type() != Type::Signal {
            return Ok(None);
        }
        // The bus writes the sender itself.
        let sender = header.sender().map(|sender| sender.as_str()).unwrap_or_default();
        let body = message.body();
        if self.over_bus && sender == BUS && member == OWNER_CHANGED {
            let (name, _, owner) = body.deserialize::<(&str, &str, &str)>()?;
            if name != NAME {
                return Ok(None);
            }
            owner.clone_into(&mut self.owner);
            return Ok(Some(if owner.is_empty() { Change::Went } else { Change::Came }));
        }
        if self.over_bus && sender != self.owner || interface != MANAGER {
            return Ok(None);
        }
        Ok(match member.as_str() {
            "JobRemoved" => {
                let (_, _, unit, _) = body.deserialize::<(u32, ObjectPath<'_>, &str, &str)>()?;
                names::is_unit(unit).then(|| Change::Look(unit.to_owned()))
            }
            "UnitRemoved" => {
                let (unit, _) = body.deserialize::<(&str, ObjectPath<'_>)>()?;
                names::is_unit(unit).then(|| Change::Removed(unit.to_owned()))
            }
            "Reloading" => (!body.deserialize::<bool>()?).then_some(Change::Reloaded),
            _ => None,
        })
    }
}
