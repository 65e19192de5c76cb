//! The answers.

use super::{BUS, Mood, OWNER, Request, Shared, path};
use std::future::poll_fn;
use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::pin::Pin;
use std::sync::Arc;
use zbus::export::futures_core::Stream;
use zbus::message::{Header, Type};
use zbus::zvariant::{ObjectPath, OwnedObjectPath};
use zbus::{Connection, Message, MessageStream};

pub const NAME: &str = "org.freedesktop.systemd1";
pub const PATH: &str = "/org/freedesktop/systemd1";
pub const MANAGER: &str = "org.freedesktop.systemd1.Manager";

const ID: &str = "0123456789abcdef0123456789abcdef";
/// The head of an answer of some 4 GiB.
const HUGE: [u8; 16] = [b'l', 2, 0, 1, 0xf0, 0xff, 0xff, 0xff, 1, 0, 0, 0, 8, 0, 0, 0];

type Row<'a> =
    (String, &'a str, &'a str, &'a str, &'a str, &'a str, OwnedObjectPath, u32, &'a str, OwnedObjectPath);

pub async fn accept(shared: Arc<Shared>, listener: UnixListener) {
    listener.set_nonblocking(true).expect("a socket");
    let listener = tokio::net::UnixListener::from_std(listener).expect("a socket");
    while let Ok((stream, _)) = listener.accept().await {
        let stream = stream.into_std().expect("a socket");
        drop(tokio::spawn(serve(Arc::clone(&shared), stream)));
    }
}

/// Few bytes find room in a socket that somebody reads.
pub fn write(mut stream: &UnixStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
}

async fn serve(shared: Arc<Shared>, stream: UnixStream) {
    let (auth, raw) = (tokio::net::UnixStream::from_std(stream.try_clone().expect("a descriptor")), stream);
    let stream = auth.expect("a socket");
    if line(&stream).await.is_none() {
        return;
    }
    match shared.mood(Request::Auth, &[]) {
        Mood::Good => write(&raw, format!("OK {ID}\r\n").as_bytes()),
        Mood::Hang => return std::future::pending().await,
        Mood::Garbage => return write(&raw, &[0xff; 4096]),
        Mood::Error(_) => return write(&raw, b"REJECTED EXTERNAL\r\n"),
        _ => return,
    }
    if line(&stream).await.is_none() {
        return;
    }
    let connection = zbus::connection::Builder::authenticated_socket(stream, ID).expect("a good id");
    // More come while a client asks for many.
    let connection = connection.max_queued(4096).build().await.expect("a connection");
    let mut calls = MessageStream::from(&connection);
    shared.lock().open.push((connection.clone(), raw.try_clone().expect("a descriptor")));
    while let Some(Ok(call)) = poll_fn(|context| Pin::new(&mut calls).poll_next(context)).await {
        if call.message_type() == Type::MethodCall {
            answer(&shared, &connection, &call, Some(&raw)).await;
        }
    }
}

/// One byte after the other: what follows is another's.
async fn line(stream: &tokio::net::UnixStream) -> Option<()> {
    let mut last = [0; 2];
    while last != *b"\r\n" {
        stream.readable().await.ok()?;
        let mut byte = [0];
        match stream.try_read(&mut byte) {
            Ok(0) => return None,
            Ok(_) => last = [last[1], byte[0]],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
    Some(())
}

/// Answers a call as the mood is.
pub async fn answer(shared: &Shared, connection: &Connection, call: &Message, raw: Option<&UnixStream>) {
    let header = call.header();
    let member = header.member().map(|member| member.to_string()).unwrap_or_default();
    let body = call.body();
    let of_object = header.path().map(ToString::to_string).unwrap_or_default();
    let (mut names, request) = (Vec::new(), request(&member, &of_object));
    match request {
        Request::Unit => names.extend(body.deserialize::<String>()),
        Request::Property => {
            names.extend(body.deserialize::<(String, String)>().map(|(_, name)| name));
            names.extend(shared.lock().objects.get(&of_object).cloned());
        }
        _ => {}
    }
    match (shared.mood(request, &names), raw) {
        (Mood::Good, _) => good(shared, connection, &header, request, &names).await,
        (Mood::Hang, _) => {}
        (Mood::Error(name), _) => refuse(connection, &header, name).await,
        (Mood::Wrong, _) => drop(connection.reply(&header, &(7_u8, path("wrong"))).await),
        (Mood::Garbage, Some(raw)) => write(raw, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        (Mood::Huge, Some(raw)) => write(raw, &HUGE),
        (_, raw) => {
            let _ = raw.map(|raw| raw.shutdown(std::net::Shutdown::Both));
        }
    }
}

fn request(member: &str, object: &str) -> Request {
    match member {
        "Hello" => Request::Hello,
        "AddMatch" => Request::AddMatch,
        "GetNameOwner" => Request::Owner,
        "Subscribe" => Request::Subscribe,
        "ListUnits" | "ListUnitsByPatterns" => Request::List,
        "GetUnit" => Request::Unit,
        _ if object == PATH => Request::Version,
        _ => Request::Property,
    }
}

async fn good(
    shared: &Shared,
    connection: &Connection,
    header: &Header<'_>,
    request: Request,
    names: &[String],
) {
    let error = |name: &str| format!("org.freedesktop.DBus.Error.{name}");
    let (peer, away, old) = {
        let state = shared.lock();
        (state.is_peer, state.is_away, state.is_old)
    };
    let member = header.member().map(|member| member.to_string()).unwrap_or_default();
    let of_bus = header.destination().is_some_and(|name| name.as_str() == BUS);
    // Who asked may have gone.
    let _ = match request {
        _ if peer && of_bus => return refuse(connection, header, &error("UnknownObject")).await,
        _ if away && !of_bus => return refuse(connection, header, &error("ServiceUnknown")).await,
        Request::Owner if away => return refuse(connection, header, &error("NameHasNoOwner")).await,
        Request::Owner => connection.reply(header, &OWNER).await,
        Request::Hello => connection.reply(header, &":1.7").await,
        Request::List if old && member != "ListUnits" => {
            return refuse(connection, header, &error("UnknownMethod")).await;
        }
        Request::List => {
            let rows = rows(shared);
            connection.reply(header, &rows).await
        }
        Request::Unit => {
            let name = names.first().cloned().unwrap_or_default();
            shared.lock().looked_at.push(name.clone());
            if !shared.lock().units.contains_key(&name) {
                return refuse(connection, header, "org.freedesktop.systemd1.NoSuchUnit").await;
            }
            connection.reply(header, &path(&name)).await
        }
        Request::Property => {
            let found = match names {
                [property, unit] => {
                    let state = shared.lock();
                    let found = state.units.get(unit).and_then(|all| {
                        all.iter().find(|(name, _)| name == property).map(|(_, value)| value.try_clone())
                    });
                    found.map(|found| found.expect("no descriptor"))
                }
                _ => None,
            };
            match found {
                Some(value) => connection.reply(header, &(value,)).await,
                None => return refuse(connection, header, &error("UnknownProperty")).await,
            }
        }
        Request::Version => connection.reply(header, &(super::value("257"),)).await,
        Request::Auth | Request::AddMatch | Request::Subscribe => connection.reply(header, &()).await,
    };
}

async fn refuse(connection: &Connection, header: &Header<'_>, name: &str) {
    let name = zbus::names::ErrorName::try_from(name).expect("a good name");
    let _ = connection.reply_error(header, name, &"SECRET words").await;
}

/// A unit without properties is listed as dead; one that ran once as exited.
fn rows(shared: &Shared) -> Vec<Row<'static>> {
    let none = || OwnedObjectPath::from(ObjectPath::from_static_str_unchecked("/"));
    let state = shared.lock();
    let row = |(name, properties): (&String, &Vec<(&'static str, _)>)| {
        let (of_unit, sub) = match properties.len() {
            0 => ("inactive", "dead"),
            1 => ("active", "exited"),
            _ => ("active", "running"),
        };
        (name.clone(), "A unit", "loaded", of_unit, sub, "", path(name), 0, "", none())
    };
    state.units.iter().map(row).collect()
}

impl Shared {
    /// How this is answered; those of single names go before.
    fn mood(&self, request: Request, names: &[String]) -> Mood {
        let mut state = self.lock();
        *state.asked.entry(request).or_default() += 1;
        self.changed.notify_all();
        let of_name = names.iter().find_map(|name| state.moods_of.get(name)).cloned();
        of_name.or_else(|| state.moods.get(&request).cloned()).unwrap_or(Mood::Good)
    }
}
