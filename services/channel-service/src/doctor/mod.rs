//! `doctor`: everything the service depends on, looked at side by side, with what helps where something is wrong.
//!
//! Reads settings, asks, and changes nothing but a key of its own in Redis and a file of its own on the disk, both of
//! which are gone afterwards. Nothing a peer says and no value of a setting but the names of hosts gets into a line.

mod endpoints;
mod surroundings;

use std::time::Duration;

use cache::RedisLink;
use database::{Database, PoolSettings, SchemaNames};
use domain::check::Check;
use messaging::topology::Topology;
use runtime::config::InvalidSettings;
use tenant_isolation::{policy, sealed_keys};
use web::doctor::{Doctor, Report};

use crate::config::{Known, StorageSettings};
use crate::media::MediaStorage;

/// Few connections, and no long wait for one.
const POOL: PoolSettings = PoolSettings {
    size: 4,
    wait: Duration::from_secs(5),
};

/// Looks at everything. `settings` are what reading them as `serve` does came to.
pub async fn examine(settings: Result<(), &InvalidSettings>, known: &Known, names: SchemaNames) -> Report {
    let mut doctor = Doctor::new("channel-service", settings);
    doctor.running(known.process.clone());
    doctor.hosts(surroundings::hosts(known));
    let admin = known.admin.clone();
    let for_server = names.clone();
    doctor.question_of("postgres", known.database.clone(), move |url| async move {
        database::examine(&url, admin.as_ref(), &for_server, &crate::MIGRATIONS).await
    });
    let db = known
        .database
        .as_ref()
        .and_then(|url| Database::new(url, names, POOL).ok());
    doctor.question_of("tenants apart", db.clone(), |db| async move {
        policy::examine(&db).await
    });
    let keys = db.clone().zip(known.keys.clone());
    doctor.question_of("encryption keys", keys, move |(db, keys)| async move {
        sealed_keys::examine(&db, &keys.ids()).await
    });
    let prefix = known.redis_prefix.clone();
    doctor.question_of("redis", known.redis.clone(), move |url| async move {
        cache::examine(&url, &prefix).await
    });
    let topology = Topology::with_prefix(&known.broker_prefix);
    let govconnect = known.govconnect;
    doctor.question_of("rabbitmq", known.rabbitmq.clone(), move |url| async move {
        messaging::examine(&url, &topology, govconnect).await
    });
    disk(&mut doctor, known);
    for check in surroundings::addresses(known) {
        doctor.say(check);
    }
    let redis = known
        .redis
        .as_ref()
        .and_then(|url| RedisLink::new(url, &known.redis_prefix).ok());
    endpoints::add(&mut doctor, known, db.zip(redis));
    doctor.ask().await
}

fn disk(doctor: &mut Doctor, known: &Known) {
    let storage = known.media.as_ref().map(|media| media.storage.clone());
    match storage {
        Some(StorageSettings::Directory(path)) => doctor.directory("MEDIA_STORAGE_PATH", path, true),
        bucket => doctor.question_of("bucket", bucket, move |settings| async move {
            let answers = match MediaStorage::open(&settings) {
                Ok(storage) => storage.answers().await,
                Err(_) => false,
            };
            vec![if answers {
                Check::ok("bucket", "answers, and lets us look into it")
            } else {
                Check::wrong(
                    "bucket",
                    "does not answer, or does not let us in",
                    "compare MEDIA_S3_BUCKET, MEDIA_S3_REGION, MEDIA_S3_ENDPOINT and the key's policy (get, put, delete, list)",
                )
            }]
        }),
    }
    // Large webhooks and files on their way.
    doctor.directory("TMPDIR", std::env::temp_dir(), false);
}
