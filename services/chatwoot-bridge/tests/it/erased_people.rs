//! A person, and a tenant, is given out and erased as a whole, and nobody else with them: canaries are planted everywhere, and
//! then everything is searched.

use chatwoot_bridge::flows::accept_reply::Acceptance;
use chatwoot_bridge::flows::erase_person::erase;
use chatwoot_bridge::flows::person::read_person;
use chatwoot_bridge::store::audit_log::Actor;
use domain::delivery::DeliveryStatus;
use domain::ids::ChatId;
use messaging::lanes::claim_and_work;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use simulator::FaultKind;
use test_support::canary::Of;
use test_support::eventually;

use crate::operator::Said;
use crate::target::post_with;
use crate::village::{BUDI, DUA, ERIN, LID, SATU, Village, reply};
use crate::world::{LANES, World, fault, message, received, start_chatwoot, status};

const NOWHERE: [&str; 0] = [];

const ERASE: &str = "/admin/tenants/desa-satu/people/erase";
const EXPORT: &str = "/admin/tenants/desa-satu/people/export";

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_person_is_nowhere_and_everybody_else_is_still_everywhere() {
    let village = Village::start().await;
    let words = village.found("canaryErin", Of::All).await;
    let numbers = village.found(ERIN, SATU).await;
    for (places, planted) in [
        (&words, "contacts.name_by_us"),
        (&words, "contact_pictures.sha256"),
        (&words, "agent_files.data_url"),
        (&words, "agent_parts.provider_message_id"),
        (&words, "message_links.provider_message_id"),
        (&words, "lane_tasks.payload"),
        (&words, "outbox.envelope"),
        (&words, "forward_events.body"),
        (&words, "quarantine.body"),
        (&numbers, "contacts.address"),
        (&numbers, "contacts.canonical"),
        (&numbers, "contacts.merged_into"),
        (&numbers, "agent_messages.recipient"),
        (&numbers, "inboxes.ignored"),
        (&numbers, "leases.name"),
    ] {
        assert!(
            places.iter().any(|place| place == planted),
            "{planted}: {places:?}"
        );
    }
    let (budi, other) = (village.budis().await, village.found("canaryOther", Of::All).await);
    let elsewhere = village.found(ERIN, DUA).await;
    let account = village.satu.chatwoot_account;
    let contact = village.chatwoot.chatwoot_contacts(account);
    let contact = contact
        .iter()
        .find(|contact| contact.name.contains("Erin"))
        .unwrap()
        .id;

    // Nobody is erased by a slip, by a stranger, or in a tenant that is not here.
    for (body, field) in [
        (json!({"person": ERIN}), "confirm"),
        (json!({"person": ERIN, "confirm": BUDI}), "confirm"),
        (json!({"confirm": ERIN}), "person"),
        (json!({"person": "siapa", "confirm": "siapa"}), "person"),
        (json!({"person": "12@g.us", "confirm": "12@g.us"}), "person"),
    ] {
        let said = village.call(Method::POST, ERASE, &body).await;
        assert_eq!(
            (said.status.as_u16(), &said.json()["code"]),
            (422, &json!("invalid_fields"))
        );
        assert!(said.json()["fields"][field].is_string(), "{said:?}");
    }
    let both = json!({"person": ERIN, "confirm": ERIN});
    for tenant in ["desa-asing", "x%20y"] {
        let path = ERASE.replace("desa-satu", tenant);
        let said = village.call(Method::POST, &path, &both).await;
        assert_eq!(
            (said.status.as_u16(), &said.json()["code"]),
            (404, &json!("no_such_tenant"))
        );
    }
    let url = format!("{}{ERASE}", village.office.running.base);
    let stranger = Client::new().post(url).json(&both).send().await.unwrap();
    assert_eq!(stranger.status().as_u16(), 401);
    assert_eq!(
        village.found("canaryErin", Of::All).await,
        words,
        "nothing was erased yet"
    );

    // Named as people type it.
    let body = json!({"person": "+62 812-7770-0011", "confirm": "081277700011"});
    let said = village.call(Method::POST, ERASE, &body).await.ok();
    assert_eq!(
        (
            &said["contacts"],
            &said["replies"],
            &said["events"],
            &said["rules"],
            &said["quarantined"]
        ),
        (&json!(2), &json!(1), &json!(3), &json!(1), &json!(2)),
        "{said}"
    );
    // The task that was put aside and the order.
    assert_eq!(said["waiting"], 2, "{said}");
    let left = json!([{"installation": "satu", "accountId": account, "contactId": contact}]);
    assert_eq!(said["leftInChatwoot"], left);

    assert_eq!(village.found("canaryErin", Of::All).await, NOWHERE);
    for name in [ERIN, "081277700011", LID] {
        assert_eq!(village.found(name, SATU).await, NOWHERE, "{name}");
    }
    let logs = village.logs.since();
    assert!(logs.contains("a person was erased"));
    for name in [ERIN, "812-7770-0011", "081277700011", LID, "canaryErin"] {
        assert!(!logs.contains(name), "{name} is in the log");
    }
    assert_eq!(village.budis().await, budi);
    assert_eq!(village.found("canaryOther", Of::All).await, other);
    assert_eq!(village.found(ERIN, DUA).await, elsewhere);
    village.is_even().await;
    let acts =
        "SELECT action || ' ' || subject AS value FROM audit_log WHERE action LIKE 'person.%' ORDER BY id";
    let acts = village.world().values(acts).await;
    assert_eq!(acts.len(), 2, "{acts:?}");
    assert!(acts[0].starts_with("person.erase person "), "{acts:?}");
    assert_eq!(acts[1].replace("erased", "erase"), acts[0]);

    // Once more changes nothing, by whichever name.
    let body = json!({"person": format!("{LID}@lid"), "confirm": format!("{LID}@lid")});
    let again = village.call(Method::POST, ERASE, &body).await.ok();
    assert_eq!((&again["contacts"], &again["events"]), (&json!(0), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_on_its_way_brings_nothing_back() {
    let village = Village::start().await;
    let conversation = village
        .world()
        .count("SELECT chatwoot_conversation_id AS n FROM contacts WHERE canonical = '6281277700011' AND tenant_id = 'desa-satu' LIMIT 1")
        .await;
    let sent = reply(&village.satu, conversation, ERIN, "canaryErinanswer");
    let reference = "SELECT envelope::jsonb #>> '{data,reference}' AS value FROM outbox WHERE strpos(envelope, 'canaryErinanswer') > 0";
    let reference = village.world().values(reference).await.remove(0);
    village.erase_by_hand().await.unwrap();

    // A message that was published before, a repeated webhook, what became of a message that had left, and its deletion.
    village.tell(&village.on_its_way).await;
    assert_eq!(village.take(&village.satu, &sent).await, Acceptance::Repeated);
    let told = status(&village.satu, &reference, DeliveryStatus::Sent, None);
    village.tell(&told).await;
    let mut deleted = sent.clone();
    deleted["event"] = json!("message_updated");
    deleted["content_attributes"] = json!({"deleted": true});
    assert_eq!(village.take(&village.satu, &deleted).await, Acceptance::Repeated);
    let mut changed = sent.clone();
    changed["event"] = json!("message_updated");
    assert_eq!(
        village.take(&village.satu, &changed).await,
        Acceptance::Ignored("nothing_failed")
    );
    for words in ["canaryErin", "3EB0STATUS"] {
        assert_eq!(village.found(words, Of::All).await, NOWHERE, "{words}");
    }
    assert_eq!(village.found(ERIN, SATU).await, NOWHERE);

    village.sql("UPDATE inboxes SET ignored = '{}'").await;
    // Of somebody else it comes as ever, and what the person writes afterwards is a stranger's first message.
    let others = received(
        &village.satu,
        message(
            &village.satu,
            ChatId::generate(),
            BUDI,
            "3EB0BUDINEW",
            "canaryBudiNew",
        ),
    );
    village.tell(&others).await;
    let new = received(
        &village.satu,
        message(
            &village.satu,
            ChatId::generate(),
            ERIN,
            "3EB0ERINNEW",
            "canaryErinNew",
        ),
    );
    village.tell(&new).await;
    let links =
        "SELECT count(*) AS n FROM message_links WHERE provider_message_id IN ('3EB0BUDINEW', '3EB0ERINNEW')";
    assert_eq!(village.world().count(links).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_has_in_hand_writes_nothing_any_more() {
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let place = world.connect(&chatwoot, "desa-satu", "default", "").await;
    let slow = FaultKind::SlowAnswer { ms: 1_500 };
    chatwoot
        .add_fault(fault(&place, "POST", "/conversations", slow, 10))
        .unwrap();
    let told = message(&place, ChatId::generate(), ERIN, "3EB0ERIN1", "canaryErin");
    world.take(&received(&place, told)).await;
    let (db, lanes) = (world.database.db.clone(), world.lanes.clone());
    let working = tokio::spawn(async move { claim_and_work(&db, &lanes, LANES).await });
    eventually("Chatwoot is asked", || async {
        let asked = chatwoot.requests();
        let is_it = |path: &str, method: &str| method == "POST" && path.ends_with("/conversations");
        asked.iter().any(|it| is_it(&it.path, &it.method)).then_some(())
    })
    .await;
    let who = read_person(ERIN).unwrap();
    let erased = erase(
        &world.tools.db,
        &world.tools.keys,
        &place.scope,
        &who,
        &Actor::operator(),
    )
    .await
    .unwrap();
    assert_eq!(erased.waiting, 1);
    drop(working.await.unwrap());
    assert_eq!(world.database.columns_with("canaryErin", Of::All).await, NOWHERE);
    assert_eq!(world.database.columns_with(ERIN, Of::All).await, NOWHERE);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_was_killed_is_finished_by_the_next_one() {
    let village = Village::start().await;
    // The last step fails as it would for a process that dies before it: everything that came before is committed.
    let mut connection = village.world().database.admin().await;
    diesel_async::SimpleAsyncConnection::batch_execute(
        &mut connection,
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'killed'; END $$; \
         CREATE TRIGGER killed BEFORE DELETE ON contacts FOR EACH ROW EXECUTE FUNCTION fail()",
    )
    .await
    .unwrap();
    assert!(village.erase_by_hand().await.is_err());
    assert!(
        !village.found(LID, SATU).await.is_empty(),
        "the names are still there"
    );
    village.sql("DROP TRIGGER killed ON contacts").await;
    let erased = village.erase_by_hand().await.unwrap();
    assert_eq!((erased.contacts, erased.events), (2, 0));
    assert_eq!(village.found("canaryErin", Of::All).await, NOWHERE);
    for name in [ERIN, LID] {
        assert_eq!(village.found(name, SATU).await, NOWHERE, "{name}");
    }
}

/// What the lines say; bodies are written as bytes.
fn lines_of(said: &Said) -> (Vec<Value>, String) {
    assert!(said.status.is_success(), "{said:?}");
    let lines: Vec<Value> = said
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut text = said.text.clone();
    for line in &lines {
        if let Some(body) = line["row"]["body"].as_str() {
            let bytes = hex::decode(body.trim_start_matches("\\x")).unwrap();
            text.push_str(&String::from_utf8(bytes).unwrap());
        }
    }
    (lines, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_a_person_holds_theirs_by_all_names_and_nobody_elses() {
    let village = Village::start().await;
    let body = json!({"person": format!("{LID}@lid")});
    let said = village.call(Method::POST, EXPORT, &body).await;
    let (lines, text) = lines_of(&said);
    assert!(lines.iter().all(|line| line["row"]["tenant_id"] == "desa-satu"));
    for word in [
        "name",
        "sha",
        "file.pdf",
        "part",
        "answer",
        "aside",
        "forwarded",
        "bare",
        "contact",
    ] {
        assert!(text.contains(&format!("canaryErin{word}")), "{word}");
    }
    for table in [
        "contacts",
        "contact_pictures",
        "message_links",
        "agent_messages",
        "agent_parts",
        "agent_files",
        "lane_tasks",
        "outbox",
        "forward_events",
    ] {
        assert!(lines.iter().any(|line| line["table"] == table), "{table}");
    }
    for others in ["canaryBudi", "canaryOther", BUDI] {
        assert!(!text.contains(others), "{others}");
    }
    let subjects = village
        .world()
        .values("SELECT subject AS value FROM audit_log WHERE action = 'person.export'")
        .await;
    assert!(subjects.len() == 1 && !subjects[0].contains(LID), "{subjects:?}");

    let unknown = EXPORT.replace("desa-satu", "desa-asing");
    let said = village.call(Method::POST, &unknown, &body).await;
    assert_eq!(said.status.as_u16(), 404);
    let said = village.call(Method::POST, EXPORT, &json!({})).await;
    assert_eq!(said.status.as_u16(), 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_given_out_and_erased_and_its_neighbour_is_still_everywhere() {
    let village = Village::start().await;
    let whole = "/admin/tenants/desa-satu";
    let said = village.office.get(&format!("{whole}/export")).await;
    let (lines, text) = lines_of(&said);
    assert!(lines.iter().all(|line| line["row"]["tenant_id"] == "desa-satu"));
    assert!(
        text.contains("canaryErinforwarded") && text.contains("canaryBudi") && !text.contains("canaryOther")
    );
    assert!(!text.contains("sealed"));
    let unknown = village.office.get("/admin/tenants/desa-asing/export").await;
    assert_eq!(unknown.status.as_u16(), 404);

    let theirs = village.found("canaryOther", Of::All).await;
    let elsewhere = village.found(ERIN, DUA).await;
    let rows_of_dua = "SELECT (SELECT count(*) FROM routes WHERE tenant_id = 'desa-dua') + \
                         (SELECT count(*) FROM inboxes WHERE tenant_id = 'desa-dua') AS n";
    assert!(theirs.len() > 6 && village.world().count(rows_of_dua).await == 3);
    for (body, status) in [(json!({}), 422), (json!({"confirm": "desa-dua"}), 422)] {
        let said = village.call(Method::DELETE, whole, &body).await;
        assert_eq!(said.status.as_u16(), status, "{said:?}");
    }
    let stranger = Client::new().delete(format!("{}{whole}", village.office.running.base));
    assert_eq!(
        stranger
            .json(&json!({"confirm": "desa-satu"}))
            .send()
            .await
            .unwrap()
            .status()
            .as_u16(),
        401
    );
    village
        .sql(
            "INSERT INTO replay_jobs (id, of_tenant, with_unknown, until_seq, total, actor, state) \
              VALUES (gen_random_uuid(), 'desa-satu', false, 0, 0, 'admin', 'done')",
        )
        .await;

    let said = village
        .call(Method::DELETE, whole, &json!({"confirm": "desa-satu"}))
        .await
        .ok();
    assert!(said["rowsErased"].as_u64().unwrap() > 20, "{said}");
    // It was on its way when the tenant was erased.
    village.tell(&village.on_its_way).await;
    let places = village.world().database.columns_with("desa-satu", Of::All).await;
    assert_eq!(places, ["audit_log.tenant_id", "erasures.tenant_id"]);
    // What came as no webhook at all is nobody's.
    for words in ["canaryErin", "canaryBudi"] {
        let places = village
            .world()
            .database
            .columns_with_but(words, Some("Stray"), Of::All)
            .await;
        assert_eq!(places, NOWHERE, "{words}");
    }
    assert_eq!(village.found(LID, Of::All).await, NOWHERE);
    assert_eq!(village.found("canaryOther", Of::All).await, theirs);
    assert_eq!(village.found(ERIN, DUA).await, elsewhere);
    assert_eq!(village.world().count(rows_of_dua).await, 3);
    let acts = "SELECT action AS value FROM audit_log WHERE tenant_id = 'desa-satu' AND action LIKE 'tenant.%' ORDER BY id";
    let acts = village.world().values(acts).await;
    assert_eq!(acts, ["tenant.export", "tenant.erase", "tenant.erased"]);

    // There is no such tenant any more, and its webhooks are nobody's.
    let again = village
        .call(Method::DELETE, whole, &json!({"confirm": "desa-satu"}))
        .await;
    assert_eq!(again.status.as_u16(), 404);
    let event = json!({"event": "message_created", "id": 5, "message_type": "incoming", "account": {"id": 3},
        "inbox": {"id": 77}, "content": "canaryErinLate", "conversation": {"id": 5, "inbox_id": 77}});
    eventually("no process has the route at hand", || async {
        let path = "/webhook/satu";
        let said = post_with(&village.office.running.base, path, event.to_string(), &[]).await;
        said.1.get("forwarded").is_none().then_some(())
    })
    .await;
}
