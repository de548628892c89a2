//! One person of a customer.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::canary::Of;
use test_support::logs;

use super::world::{BUDI, ERIN, LID, World, jid, message};
use crate::hooks::world::ask;
use crate::support::{APP, DESK, GLOBAL};

const ERASE: &str = "/people/erase";
const NOTHING: [String; 0] = [];
const SATU: Of<'static> = Of::Tenant("desa-a");
const DUA: Of<'static> = Of::Tenant("desa-b");

fn order(person: &str) -> Value {
    json!({"person": person, "confirm": person})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_person_is_nowhere_and_everybody_else_is_still_everywhere() {
    let world = World::start().await;
    let before = [
        world.places_of("canaryErin", SATU).await,
        world.places_of(ERIN, SATU).await,
        world.places_of(LID, SATU).await,
    ];
    assert_eq!(before[0], ["contacts.name", "contacts.raw", "hook_events.body"]);
    assert_eq!(
        before[1],
        [
            "contacts.jid",
            "contacts.phone",
            "hook_events.body",
            "lane_tasks.payload"
        ]
    );
    assert_eq!(before[2], ["contacts.jid", "hook_events.body"]);
    let neighbours = [
        ("canaryBudi", SATU),
        (BUDI, SATU),
        ("canaryErin", DUA),
        (ERIN, DUA),
        (LID, DUA),
        ("canaryBudi", DUA),
    ];
    let mut theirs = Vec::new();
    for (words, of) in neighbours {
        theirs.push(world.places_of(words, of).await);
        assert!(theirs.last().unwrap().len() > 1, "{words}");
    }

    let erase = async |key: &str, body: Value| world.about_satu(Method::POST, ERASE, key, &body).await;
    for body in [
        json!({"person": ERIN}),
        json!({"person": ERIN, "confirm": BUDI}),
        json!({"person": ERIN, "confirm": "ya"}),
    ] {
        let answer = erase(APP, body).await;
        assert_eq!(
            (answer.status, &answer.body["code"]),
            (400, &json!("confirmation_required"))
        );
    }
    for person in ["siapa", "", "12", "120363@g.us"] {
        let answer = erase(APP, order(person)).await;
        assert_eq!(
            (answer.status, &answer.body["code"]),
            (400, &json!("invalid_person"))
        );
    }
    // Another service neither sees nor erases them; nobody erases at a customer that is not there.
    let not_own = (403, "user does not belong to this source");
    assert_eq!(erase(DESK, order(ERIN)).await.refusal(), not_own);
    let nobody = "/users/desa-none/people/erase";
    let answer = world
        .gateway
        .internal(Method::POST, nobody, GLOBAL, &order(ERIN))
        .await;
    assert_eq!(answer.refusal(), (404, "user not found"));
    // Nor is a customer's own number a person of its.
    world
        .gateway
        .sql(&format!(
            "UPDATE sessions SET jid = '{ERIN}:3@s.whatsapp.net' WHERE tenant_id = 'desa-a'"
        ))
        .await;
    let answer = erase(APP, order(ERIN)).await;
    assert_eq!(
        (answer.status, &answer.body["code"]),
        (409, &json!("number_of_session"))
    );
    world.gateway.sql("UPDATE sessions SET jid = ''").await;
    for (words, places) in ["canaryErin", ERIN, LID].into_iter().zip(before) {
        assert_eq!(
            world.places_of(words, SATU).await,
            places,
            "nothing was erased yet"
        );
    }

    // Named as people type it.
    let body = json!({"person": "+62 812-7770-0011", "confirm": "081277700011"});
    let erased = erase(APP, body).await.ok();
    assert_eq!(
        erased,
        json!({"user_id": "desa-a", "contacts": 3, "webhooks": 5, "read_marks": 1})
    );
    for words in ["canaryErin", ERIN, "081277700011", LID] {
        assert_eq!(world.places_of(words, SATU).await, NOTHING, "{words}");
        assert_eq!(logs::lines_with(words), NOTHING, "{words}");
    }
    for ((words, of), places) in neighbours.into_iter().zip(theirs) {
        assert_eq!(world.places_of(words, of).await, places, "{words}");
    }
    // Every webhook is accounted for, and no task is left of one that is gone.
    let counts = "SELECT concat_ws(' ', accepted, delivered, dropped, expired, held) FROM hook_counts \
                  WHERE tenant_id = 'desa-a'";
    assert_eq!(ask(&world.gateway.database, counts).await, "6 0 5 0 1");
    let bytes = "SELECT held_bytes = (SELECT sum(octet_length(body) + 1024) FROM hook_events e \
                 WHERE e.session = c.session) FROM hook_counts c WHERE tenant_id = 'desa-a'";
    assert_eq!(ask(&world.gateway.database, bytes).await, "true");
    let tasks = "SELECT count(*) FROM lane_tasks WHERE tenant_id = 'desa-a'";
    assert_eq!(ask(&world.gateway.database, tasks).await, "2");
    let acts = world
        .gateway
        .rows("SELECT concat_ws(' | ', actor, action, subject, detail) AS text FROM audit_log WHERE action LIKE 'person.%' ORDER BY seq")
        .await;
    let [begun, ended] = &acts[..] else {
        panic!("{acts:?}");
    };
    let subject = begun.strip_prefix("app | person.erase | person ").unwrap();
    assert_eq!(subject.len(), 24);
    assert_eq!(
        ended,
        &format!("app | person.erased | person {subject} | 3 contact(s), 5 webhook(s), 1 read mark(s)")
    );

    // Once more changes nothing. What comes afterwards is new: the phone's address book has the person still.
    let again = erase(GLOBAL, order(&format!("{LID}@lid"))).await.ok();
    assert_eq!((&again["contacts"], &again["webhooks"]), (&json!(0), &json!(0)));
    world.sync(&world.satu, &world.keys[0]).await.ok();
    assert_eq!(
        world.places_of("canaryErin", SATU).await,
        ["contacts.name", "contacts.raw"]
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_that_was_killed_is_finished_by_the_next_one() {
    let world = World::start().await;
    // The last step fails as it would for a process that dies before it: everything that came before is committed.
    world
        .gateway
        .sql(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'killed'; END $$; \
             CREATE TRIGGER killed BEFORE INSERT ON audit_log FOR EACH ROW WHEN (NEW.action = 'person.erased') \
             EXECUTE FUNCTION fail()",
        )
        .await;
    let erase = async || world.about_satu(Method::POST, ERASE, APP, &order(ERIN)).await;
    assert_eq!(erase().await.status, 500);
    assert_eq!(
        world.places_of("canaryErinBoth", SATU).await,
        ["hook_events.body"]
    );
    assert_eq!(world.places_of("canaryErinLid", SATU).await, NOTHING);
    // Known by the hidden id only: found because what told it is still there.
    let late = message(&world.satu, &format!("{LID}@lid"), "", "canaryErinLate");
    world.satu.accepted(&world.gateway, &late).await;
    world
        .gateway
        .sql("DROP TRIGGER killed ON audit_log; DROP FUNCTION fail()")
        .await;
    let erased = erase().await.ok();
    assert_eq!((&erased["contacts"], &erased["webhooks"]), (&json!(0), &json!(2)));
    for words in ["canaryErin", ERIN, LID] {
        assert_eq!(world.places_of(words, SATU).await, NOTHING, "{words}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_of_a_person_holds_theirs_by_all_names_and_nobody_elses() {
    let world = World::start().await;
    // A longer number, in which hers stands.
    let long = json!({"code": 200, "success": true, "data": {
        jid(&format!("{ERIN}2")): {"Found": true, "FullName": "canaryBudiLong"},
    }});
    world.gateway.wa.answer_contacts(200, long.to_string());
    world.sync(&world.satu, &world.keys[0]).await.ok();
    let body = json!({"person": format!("{LID}@lid")});
    let (text, lines) = world.exported(Method::POST, "/people/export", &body).await;
    assert!(lines.iter().all(|line| line["row"]["tenant_id"] == "desa-a"));
    for word in ["Contact", "Hidden", "Other", "Both", "Lid", "Words", "Form"] {
        assert!(text.contains(&format!("canaryErin{word}")), "{word}");
    }
    assert!(!text.contains("canaryBudi"), "{text}");
    let of = |table: &str| {
        lines
            .iter()
            .filter(|line| line["table"] == table)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (
            of("contacts").len(),
            of("hook_events").len(),
            of("lane_tasks").len()
        ),
        (3, 5, 1)
    );
    // Words are given out as words, what is no text as bytes.
    let bodies: Vec<&str> = of("hook_events")
        .iter()
        .map(|line| line["row"]["body"].as_str().unwrap())
        .collect();
    assert!(
        bodies
            .iter()
            .any(|body| body.starts_with('{') && body.contains("canaryErinLid"))
    );
    assert_eq!(bodies.iter().filter(|body| body.starts_with("\\x")).count(), 1);
    assert_eq!(
        world
            .about_satu(Method::POST, "/people/export", DESK, &body)
            .await
            .refusal(),
        (403, "user does not belong to this source")
    );
    let answer = world
        .about_satu(Method::POST, "/people/export", APP, &json!({}))
        .await;
    assert_eq!(answer.body["code"], "invalid_person");
    let noted = world
        .gateway
        .rows("SELECT actor || ' ' || subject AS text FROM audit_log WHERE action = 'person.export'")
        .await;
    assert_eq!(noted.len(), 1);
    assert!(noted[0].starts_with("app person ") && !noted[0].contains(LID));
    assert_eq!(logs::lines_with(LID), NOTHING);
    // Nobody is nobody.
    let body = json!({"person": jid("628000000001")});
    assert_eq!(
        world.exported(Method::POST, "/people/export", &body).await.1,
        [] as [Value; 0]
    );
    world.stop().await;
}
