//! A person is given out and erased as a whole, and nobody else with them: canaries are planted through the webhooks, and
//! then everything is searched.

use channel_service::flows::erase_person::{erase, read_person};
use channel_service::flows::tenant::Actor;
use domain::user::Role;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::canary::Of;
use test_support::{eventually, logs};

use crate::ai_handover::until_handled;
use crate::harness::{Tenant, TestApp, Webhook, Wishes, refusal, text};
use crate::media::{jpeg, picture, with_inline};
use crate::signing_in::{ask, bearer_of};

const ERIN: &str = "6281277700011";
const LID: &str = "277466881133551";
const BUDI: &str = "6281277700022";
const GROUP: &str = "120363000000007777@g.us";

/// A message by the hidden id, with the number beside it or not.
fn by_lid(id: &str, words: &str, alternative: &str) -> Value {
    let mut event = text(ERIN, id, words);
    let info = &mut event["event"]["Info"];
    info["Chat"] = json!(format!("{LID}@lid"));
    info["Sender"] = json!(format!("{LID}:7@lid"));
    info["SenderAlt"] = json!(alternative);
    info["AddressingMode"] = json!("lid");
    info["PushName"] = json!("canaryErinName");
    event
}

fn in_group(from: &str, id: &str, words: &str) -> Value {
    let mut event = text(from, id, words);
    event["event"]["Info"]["Chat"] = json!(GROUP);
    event["event"]["Info"]["IsGroup"] = json!(true);
    event
}

/// A picture whose bytes hold the words.
fn file_with(words: &str) -> Vec<u8> {
    let mut bytes = jpeg(400);
    bytes.extend(words.as_bytes());
    bytes
}

/// Something of a person's in every place that webhooks and orders reach. All words of theirs begin with `mark`.
async fn plant(app: &TestApp, tenant: &Tenant, phone: &str, mark: &str) {
    let word = |what: &str| format!("{mark}{what}");
    let id = |n: u8| format!("3EB0{}{n}", &hex::encode(mark)[6..]);
    app.post(&tenant.json(&text(phone, &id(1), &word("hello"))))
        .await
        .assert_kept();
    let mut file = picture(&id(2), &word("caption"));
    file["event"]["Info"]["Chat"] = json!(format!("{phone}@s.whatsapp.net"));
    file["event"]["Info"]["Sender"] = json!(format!("{phone}:7@s.whatsapp.net"));
    file["event"]["Info"]["PushName"] = json!(word("name"));
    let file = with_inline(file, &file_with(&word("bytes")));
    app.post(&tenant.json(&file)).await.assert_kept();
    app.post(&tenant.json(&in_group(phone, &id(3), &word("group"))))
        .await
        .assert_kept();
    let odd = json!({"type": "NeverHeardOf", "event": {"from": format!("{phone}@s.whatsapp.net"), "said": word("raw")}});
    app.post(&tenant.json(&odd)).await.assert_done("Event kept");
    app.order(tenant, phone, &word("answer")).await;
    app.until_status(&word("answer"), "sent").await;
    // One that is put aside.
    app.sends_fail(refusal(500, "no session", None), 1);
    app.order(tenant, phone, &word("aside")).await;
    app.until_status(&word("aside"), "parked").await;
    until_handled(app, &id(1)).await;
    app.run_sql(&format!(
        "INSERT INTO takeovers (tenant_id, id, chat_id, admin_id, reason) \
         SELECT tenant_id, gen_random_uuid(), id, 'admin', '{mark}takeover' FROM chats \
         WHERE tenant_id = '{}' AND phone = '{phone}'; \
         UPDATE chats SET profile_name = '{mark}profile' WHERE tenant_id = '{}' AND phone = '{phone}'",
        tenant.id, tenant.id
    ))
    .await;
}

/// Where a person's canaries are. What is nobody's is no tenant's either.
async fn found(app: &TestApp, mark: &str, of: Of<'_>) -> Vec<String> {
    let mut places = app.places_of(mark, of).await;
    if matches!(of, Of::Tenant("desa-dua")) {
        places.retain(|place| place != "quarantine.body");
    }
    places
}

struct Village {
    app: TestApp,
    satu: Tenant,
}

/// Two people in one village, one of them in another one as well.
async fn village() -> Village {
    let app = TestApp::with(Wishes {
        send_attempts: "1",
        ..Wishes::default()
    })
    .await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    app.run_sql("UPDATE tenants SET keep_groups = true").await;
    for tenant in ["desa-satu", "desa-dua"] {
        let scope =
            tenant_isolation::TenantScope::named_by_operator(domain::ids::TenantId::parse(tenant).unwrap());
        let change = channel_service::flows::tenant::KeptPlacesChange {
            groups: Some(true),
            ..Default::default()
        };
        channel_service::flows::tenant::set_kept_places(
            &app.direct,
            &app.routes,
            &scope,
            change,
            &Actor::operator(),
        )
        .await
        .unwrap();
    }
    // Known by a hidden id first; the number comes later and the two chats become one.
    app.post(&satu.json(&by_lid("3EB0L1", "canaryErinLid", "")))
        .await
        .assert_kept();
    plant(&app, &satu, ERIN, "canaryErin").await;
    app.post(&satu.json(&by_lid(
        "3EB0L2",
        "canaryErinBoth",
        &format!("{ERIN}:7@s.whatsapp.net"),
    )))
    .await
    .assert_kept();
    plant(&app, &satu, BUDI, "canaryBudi").await;
    plant(&app, &dua, ERIN, "canaryOther").await;
    let stray = json!({"type": "Message", "instanceName": "nobody-wa", "event": {"from": ERIN, "said": "canaryErinStray"}});
    app.post(&Webhook::json(&stray))
        .await
        .assert_done("Unknown instance");
    app.until_published().await;
    // What a worker has in hand may note something in Redis after everything was erased; it ends by itself there.
    eventually("nothing is worked on", || async {
        let waiting = "SELECT id::text AS value FROM lane_tasks WHERE NOT parked";
        app.values(waiting).await.is_empty().then_some(())
    })
    .await;
    app.until_published().await;
    Village { app, satu }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_person_is_nowhere_and_everybody_else_is_still_everywhere() {
    let Village { app, satu } = village().await;
    let admin = bearer_of(&app, "rara@desa.id", Role::TenantAdmin, Some("desa-satu")).await;
    let before: Vec<Vec<String>> = [
        found(&app, "canaryErin", Of::All).await,
        found(&app, ERIN, Of::Tenant("desa-satu")).await,
        found(&app, LID, Of::All).await,
    ]
    .into();
    let planted = |places: &[String], what: &str| {
        assert!(
            places.iter().any(|place| place.contains(what)),
            "{what}: {places:?}"
        );
    };
    for place in [
        "messages.body",
        "messages.content",
        "chats.last_text",
        "chats.name",
        "chats.profile_name",
        "takeovers.reason",
        "provider_events.payload",
        "quarantine.body",
        "messages.reference",
        "file ",
    ] {
        planted(&before[0], place);
    }
    for place in [
        "chats.address",
        "chat_words.word",
        "contact_lids.phone",
        "messages.sender",
        "redis ",
    ] {
        planted(&before[1], place);
    }
    planted(&before[2], "contact_lids.lid");
    let neighbours = [
        (found(&app, "canaryBudi", Of::All).await, "canaryBudi", Of::All),
        (found(&app, BUDI, Of::All).await, BUDI, Of::All),
        (found(&app, "canaryOther", Of::All).await, "canaryOther", Of::All),
        (
            found(&app, ERIN, Of::Tenant("desa-dua")).await,
            ERIN,
            Of::Tenant("desa-dua"),
        ),
    ];

    let path = "/tenants/desa-satu/people/erase";
    let erase =
        async |body: Value| ask(&app, Method::POST, path, &[("authorization", &admin)], Some(body)).await;
    for body in [
        json!({"person": ERIN}),
        json!({"person": ERIN, "confirm": BUDI}),
        json!({"person": ERIN, "confirm": "ya"}),
    ] {
        erase(body).await.assert_error(400, "confirmation_required");
    }
    erase(json!({"person": "siapa", "confirm": "siapa"}))
        .await
        .assert_error(400, "invalid_identifier");
    ask(
        &app,
        Method::POST,
        "/tenants/desa-dua/people/erase",
        &[("authorization", &admin)],
        Some(json!({"person": ERIN, "confirm": ERIN})),
    )
    .await
    .assert_error(403, "not_your_village");
    assert_eq!(
        found(&app, "canaryErin", Of::All).await,
        before[0],
        "nothing was erased yet"
    );

    // Named as people type it.
    let answer = erase(json!({"person": "+62 812-7770-0011", "confirm": "081277700011"})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let said = &answer.json()["data"];
    assert_eq!(
        (&said["chats"], &said["messages"], &said["cache"]),
        (&json!(1), &json!(7), &json!(true))
    );

    assert_eq!(found(&app, "canaryErin", Of::All).await, [] as [String; 0]);
    for name in [ERIN, "081277700011", LID] {
        assert_eq!(
            found(&app, name, Of::Tenant("desa-satu")).await,
            [] as [String; 0],
            "{name}"
        );
        assert_eq!(logs::lines_with(name), [] as [String; 0], "{name}");
    }
    for (there, words, of) in neighbours {
        assert_eq!(found(&app, words, of).await, there, "{words}");
    }
    // Whoever looks at the group sees what is left of it.
    let group =
        format!("SELECT last_text AS value FROM chats WHERE tenant_id = 'desa-satu' AND address = '{GROUP}'");
    assert_eq!(app.values(&group).await, ["canaryBudigroup"]);
    let acts =
        "SELECT action || ' ' || subject AS value FROM audit_log WHERE action LIKE 'person.%' ORDER BY id";
    let acts = app.values(acts).await;
    assert!(acts[0].as_str().unwrap().starts_with("person.erase person "));
    assert_eq!(
        acts[1].as_str().unwrap().replace("erased", "erase"),
        acts[0].as_str().unwrap()
    );

    // Once more changes nothing; a webhook that is repeated brings nothing back; a new message is a stranger's first.
    let again = erase(json!({"person": format!("{LID}@lid"), "confirm": format!("{LID}@lid")})).await;
    assert_eq!(again.json()["data"]["messages"], 0, "{}", again.text);
    app.post(&satu.json(&by_lid("3EB0L2", "canaryErinBoth", "")))
        .await
        .assert_done("Duplicate message");
    assert_eq!(found(&app, "canaryErin", Of::All).await, [] as [String; 0]);
    app.post(&satu.json(&text(ERIN, "3EB0NEW", "canaryErinNew")))
        .await
        .assert_kept();
    let chats =
        format!("SELECT unread AS value FROM chats WHERE tenant_id = 'desa-satu' AND phone = '{ERIN}'");
    assert_eq!(app.values(&chats).await, [1]);
    app.finish().await;
}

/// A webhook of which nothing is known, with these words in it byte for byte: as JSON and as a form.
fn odd(tenant: &Tenant, words: &str) -> [Webhook; 2] {
    let event = |kind: &str| {
        let event = json!({"type": kind, "instanceName": tenant.session.name, "userID": tenant.session.id,
            "event": {"said": "WORDS"}});
        event.to_string().replace("WORDS", words)
    };
    let form = [
        ("instanceName", tenant.session.name.as_str()),
        ("jsonData", &event("OddForm")),
        ("userID", &tenant.session.id),
    ];
    [
        Webhook::raw("application/json", event("OddJson")),
        Webhook::form(&form),
    ]
    .map(|webhook| webhook.signed(tenant.key.as_deref()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_behind_escapes_is_erased_from_raw_events_and_from_quarantine() {
    let app = TestApp::spawn().await;
    let satu = app.tenant("desa-satu").await;
    app.post(&satu.json(&by_lid("3EB0E1", "halo", &format!("{ERIN}:7@s.whatsapp.net"))))
        .await
        .assert_kept();
    let theirs = [
        format!(r"\u0026{ERIN}\u0026"),
        format!(r"\u0022{ERIN}\u0040s.whatsapp.net"),
        format!(r"\u002b{ERIN}"),
        format!(r"caf\u00e9{ERIN}"),
        format!("café{ERIN}"),
        format!("https:%2F%2Fwa.me%2F%2B{ERIN}%40s.whatsapp.net"),
        format!(r"\u0022{LID}\u0040lid"),
        r"\u2013081277700011".to_owned(),
    ];
    // Others: in a longer number, and behind an escape as well.
    let others = [
        format!(r"\u00261{ERIN}"),
        format!(r"\u0022{BUDI}\u0040s.whatsapp.net"),
    ];
    for (words, mark) in theirs
        .iter()
        .map(|words| (words, "canaryErin"))
        .chain(others.iter().map(|words| (words, "canaryBudi")))
    {
        let words = format!("{mark} {words}");
        for webhook in odd(&satu, &words) {
            app.post(&webhook).await.assert_done("Event kept");
        }
        let stray =
            format!(r#"{{"type":"Message","instanceName":"nobody-wa","event":{{"said":"{words}"}}}}"#);
        app.post(&Webhook::raw("application/json", stray))
            .await
            .assert_done("Unknown instance");
    }
    // They stand as they were written.
    let escaped = format!(r"canaryErin \u0026{ERIN}\u0026");
    let both = ["provider_events.payload", "quarantine.body"];
    assert_eq!(app.places_of(&escaped, Of::All).await, both);
    let kept = "SELECT count(*) AS value FROM provider_events UNION ALL SELECT count(*) FROM quarantine";
    assert_eq!(app.values(kept).await, [20, 10]);

    let admin = bearer_of(&app, "rara@desa.id", Role::TenantAdmin, Some("desa-satu")).await;
    let path = "/tenants/desa-satu/people/";
    let headers = [("authorization", admin.as_str())];
    let body = json!({"person": ERIN});
    let given = ask(&app, Method::POST, &format!("{path}export"), &headers, Some(body)).await;
    assert_eq!(given.text.matches("canaryErin ").count(), 2 * theirs.len());
    assert!(!given.text.contains("canaryBudi"), "{}", given.text);
    let body = json!({"person": ERIN, "confirm": ERIN});
    let erased = ask(&app, Method::POST, &format!("{path}erase"), &headers, Some(body)).await;
    assert_eq!(erased.status, 200, "{}", erased.text);
    assert_eq!(app.places_of("canaryErin", Of::All).await, [] as [String; 0]);
    assert_eq!(app.values(kept).await, [4, 2]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_that_was_killed_is_finished_by_the_next_one() {
    let Village { app, satu } = village().await;
    // The last step fails as it would for a process that dies before it: everything that came before is committed.
    app.run_sql(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'killed'; END $$; \
         CREATE TRIGGER killed BEFORE DELETE ON contact_lids FOR EACH ROW EXECUTE FUNCTION fail()",
    )
    .await;
    let redis = cache::RedisLink::new(&test_support::redis_url().into(), app.redis_prefix()).unwrap();
    let who = read_person(ERIN).unwrap();
    let run = async || {
        let files = Some(&app.media.storage);
        erase(
            &app.direct,
            &app.keys,
            &redis,
            files,
            &satu.scope(),
            &who,
            &Actor::operator(),
        )
        .await
    };
    assert!(run().await.is_err());
    assert!(
        !found(&app, LID, Of::All).await.is_empty(),
        "the names are still there"
    );
    app.run_sql("DROP TRIGGER killed ON contact_lids").await;
    let (erased, identifiers) = run().await.unwrap();
    assert_eq!((erased.chats, erased.messages), (1, 0));
    assert_eq!(identifiers, [ERIN.to_owned(), format!("{LID}@lid")]);
    assert_eq!(found(&app, "canaryErin", Of::All).await, [] as [String; 0]);
    assert_eq!(
        found(&app, ERIN, Of::Tenant("desa-satu")).await,
        [] as [String; 0]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_of_a_person_holds_theirs_by_all_names_and_nobody_elses() {
    let Village { app, .. } = village().await;
    let admin = bearer_of(&app, "rara@desa.id", Role::TenantAdmin, Some("desa-satu")).await;
    let answer = ask(
        &app,
        Method::POST,
        "/tenants/desa-satu/people/export",
        &[("authorization", &admin)],
        Some(json!({"person": format!("{LID}@lid")})),
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let lines: Vec<Value> = answer
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.iter().all(|line| line["row"]["tenant_id"] == "desa-satu"));
    for word in [
        "Lid", "Both", "hello", "caption", "group", "raw", "answer", "aside", "profile", "takeover",
    ] {
        assert!(answer.text.contains(&format!("canaryErin{word}")), "{word}");
    }
    assert!(
        lines
            .iter()
            .any(|line| line["table"] == "media" && line["row"]["object_key"].is_string())
    );
    assert!(
        !answer.text.contains("canaryBudi")
            && !answer.text.contains("canaryOther")
            && !answer.text.contains(BUDI)
    );
    let noted = eventually("it is noted", || async {
        app.values("SELECT subject AS value FROM audit_log WHERE action = 'person.export'")
            .await
            .pop()
    })
    .await;
    assert!(!noted.as_str().unwrap().contains(LID));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_tenant_is_nowhere_and_its_neighbour_still_everywhere() {
    let Village { app, satu } = village().await;
    let theirs = [("canaryOther", Of::All), (ERIN, Of::Tenant("desa-dua"))];
    let mut before = Vec::new();
    for (words, of) in theirs {
        before.push(found(&app, words, of).await);
        assert!(before.last().unwrap().len() > 4, "{words}");
    }
    let root = bearer_of(&app, "super@kanal.id", Role::Superadmin, None).await;
    let answer = ask(
        &app,
        Method::DELETE,
        "/tenants/desa-satu",
        &[("authorization", &root)],
        Some(json!({"confirm": satu.id})),
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(found(&app, "canaryBudi", Of::All).await, [] as [String; 0]);
    // What came under a name that nobody has is nobody's.
    assert_eq!(found(&app, "canaryErin", Of::All).await, ["quarantine.body"]);
    assert_eq!(found(&app, LID, Of::All).await, [] as [String; 0]);
    for ((words, of), places) in theirs.into_iter().zip(before) {
        assert_eq!(found(&app, words, of).await, places, "{words}");
    }
    app.finish().await;
}
