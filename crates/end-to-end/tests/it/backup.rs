//! What an operator does when a database is lost: `deploy/backup`, `deploy/restore`, and the services on what came back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use simulator::Inbound;
use test_support::eventually_within;
use tokio::process::Command;
use tokio_postgres::Client;
use url::Url;

use crate::roles::{catalogs, lines};
use crate::round_trip::round_trip;
use crate::world::{PATIENCE, STOP_PATIENCE, Setup, Tenant, World, successful};

const LATER: &str = "Apakah kantor buka hari Sabtu?";
const PHONE: &str = "6281299988877";

/// A script of `deploy/`, told of the database the way psql is.
async fn script(name: &str, url: &Url, database: &str, arguments: &[&Path]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy")
        .join(name);
    Command::new(script)
        .args(arguments)
        .env("PGHOST", url.host_str().unwrap())
        .env("PGPORT", url.port().unwrap_or(5432).to_string())
        .env("PGUSER", url.username())
        .env("PGPASSWORD", url.password().unwrap_or_default())
        .env("PGDATABASE", database)
        .output()
        .await
        .unwrap()
}

fn went_well(output: &Output) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
}

fn refused(output: &Output, because: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains(because), "{because} is not in: {errors}");
}

/// A hash over every row, by table and tenant; of tables that are nobody's, one over all of them.
async fn hashes(client: &Client) -> BTreeMap<(String, String), String> {
    let tables = lines(
        client,
        "SELECT format('%I.%I %s', n.nspname, c.relname, EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid \
                AND a.attname = 'tenant_id' AND NOT a.attisdropped)) \
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
          WHERE n.nspname IN ('channel', 'wa_support', 'chatwoot_bridge') AND c.relkind = 'r' ORDER BY 1",
    )
    .await;
    assert!(tables.len() > 50, "{} tables", tables.len());
    let mut hashes = BTreeMap::new();
    for table in tables {
        let (table, of_tenants) = table.split_once(' ').unwrap();
        let tenant = if of_tenants == "t" {
            "t.tenant_id::text"
        } else {
            "''"
        };
        let query = format!(
            "SELECT coalesce({tenant}, ''), encode(sha256(convert_to( \
                    string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\"), 'UTF8')), 'hex') \
               FROM {table} t GROUP BY 1"
        );
        for row in client.query(&query, &[]).await.unwrap() {
            hashes.insert((table.to_owned(), row.get(0)), row.get(1));
        }
    }
    hashes
}

fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap().to_owned();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

async fn stop(world: &mut World) {
    for service in world.services() {
        service.terminate(STOP_PATIENCE).await;
    }
}

async fn ask(world: &World, tenant: &Tenant, from: &str, text: &str) {
    let before = world.messages(tenant, "incoming").len();
    let asked = Inbound {
        session: tenant.session.clone(),
        from: from.to_owned(),
        text: Some(text.to_owned()),
        ..Inbound::default()
    };
    world.simulator.inbound(&asked).unwrap();
    eventually_within(PATIENCE, "the question is in Chatwoot", || async {
        let messages = world.messages(tenant, "incoming");
        (messages.len() > before && messages.last()?.content.as_deref() == Some(text)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_database_comes_back_whole_for_every_tenant() {
    let mut world = World::start(Setup::named("backup")).await;
    let tenants = [
        world.add_tenant("desa-satu").await,
        world.add_tenant("desa-dua").await,
    ];
    for tenant in &tenants {
        // Both write from the same number: equal ids of two tenants.
        round_trip(&world, tenant).await;
    }
    stop(&mut world).await;

    let admin = Url::parse(world.channel.variable("MIGRATE_DATABASE_URL")).unwrap();
    let database = admin.path().trim_start_matches('/').to_owned();
    let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("end-to-end")
        .join("backup-kept");
    if place.exists() {
        std::fs::remove_dir_all(&place).unwrap();
    }
    std::fs::create_dir_all(&place).unwrap();
    let media = PathBuf::from(world.channel.variable("MEDIA_STORAGE_PATH"));
    std::fs::create_dir_all(&media).unwrap();
    std::fs::write(media.join("planted"), b"a file").unwrap();
    let (kept_files, backup) = (files(&media), place.join("whole"));
    let client = catalogs(admin.as_str()).await;
    let kept = hashes(&client).await;
    for tenant in &tenants {
        for table in [
            "channel.messages",
            "channel.chats",
            "wa_support.sessions",
            "chatwoot_bridge.inboxes",
        ] {
            assert!(
                kept.contains_key(&(table.to_owned(), tenant.id.clone())),
                "{table} of {}",
                tenant.id
            );
        }
    }
    went_well(
        &script(
            "backup",
            &admin,
            &database,
            &[Path::new("--media"), &media, &backup],
        )
        .await,
    );
    // Neither a backup nor what is there is written over.
    refused(
        &script("backup", &admin, &database, &[&backup]).await,
        "is there already",
    );
    refused(
        &script("restore", &admin, &database, &[&backup]).await,
        "has a schema",
    );
    // Nobody but who sees all tenants makes a backup, or tenants would be missing from it in silence.
    let service = Url::parse(world.channel.variable("DATABASE_URL")).unwrap();
    refused(
        &script("backup", &service, &database, &[&place.join("blind")]).await,
        "does not see all tenants",
    );

    // Lost: the database and the files.
    drop(client);
    let mut server = admin.clone();
    server.set_path("postgres");
    let server = catalogs(server.as_str()).await;
    server
        .batch_execute(&format!("DROP DATABASE \"{database}\" WITH (FORCE)"))
        .await
        .unwrap();
    server
        .batch_execute(&format!("CREATE DATABASE \"{database}\""))
        .await
        .unwrap();
    std::fs::remove_dir_all(&media).unwrap();

    // One byte that is another one, and nothing is touched.
    let dump = backup.join("database.dump");
    let whole = std::fs::read(&dump).unwrap();
    let mut spoilt = whole.clone();
    let middle = spoilt.len() / 2;
    spoilt[middle] ^= 1;
    std::fs::write(&dump, &spoilt).unwrap();
    refused(
        &script("restore", &admin, &database, &[&backup]).await,
        "is not what backup wrote",
    );
    std::fs::write(&dump, &whole).unwrap();

    went_well(
        &script(
            "restore",
            &admin,
            &database,
            &[Path::new("--media"), &media, &backup],
        )
        .await,
    );
    let client = catalogs(admin.as_str()).await;
    assert_eq!(hashes(&client).await, kept);
    assert_eq!(files(&media), kept_files);
    drop(client);

    // And it is not only the same: the services work with it, as who they were.
    for service in [&world.gateway, &world.channel, &world.bridge] {
        successful(service, &service.run(&["migrate", "--bootstrap"], &[]).await);
    }
    world.tables = crate::tables::Tables::of(admin.as_str()).await;
    for service in world.services() {
        service.start();
    }
    world.all_ready().await;
    for tenant in &tenants {
        ask(&world, tenant, PHONE, LATER).await;
    }
    world.quiet().await;
    let stored = "channel.messages";
    for tenant in &tenants {
        let rows = format!("{stored} WHERE tenant_id = '{}'", tenant.id);
        assert_eq!(world.tables.count(&rows).await, 3, "two from before, one since");
    }
    world.finish().await;
}
