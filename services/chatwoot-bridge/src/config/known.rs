//! As much of the settings as can be read, for a doctor who also looks at an installation whose settings have mistakes.

use database::{DatabaseUrl, SchemaNames};
use messaging::topology::Topology;
use runtime::config::SettingsReader;
use runtime::encryption::KeyRing;
use runtime::process::ProcessSettings;
use secrecy::SecretString;

use super::{
    ChannelSettings, DEFAULT_PORT, InboundSettings, OutboundSettings, RouterSettings, SCHEMA, StorageSettings,
};

/// What is known of the surroundings; `None` where a setting is missing or wrong.
#[derive(Debug, Clone)]
pub struct Known {
    /// Where the service listens.
    pub process: Option<ProcessSettings>,
    /// The service's login.
    pub database_url: Option<DatabaseUrl>,
    /// Postgres, as `migrate` uses it.
    pub admin: Option<DatabaseUrl>,
    /// Schema and roles.
    pub names: SchemaNames,
    /// RabbitMQ.
    pub rabbitmq: Option<SecretString>,
    /// Names on the broker.
    pub topology: Topology,
    /// What seals tokens and secrets.
    pub keys: Option<KeyRing>,
    /// Redis, and how the outside reaches us.
    pub router: Option<RouterSettings>,
    /// channel-service.
    pub channel: Option<ChannelSettings>,
    /// What comes from WhatsApp.
    pub inbound: Option<InboundSettings>,
    /// Agents' files.
    pub files: Option<OutboundSettings>,
    /// All of what the flows need, when none of it is wrong.
    pub storage: Option<StorageSettings>,
}

impl Known {
    /// Reads what can be read. A setting is asked for more than once here, so mistakes are told by reading [`Settings`]
    /// (super::Settings).
    #[must_use]
    pub fn read(mut reader: SettingsReader) -> Self {
        let reader = &mut reader;
        let prefix: Option<String> = reader.optional("BROKER_PREFIX", "");
        Self {
            process: ProcessSettings::read(reader, DEFAULT_PORT),
            database_url: super::take_database_url(reader),
            admin: super::take_migrating(reader).0,
            names: SchemaNames::of_service(SCHEMA),
            rabbitmq: super::take_rabbitmq_url(reader),
            topology: Topology::with_prefix(prefix.as_deref().unwrap_or_default()),
            keys: reader.required("ENCRYPTION_KEYS", ""),
            router: RouterSettings::take(reader),
            channel: ChannelSettings::take(reader),
            inbound: InboundSettings::take(reader),
            files: OutboundSettings::take(reader),
            storage: StorageSettings::take(reader),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in the settings that are delivered: a server in parts is as well known as one by its URL.
    #[test]
    fn servers_given_in_parts_are_known() {
        let known = Known::read(SettingsReader::from_map([
            ("DATABASE_HOST", "db"),
            ("DATABASE_NAME", "kanal"),
            ("DATABASE_USER", "service"),
            ("MIGRATE_DATABASE_USER", "kanal_admin"),
            ("REDIS_HOST", "cache"),
            ("RABBITMQ_HOST", "mq"),
        ]));
        assert!(known.database_url.is_some());
        assert!(known.admin.is_some());
        assert!(known.router.is_some_and(|router| router.redis.is_some()));
        assert!(known.rabbitmq.is_some());
    }
}
