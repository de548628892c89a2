//! What a command changes is known to running processes at once, and a command works without anybody to tell.

use cache::{CacheKey, ReadThrough, RedisLink};
use secrecy::SecretString;
use serde_json::{Value, json};
use test_support::{ENCRYPTION_KEYS, TestProcessDatabase, redis_url, unique_prefix};

use crate::import::{TABLES, rows};
use crate::process::{Process, stdout};
use crate::support::{ADMIN_TOKEN, FakeWaServer, scope};

struct World {
    // Dropped last.
    process: Process,
    wa: FakeWaServer,
    prefix: String,
    database: TestProcessDatabase,
}

impl World {
    async fn new(redis: Option<&str>) -> Self {
        test_support::install_crypto_provider();
        let (database, wa) = (TestProcessDatabase::create().await, FakeWaServer::start());
        let prefix = unique_prefix("wa-support");
        let mut variables = vec![
            ("DATABASE_URL", database.service_url("wa_support")),
            ("MIGRATE_DATABASE_URL", database.admin_url()),
            ("WA_SERVER_URL", wa.url()),
            ("WA_ADMIN_TOKEN", ADMIN_TOKEN.to_owned()),
            ("ENCRYPTION_KEYS", ENCRYPTION_KEYS.to_owned()),
            ("REDIS_PREFIX", prefix.clone()),
        ];
        variables.extend(redis.map(|url| ("REDIS_URL", url.to_owned())));
        let process = Process { variables };
        stdout(&process.run(&["migrate", "--bootstrap"]).await);
        Self {
            process,
            wa,
            prefix,
            database,
        }
    }

    /// What a process that asks now believes of a customer, whose rows say `truth`.
    async fn believed(&self, customer: &str, truth: &str) -> String {
        let redis = RedisLink::new(&SecretString::from(redis_url()), &self.prefix).unwrap();
        let cache: ReadThrough<String> = ReadThrough::new(redis, 10);
        let key = CacheKey::of_tenant(&scope(customer), "standing", "");
        let truth = truth.to_owned();
        let load = || async move { Ok::<_, std::io::Error>(Some(truth)) };
        cache.get(&key, load).await.unwrap().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_of_a_customer_is_taken_back_when_it_may_have_more_sessions() {
    let world = World::new(Some(&redis_url())).await;
    assert_eq!(world.believed("desa-a", "before").await, "before");
    let create = [
        "session",
        "create",
        "--customer",
        "desa-a",
        "--name",
        "desa-a",
        "--max-sessions",
        "5",
    ];
    stdout(&world.process.run(&create).await);
    assert_eq!(world.believed("desa-a", "after").await, "after");
    world.wa.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_of_imported_customers_is_taken_back() {
    let world = World::new(Some(&redis_url())).await;
    let admin = world.database.admin_url();
    let mut connection =
        <diesel_async::AsyncPgConnection as diesel_async::AsyncConnection>::establish(&admin)
            .await
            .unwrap();
    for statements in [TABLES, &rows("no hash")] {
        diesel_async::SimpleAsyncConnection::batch_execute(&mut connection, statements)
            .await
            .unwrap();
    }
    assert_eq!(world.believed("desa-a", "before").await, "before");
    assert_eq!(
        world.believed("desa-a", "after").await,
        "before",
        "it is in Redis"
    );
    stdout(
        &world
            .process
            .run(&["import", "--from", &admin, "--dry-run"])
            .await,
    );
    assert_eq!(
        world.believed("desa-a", "after").await,
        "before",
        "a dry run changes nothing"
    );
    stdout(&world.process.run(&["import", "--from", &admin]).await);
    assert_eq!(world.believed("desa-a", "after").await, "after");
    world.wa.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_works_without_anybody_to_tell_and_says_so() {
    for (redis, warning) in [
        (None, "REDIS_URL is not set"),
        (Some("redis://127.0.0.1:1"), "Redis does not answer"),
    ] {
        let world = World::new(redis).await;
        let create = ["session", "create", "--customer", "desa-a", "--name", "desa-a"];
        let output = world.process.run(&create).await;
        let made: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(made["created"], json!(true));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(warning), "{said}");
        world.wa.stop().await;
    }
}
