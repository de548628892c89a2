//! Tenants never meet: not by equal ids, and not when the code forgets its WHERE.

use channel_service::flows::queue_message::queue;
use database::DatabaseError;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use messaging::outbox::Signal;
use serde_json::json;
use tenant_isolation::policy::{self, PolicyError};
use tenant_isolation::{GroupTransaction, PlatformScope, PlatformTransaction, ScopeSet, TenantTransaction};
use test_support::eventually;

use crate::harness::{Tenant, TestApp, Wishes, order, receipt, refusal, text};

const RARA: &str = "6281290000011";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_ids_of_two_tenants_never_meet() {
    let app = TestApp::spawn().await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    let event = text(RARA, "3EB0SAME", "pesan yang sama");
    for tenant in [&satu, &dua] {
        app.post(&tenant.json(&event)).await.assert_kept();
        app.post(&tenant.form(&event))
            .await
            .assert_done("Duplicate message");
    }
    app.until_published().await;
    eventually("both events", || async {
        (app.events().len() >= 2).then_some(())
    })
    .await;
    for tenant in [&satu, &dua] {
        let rows = app
            .rows(&format!("SELECT m.account_id, c.account_id AS chat_account, c.unread FROM messages m JOIN chats c ON c.id = m.chat_id WHERE m.tenant_id = '{}'", tenant.id))
            .await;
        assert_eq!(
            json!(rows),
            json!([{"account_id": tenant.account, "chat_account": tenant.account, "unread": 1}])
        );
        let heard: Vec<_> = app
            .events()
            .into_iter()
            .filter(|arrival| arrival.body["tenant_id"] == tenant.id.as_str())
            .collect();
        assert_eq!(heard.len(), 1);
        assert_eq!(heard[0].body["data"]["account_id"], json!(tenant.account));
    }

    // The same provider id on an outgoing message of each: a receipt moves only the one of its own tenant.
    for (tenant, reference) in [(&satu, "balasan satu"), (&dua, "balasan dua")] {
        app.order(tenant, RARA, reference).await;
        app.until_status(reference, "sent").await;
    }
    app.run_sql("UPDATE messages SET provider_message_id = '3EB0OUT' WHERE direction = 'outbound'")
        .await;
    app.post(&satu.json(&receipt(RARA, &["3EB0OUT"], "Read")))
        .await
        .assert_done("Receipt recorded");
    app.until_status("balasan satu", "read").await;
    let statuses = app
        .rows("SELECT tenant_id, status FROM messages WHERE direction = 'outbound' ORDER BY tenant_id")
        .await;
    assert_eq!(
        json!(statuses),
        json!([{"tenant_id": "desa-dua", "status": "sent"}, {"tenant_id": "desa-satu", "status": "read"}])
    );
    assert_eq!(app.statuses("balasan dua"), ["queued", "sent"]);
    app.finish().await;
}

/// Something of each tenant in every table that has tenants.
async fn fill(app: &TestApp, tenants: [&Tenant; 2]) {
    app.simulator
        .add_fault(simulator::FaultSpec::on_path(
            crate::harness::SEND,
            refusal(500, "no session", None),
        ))
        .unwrap();
    for tenant in tenants {
        let mut event = text(RARA, "3EB0FILL", "isi");
        event["event"]["Info"]["SenderAlt"] = json!("204466881133557:7@lid");
        app.post(&tenant.json(&event)).await.assert_kept();
        app.post(&tenant.json(&json!({"type": "NeverHeardOf", "event": {}})))
            .await
            .assert_done("Event kept");
        let (relay, workers) = (Signal::default(), Signal::default());
        queue(
            &app.direct,
            &relay,
            &workers,
            &tenant.scope(),
            &order(tenant.account, RARA, "balas"),
        )
        .await
        .unwrap();
    }
    app.run_sql(
        "INSERT INTO channel_accounts (tenant_id, id) SELECT tenant_id, gen_random_uuid() FROM tenants; \
         INSERT INTO takeovers (tenant_id, id, chat_id, admin_id) SELECT tenant_id, gen_random_uuid(), id, 'a' FROM chats; \
         INSERT INTO audit_log (tenant_id, id, actor, action) SELECT tenant_id, gen_random_uuid(), 'a', 'a' FROM tenants",
    )
    .await;
    eventually("both were tried", || async {
        (app.values("SELECT DISTINCT tenant_id AS value FROM send_attempts")
            .await
            .len()
            == 2)
            .then_some(())
    })
    .await;
}

/// A row of each tenant in every table that is still without one, whatever its columns: made without triggers and foreign
/// keys, because only whose it is matters here. Their times are to come, so that no worker finds one due and takes it away.
const FILL_THE_REST: &str = "
    DO $$
    DECLARE wanting record; present boolean;
    BEGIN
        SET LOCAL session_replication_role = replica;
        FOR wanting IN
            SELECT c.oid::regclass AS tab, tenant, string_agg(quote_ident(a.attname), ', ') AS columns,
                   string_agg(CASE WHEN a.attname = 'tenant_id' THEN quote_literal(tenant)
                                   WHEN a.atttypid = 'uuid'::regtype THEN 'gen_random_uuid()'
                                   WHEN a.atttypid = 'timestamptz'::regtype THEN $t$now() + interval '1 hour'$t$
                                   WHEN a.atttypid = 'boolean'::regtype THEN 'true'
                                   WHEN a.atttypid IN ('text'::regtype, 'bytea'::regtype) THEN quote_literal(tenant)
                                   WHEN a.atttypid IN ('text[]'::regtype, 'jsonb'::regtype) THEN quote_literal('{}')
                                   ELSE quote_literal('1') END, ', ') AS vals
            FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid, unnest(ARRAY['desa-satu', 'desa-dua']) tenant
            WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0
              AND NOT a.attisdropped AND a.attnotnull AND NOT (a.atthasdef OR a.attidentity <> '')
              AND EXISTS (SELECT 1 FROM pg_attribute t WHERE t.attrelid = c.oid AND t.attname = 'tenant_id')
            GROUP BY c.oid, tenant
        LOOP
            EXECUTE format('SELECT EXISTS (SELECT 1 FROM %s WHERE tenant_id = %L)', wanting.tab, wanting.tenant)
                INTO present;
            CONTINUE WHEN present;
            EXECUTE format('INSERT INTO %s (%s) VALUES (%s)', wanting.tab, wanting.columns, wanting.vals);
        END LOOP;
    END $$";

async fn tables_with_tenants(app: &TestApp) -> Vec<String> {
    let schema = &app.database.names.schema;
    app.values(&format!(
        "SELECT c.relname AS value FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' \
         WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ('r', 'p') ORDER BY 1"
    ))
    .await
    .into_iter()
    .map(|name| name.as_str().unwrap().to_owned())
    .collect()
}

#[derive(diesel::QueryableByName)]
struct Counted {
    #[diesel(sql_type = Text)]
    tenant_id: String,
    #[diesel(sql_type = BigInt)]
    rows: i64,
}

const ALL_OF: &str = "SELECT tenant_id, count(*) AS rows FROM";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_every_where_left_out_nothing_leaks() {
    let app = TestApp::with(Wishes {
        rabbitmq_away: true,
        retry_first_ms: "60000",
        retry_cap_ms: "60000",
        ..Wishes::default()
    })
    .await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    fill(&app, [&satu, &dua]).await;
    app.run_sql(FILL_THE_REST).await;
    let tables = tables_with_tenants(&app).await;
    assert!(tables.len() >= 15, "{tables:?}");
    for table in &tables {
        let present = app
            .values(&format!(
                "SELECT DISTINCT tenant_id AS value FROM {table} ORDER BY 1"
            ))
            .await;
        assert_eq!(
            present,
            [json!("desa-dua"), json!("desa-satu")],
            "nothing is proven by an empty {table}"
        );

        let mut tx = TenantTransaction::begin(&app.direct, &satu.scope(), "look around")
            .await
            .unwrap();
        let seen: Vec<Counted> = diesel::sql_query(format!("{ALL_OF} {table} GROUP BY 1"))
            .load(tx.connection())
            .await
            .unwrap();
        assert_eq!(seen.len(), 1, "{table}");
        assert_eq!(seen[0].tenant_id, "desa-satu", "{table}");
        // It refuses every change, to anybody.
        if table == "audit_log" {
            continue;
        }
        let touched = diesel::sql_query(format!("UPDATE {table} SET tenant_id = tenant_id"))
            .execute(tx.connection())
            .await;
        match touched {
            Ok(touched) => {
                assert_eq!(i64::try_from(touched).unwrap(), seen[0].rows, "{table}");
                let given_away = diesel::sql_query(format!("UPDATE {table} SET tenant_id = 'desa-dua'"))
                    .execute(tx.connection())
                    .await
                    .unwrap_err();
                assert!(
                    given_away.to_string().contains("row-level security"),
                    "{table}: {given_away}"
                );
            }
            // Nobody may change those at all.
            Err(refused) => assert!(
                refused.to_string().contains("are only ever added"),
                "{table}: {refused}"
            ),
        }
        drop(tx);

        // Rights alone, without a tenant, show nothing.
        let mut nobody = app.direct.connection().await.unwrap();
        let seen: Vec<Counted> = diesel::sql_query(format!("{ALL_OF} {table} GROUP BY 1"))
            .load(&mut *nobody)
            .await
            .unwrap();
        assert!(seen.is_empty(), "{table}");
    }

    let mut tx = TenantTransaction::begin(&app.direct, &satu.scope(), "forge a row")
        .await
        .unwrap();
    let forged = tx
        .connection()
        .batch_execute("INSERT INTO inbound_ledger (tenant_id, account_id, provider_message_id, message_id) VALUES ('desa-dua', gen_random_uuid(), 'x', gen_random_uuid())")
        .await
        .unwrap_err();
    assert!(forged.to_string().contains("row-level security"), "{forged}");
    drop(tx);

    // A group sees its members, the platform sees all, and the scope ends with the transaction.
    let scopes: ScopeSet = [&satu.scope(), &dua.scope()].into_iter().collect();
    let mut tx = GroupTransaction::begin(&app.direct, scopes, "both")
        .await
        .unwrap();
    let seen: Vec<Counted> = diesel::sql_query(format!("{ALL_OF} messages GROUP BY 1"))
        .load(tx.connection())
        .await
        .unwrap();
    assert_eq!(seen.len(), 2);
    tx.commit().await.unwrap();
    let mut tx = PlatformTransaction::begin(&app.direct, PlatformScope::for_purpose("look around"))
        .await
        .unwrap();
    let seen: Vec<Counted> = diesel::sql_query(format!("{ALL_OF} messages GROUP BY 1"))
        .load(tx.connection())
        .await
        .unwrap();
    assert_eq!(seen.len(), 2);
    drop(tx);
    let mut nobody = app.direct.connection().await.unwrap();
    let seen: Vec<Counted> = diesel::sql_query(format!("{ALL_OF} messages GROUP BY 1"))
        .load(&mut *nobody)
        .await
        .unwrap();
    assert!(seen.is_empty());
    drop(nobody);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_with_a_hole_is_not_served() {
    let app = TestApp::spawn().await;
    policy::check(&app.direct).await.unwrap();
    for (hole, mend) in [
        (
            "ALTER TABLE messages NO FORCE ROW LEVEL SECURITY",
            "ALTER TABLE messages FORCE ROW LEVEL SECURITY",
        ),
        (
            "ALTER TABLE messages DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE messages ENABLE ROW LEVEL SECURITY",
        ),
        ("CREATE TABLE forgotten (tenant_id text)", "DROP TABLE forgotten"),
        (
            "ALTER POLICY tenants_of_the_transaction ON chats TO channel_platform",
            "ALTER POLICY tenants_of_the_transaction ON chats TO channel_tenant",
        ),
    ] {
        app.run_sql(hole).await;
        match policy::check(&app.direct).await {
            Err(PolicyError::Holes(holes)) => assert!(!holes.is_empty()),
            other => panic!("{hole}: {other:?}"),
        }
        app.run_sql(mend).await;
        policy::check(&app.direct).await.unwrap();
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_others_cannot_be_registered() {
    use channel_service::flows::register_account::{NewAccount, RegisterError, register};
    use domain::ids::TenantId;
    use secrecy::SecretString;

    let app = TestApp::spawn().await;
    let satu = app.tenant("desa-satu").await;
    let thief = |instance: &str, session: &str| NewAccount {
        tenant: TenantId::parse("pencuri").unwrap(),
        instance_name: instance.to_owned(),
        session_id: Some(session.to_owned()),
        token: SecretString::from("token-of-a-thief"),
        webhook_key: None,
        unsigned: true,
    };
    let by_name = register(
        &app.direct,
        &app.routes,
        &app.keys,
        &app.endpoints,
        thief(&satu.session.name, "other"),
    )
    .await;
    assert!(
        matches!(by_name, Err(RegisterError::InstanceTaken)),
        "{by_name:?}"
    );
    let by_session = register(
        &app.direct,
        &app.routes,
        &app.keys,
        &app.endpoints,
        thief("other", &satu.session.id),
    )
    .await;
    assert!(
        matches!(by_session, Err(RegisterError::SessionTaken)),
        "{by_session:?}"
    );
    let by_tenant = register(
        &app.direct,
        &app.routes,
        &app.keys,
        &app.endpoints,
        thief("desa-satu", "other"),
    )
    .await;
    assert!(
        matches!(by_tenant, Err(RegisterError::InstanceTaken)),
        "{by_tenant:?}"
    );
    assert_eq!(
        app.values("SELECT DISTINCT tenant_id AS value FROM accounts")
            .await,
        [json!("desa-satu")]
    );
    assert_eq!(app.count("tenant_directory").await, 3);
    app.post(&satu.json(&text(RARA, "3EB0MINE", "tetap milikku")))
        .await
        .assert_kept();
    let foreign = channel_service::store::account::find(
        &mut TenantTransaction::begin(
            &app.direct,
            &tenant_isolation::TenantScope::named_by_operator(TenantId::parse("pencuri").unwrap()),
            "steal",
        )
        .await
        .unwrap(),
        satu.account,
    )
    .await;
    assert!(
        matches!(foreign, Err(DatabaseError::NotFound)),
        "{:?}",
        foreign.map(|row| row.id)
    );
    app.finish().await;
}
