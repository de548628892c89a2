//! RabbitMQ as an operator wants to know it: reachable, with everything declared as it is to be, and read by somebody.

use std::time::Duration;

use domain::check::Check;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};
use secrecy::{ExposeSecret, SecretString};

use crate::handshake;
use crate::topology::{DeclaredQueue, Kept, Topology};

const PATIENCE: Duration = Duration::from_secs(6);
const SUBJECT: &str = "rabbitmq";

/// Codes of AMQP 0.9.1.
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const NOT_AS_DECLARED: u16 = 406;
const NOT_ALLOWED: u16 = 530;

/// Looks at the broker. Declares nothing that is not there.
pub async fn examine(url: &SecretString, topology: &Topology, govconnect: bool) -> Vec<Check> {
    let Ok(uri) = url.expose_secret().parse() else {
        return vec![Check::wrong(
            SUBJECT,
            "RABBITMQ_URL is no URL of RabbitMQ",
            "write it as amqp://user:password@host:5672/vhost",
        )];
    };
    let properties = ConnectionProperties::default().with_connection_name("kanal doctor".into());
    let connection = match tokio::time::timeout(PATIENCE, handshake::connect(uri, properties)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return vec![refused(&error)],
        Err(_) => return vec![away()],
    };
    let mut checks = vec![Check::ok(SUBJECT, "answers, and lets us in")];
    for (name, kind) in topology.exchanges(govconnect) {
        let about = format!("exchange {name}");
        let passive = ExchangeDeclareOptions {
            passive: true,
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let Some(channel) = channel(&connection, &mut checks).await else {
            return checks;
        };
        let declared = channel.exchange_declare(name.as_str().into(), kind, passive, FieldTable::default());
        checks.push(match declared.await {
            Ok(()) => Check::ok(about, "is there"),
            Err(error) => not_there(about, &error),
        });
    }
    for queue in topology.queues(govconnect) {
        let Some(channel) = channel(&connection, &mut checks).await else {
            return checks;
        };
        checks.extend(look_at(&channel, queue).await);
    }
    checks
}

/// A refusal closes the channel it came on, so each question has its own.
async fn channel(connection: &Connection, checks: &mut Vec<Check>) -> Option<Channel> {
    match connection.create_channel().await {
        Ok(channel) => Some(channel),
        Err(error) => {
            checks.push(refused(&error));
            None
        }
    }
}

async fn look_at(channel: &Channel, queue: DeclaredQueue) -> Vec<Check> {
    let about = format!("queue {}", queue.name);
    let passive = QueueDeclareOptions::durable().passive();
    let found = channel.queue_declare(queue.name.as_str().into(), passive, FieldTable::default());
    let (waiting, readers) = match found.await {
        Ok(found) => (found.message_count(), found.consumer_count()),
        Err(error) => return vec![not_there(about, &error)],
    };
    // It is there, so this compares, and makes nothing.
    let same = channel.queue_declare(
        queue.name.as_str().into(),
        QueueDeclareOptions::durable(),
        queue.arguments,
    );
    if let Err(error) = same.await {
        return vec![declared_otherwise(about, &error)];
    }
    let check = match (queue.kept, waiting, readers) {
        (Kept::Read, 0, 0) => Check::ok(about, "is as declared, empty, and read by nobody at the moment"),
        (Kept::Read, waiting, 0) => Check::warn(
            about,
            format!("{waiting} messages wait and nobody reads them"),
            "start the service that reads it, and look into its log when it runs",
        ),
        (Kept::Read, waiting, readers) => Check::ok(
            about,
            format!("is as declared, {waiting} wait, {readers} read it"),
        ),
        (_, 0, _) => Check::ok(about, "is as declared, and empty"),
        (Kept::ForPeople, waiting, _) => Check::warn(
            about,
            format!("{waiting} were put aside and wait for people"),
            "look at them with the chores of their service and replay them, then purge the queue",
        ),
        (Kept::Dead, waiting, _) => Check::warn(
            about,
            format!("{waiting} could not be understood"),
            "look at the reason in their headers; a version that knows them may be missing",
        ),
    };
    vec![check]
}

fn code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(refusal) => Some(refusal.get_id()),
        _ => None,
    }
}

fn away() -> Check {
    Check::wrong(
        SUBJECT,
        "does not answer",
        "is it running, and do host, port and firewall fit RABBITMQ_URL? Meanwhile the outbox grows",
    )
}

fn refused(error: &lapin::Error) -> Check {
    match code(error) {
        Some(ACCESS_REFUSED) => Check::wrong(
            SUBJECT,
            "does not let us in",
            "compare user and password of RABBITMQ_URL, and the user's rights on the vhost",
        ),
        Some(NOT_ALLOWED) => Check::wrong(
            SUBJECT,
            "has no such vhost, or none for this user",
            "rabbitmqctl add_vhost, then set_permissions for the user of RABBITMQ_URL",
        ),
        _ => away(),
    }
}

fn not_there(about: String, error: &lapin::Error) -> Check {
    match code(error) {
        Some(NOT_FOUND) => Check::wrong(
            about,
            "is missing",
            "start a service: each one declares all of them. Was it deleted by hand, or is BROKER_PREFIX another one?",
        ),
        Some(ACCESS_REFUSED) => Check::wrong(
            about,
            "may not be looked at",
            "rabbitmqctl set_permissions: configure, write and read on our exchanges and queues",
        ),
        Some(NOT_AS_DECLARED) => declared_otherwise(about, error),
        _ => Check::wrong(about, "cannot be looked at", "look into the broker's log"),
    }
}

/// The broker names the argument that differs. Its values are not told: a policy's or a stranger's are not ours to show.
fn declared_otherwise(about: String, error: &lapin::Error) -> Check {
    let argument = match error.kind() {
        ErrorKind::ProtocolError(refusal) if refusal.get_id() == NOT_AS_DECLARED => {
            let said = refusal.get_message().as_str().to_owned();
            let named = said.split('\'').nth(1).unwrap_or_default().to_owned();
            let is_a_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            Some(named).filter(|named| !named.is_empty() && named.chars().all(is_a_name))
        }
        ErrorKind::ProtocolError(refusal) if refusal.get_id() == ACCESS_REFUSED => {
            return not_there(about, error);
        }
        _ => None,
    };
    let what = argument.unwrap_or_else(|| "something".to_owned());
    Check::wrong(
        about,
        format!("was declared otherwise: {what} differs"),
        "nobody can declare it now. Let it run empty, delete it, and start a service, which declares it as it is to be",
    )
}
