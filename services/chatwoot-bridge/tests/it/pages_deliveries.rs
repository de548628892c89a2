//! What could not be passed on, on the pages: found by any id, its journey read, sent again one by one, picked, and by a filter.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::eventually;

use crate::browser::{hidden, in_language, page, post};
use crate::operator::Office;
use crate::target::{Receiver, tries};

async fn routed(office: &Office, inbox: i64, url: &str) -> i64 {
    let new = json!({"inboxId": inbox, "webhookUrl": url, "tenantId": "desa-a"});
    let said = office.post("/admin/routes", &new).await.ok();
    said["route"]["id"].as_i64().unwrap()
}

async fn told(office: &Office, inbox: i64, id: i64) {
    let event = json!({"event": "message_created", "id": id, "message_type": "outgoing", "content": "s3cret-words",
        "private": false, "source_id": null, "account": {"id": 3}, "inbox": {"id": inbox}, "conversation": {"id": id}});
    let hook = format!("{}/webhook", office.running.base);
    // The routes at hand may be a moment old.
    eventually("the event is taken", || async {
        let answer = office
            .client
            .post(&hook)
            .body(event.to_string())
            .send()
            .await
            .unwrap();
        let said: Value = answer.json().await.unwrap();
        (said["forwarded"] == true).then_some(())
    })
    .await;
}

async fn aside(office: &Office, many: usize) -> Vec<Value> {
    eventually("they are put aside", || async {
        let listed = office.get("/admin/deliveries").await.ok();
        let events = listed["deliveries"].as_array().unwrap().clone();
        (events.len() == many).then_some(events)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_aside_is_found_read_and_sent_again() {
    let office = Office::open_with(|settings| settings.forward.retry = tries(1)).await;
    let target = Receiver::start();
    target.answer(503);
    let route = routed(
        &office,
        42,
        &target.url_with("u:s3cret-pass", "secret=s3cret-query"),
    )
    .await;
    told(&office, 42, 9001).await;
    let events = aside(&office, 1).await;
    let id = events[0]["id"].as_str().unwrap();

    // It is what needs attention, from the start page on.
    assert!(page(&office, "/admin").await.contains("Events put aside"));
    let list = page(&office, "/admin/panel/deliveries").await;
    let link = format!("/admin/panel/events/desa-a/{id}");
    assert!(
        list.contains(&link) && list.contains("the target answered 503"),
        "{list}"
    );
    assert!(
        page(&office, &format!("/admin/panel/routes/{route}"))
            .await
            .contains(&link)
    );
    assert!(
        !page(&office, "/admin/panel/deliveries?reason=http_404")
            .await
            .contains(&link)
    );
    // One id, be it Chatwoot's or ours, leads to its journey.
    for asked in [id, "9001"] {
        let found = post(&office, "/admin/panel/find", &[("id", asked)]).await;
        assert_eq!(
            (found.status, found.to.as_str()),
            (303, link.as_str()),
            "{found:?}"
        );
    }
    let nothing = post(&office, "/admin/panel/find", &[("id", "<script>")]).await;
    assert!(nothing.text.contains("Nothing goes by this id") && !nothing.text.contains("<script>\""));
    let journey = page(&office, &link).await;
    for part in [
        "Accepted from Chatwoot",
        "Put aside: the target answered 503",
        "9001",
    ] {
        assert!(journey.contains(part), "{part}: {journey}");
    }
    assert!(!journey.contains("s3cret"), "{journey}");
    let foreign = in_language(&office, &format!("/admin/panel/events/desa-b/{id}"), "en").await;
    assert_eq!(foreign.status.as_u16(), 404);

    target.answer(200);
    let again = post(&office, &format!("{link}/replay"), &[]).await;
    assert!(again.to.ends_with("said=replayed"), "{again:?}");
    assert_eq!(target.until_taken(1).await, [9001]);
    eventually("the journey has its end", || async {
        let journey = page(&office, &link).await;
        (journey.contains("Sent again by admin") && journey.contains("Delivered")).then_some(())
    })
    .await;
    let again = post(&office, &format!("{link}/replay"), &[]).await;
    assert!(again.to.ends_with("said=nothing"), "{again:?}");
    eventually("it is among those that are over", || async {
        let over = page(&office, "/admin/panel/deliveries?state=over").await;
        over.contains(&link).then_some(())
    })
    .await;
    // The route's pictures have it, with the numbers as a table.
    eventually("the route's pictures tell of it", || async {
        let shown = page(&office, &format!("/admin/panel/routes/{route}?period=48h")).await;
        (shown.contains("<svg") && shown.contains("Show as table")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_are_picked_and_the_rest_is_sent_by_a_filter_after_a_look() {
    let office = Office::open_with(|settings| settings.forward.retry = tries(1)).await;
    let target = Receiver::start();
    target.answer(404);
    let route = routed(&office, 42, &target.url()).await.to_string();
    for id in [9001, 9002, 9003] {
        told(&office, 42, id).await;
    }
    let events = aside(&office, 3).await;
    target.answer(200);
    let first = events.iter().find(|event| event["messageId"] == 9001).unwrap();
    let name = format!("e.{}", first["id"].as_str().unwrap());
    let picked = post(&office, "/admin/panel/deliveries/replay", &[(&name, "desa-a")]).await;
    assert!(
        picked.status == 303 && picked.to.ends_with("said=replayed"),
        "{picked:?}"
    );
    assert_eq!(target.until_taken(1).await, [9001]);
    let none = post(&office, "/admin/panel/deliveries/replay", &[]).await;
    assert!(none.to.ends_with("said=nothing"), "{none:?}");

    let fields = [("route", route.as_str()), ("reason", "http_404"), ("tenant", "")];
    let look = post(&office, "/admin/panel/replays/preview", &fields).await;
    assert!(look.status == 200 && look.text.contains("2 events"), "{look:?}");
    assert_eq!(target.taken(), [9001], "a look sends nothing");
    let sent = ["route", "reason"].map(|name| (name, hidden(&look.text, name)));
    let sent: Vec<(&str, &str)> = sent.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let started = post(&office, "/admin/panel/replays", &sent).await;
    assert_eq!(started.status, 303, "{started:?}");
    let job = started.to.split('?').next().unwrap().to_owned();
    let mut taken = target.until_taken(3).await;
    taken.sort_unstable();
    assert_eq!(taken, [9001, 9002, 9003]);
    eventually("the replay says that it is done", || async {
        let shown = page(&office, &job).await;
        (shown.contains("2 of 2 events") && shown.contains(">Done<") && !shown.contains("hx-trigger"))
            .then_some(())
    })
    .await;
    assert!(page(&office, "/admin/panel/replays").await.contains(&job));
    let log = page(&office, "/admin/panel/log").await;
    assert!(
        log.contains("replay.start") && log.contains("delivery.replay"),
        "{log}"
    );
    let wrong = post(&office, "/admin/panel/replays/preview", &[("route", "999999")]).await;
    assert_eq!(wrong.status, 404, "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_shows_what_was_sent_and_what_was_answered() {
    let office = Office::open().await;
    let target = Receiver::start();
    let route = routed(
        &office,
        42,
        &target.url_with("u:s3cret-pass", "secret=s3cret-query"),
    )
    .await;
    let path = format!("/admin/panel/routes/{route}/test");
    let tested = post(&office, &path, &[]).await;
    for part in ["It works", "kanal_test", "It took the event", "u:***@"] {
        assert!(tested.text.contains(part), "{part}: {tested:?}");
    }
    assert!(!tested.text.contains("s3cret"), "{tested:?}");
    target.answer(401);
    let tested = post(&office, &path, &[]).await;
    assert!(
        tested.text.contains("It does not work") && tested.text.contains("the target answered 401"),
        "{tested:?}"
    );
    // Without a token there is nothing to look at, and the page says where one is stored.
    let checked = post(&office, &format!("/admin/panel/routes/{route}/check"), &[]).await;
    assert_eq!(checked.status, 422, "{checked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_predecessors_file_is_looked_at_and_then_taken_over() {
    let office = Office::open().await;
    let folder = tempfile::tempdir().unwrap();
    let file = crate::import::file(folder.path());
    let send = async |what: &str| {
        let part = reqwest::multipart::Part::bytes(std::fs::read(&file).unwrap()).file_name("dev.db");
        let form = reqwest::multipart::Form::new()
            .part("file", part)
            .text("tenantId", "desa-a")
            .text("installation", "")
            .text("do", what.to_owned());
        let request = office
            .request(Method::POST, "/admin/panel/import")
            .header("accept-language", "en")
            .multipart(form);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, look) = send("look").await;
    assert!(status == 200 && look.contains("What would be done"), "{look}");
    assert_eq!(office.get("/admin/routes").await.ok(), json!({"routes": []}));
    let (status, done) = send("import").await;
    assert!(status == 200 && done.contains("What was done"), "{done}");
    let routes = office.get("/admin/routes").await.ok();
    assert!(!routes["routes"].as_array().unwrap().is_empty());
    for text in [look, done] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    std::fs::write(&file, "nonsense").unwrap();
    let (status, wrong) = send("look").await;
    assert!(
        status == 422 && wrong.contains("no database of the predecessor"),
        "{wrong}"
    );
}
