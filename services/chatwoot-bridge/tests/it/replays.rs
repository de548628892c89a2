//! What was put aside is found by any of its ids, tells its journey, and is taken up again by a filter; and how routes fare
//! is written down.

use chatwoot_bridge::flows::replays::{self, Filter, Wish};
use chatwoot_bridge::flows::target_url::shown_of;
use chatwoot_bridge::flows::{find, forward::parked};
use chatwoot_bridge::store::audit_log::Actor;
use chatwoot_bridge::store::routes::Target;
use chatwoot_bridge::store::{route_search, route_times};
use domain::ids::TenantId;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantTransaction};
use test_support::eventually;

use crate::target::{Forwarding, message, put_of, route_of, tries};
use crate::world::{World, scope};

fn me() -> Actor {
    Actor {
        name: "ibu-sari".into(),
        source: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_is_shown_first_and_then_taken_up_to_the_end() {
    let side = Forwarding::start(|settings| settings.forward.retry = tries(1)).await;
    let db = &side.world.tools.db;
    side.target.answer(404);
    for id in 1..=3 {
        side.post(&message(42, id, 9_000 + id)).await;
    }
    side.until_settled().await;
    let (held, _) = parked::parked(db, &scope("desa-a"), None, 10).await.unwrap();
    assert_eq!(held.len(), 3);

    // By every id it is the same event, and its journey tells why it is here.
    let id = held[0].event_id;
    for text in [id.to_string(), "9001".to_owned(), format!(" {id} ")] {
        let found = find::find(db, &text).await.unwrap();
        assert_eq!(found.events.len(), 1, "{text}");
        assert_eq!(found.events[0].event_id, id, "{text}");
    }
    assert!(find::find(db, "9004").await.unwrap().events.is_empty());
    let (event, steps) = find::journey(db, &scope("desa-a"), id).await.unwrap();
    let event = event.unwrap();
    assert_eq!(
        (event.state.as_str(), event.reason.as_deref()),
        ("parked", Some("http_404"))
    );
    assert_eq!(steps[0].step, "parked");
    // Another tenant sees nothing of it.
    let (event, steps) = find::journey(db, &scope("desa-b"), id).await.unwrap();
    assert!(event.is_none() && steps.is_empty());

    // A look changes nothing; what does not fit is left out.
    let filter = Filter {
        reason: Some("http_404".into()),
        ..Filter::default()
    };
    let shown = replays::preview(db, &filter).await.unwrap();
    assert_eq!((shown.len(), shown[0].events, shown[0].all), (1, 3, 3));
    let other = Filter {
        reason: Some("http_410".into()),
        ..Filter::default()
    };
    assert!(replays::preview(db, &other).await.unwrap().is_empty());
    assert!(side.target.taken().is_empty());

    side.target.answer(200);
    let tenant = TenantId::parse("desa-a").unwrap();
    let job = replays::start(db, &filter, &tenant, &me()).await.unwrap();
    assert!(
        replays::wish(db, job, Wish::Stop, &tenant, &me()).await.unwrap()
            || replays::find(db, job).await.unwrap().unwrap().state == "done"
    );
    replays::wish(db, job, Wish::Resume, &tenant, &me())
        .await
        .unwrap();
    let mut taken = eventually("all three are taken", || async {
        Some(side.target.taken()).filter(|taken| taken.len() == 3)
    })
    .await;
    taken.sort_unstable();
    assert_eq!(taken, [9_001, 9_002, 9_003]);
    let job = eventually("the replay is done", || async {
        replays::find(db, job)
            .await
            .unwrap()
            .filter(|job| job.state == "done")
    })
    .await;
    assert_eq!((job.total, job.replayed), (3, 3));
    // It is over, and is still found, with who took it up.
    let found = eventually("it is written down where it went", || async {
        let found = find::find(db, "9001").await.unwrap().events;
        Some(found).filter(|found| found.len() == 1 && found[0].state == "delivered")
    })
    .await;
    assert_eq!(found[0].event_id, id);
    let (_, steps) = find::journey(db, &scope("desa-a"), id).await.unwrap();
    assert!(
        steps
            .iter()
            .any(|step| step.step == "replayed" && step.detail.as_deref() == Some("ibu-sari")),
        "{steps:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn how_a_route_fares_is_added_up_by_the_minute_and_by_the_hour() {
    let side = Forwarding::start(|_| {}).await;
    for id in 1..=2 {
        side.post(&message(42, id, id)).await;
    }
    side.until_settled().await;
    let db = &side.world.tools.db;
    for grain in route_times::GRAINS {
        eventually("both are counted", || async {
            let since = chrono::Utc::now() - chrono::TimeDelta::hours(3);
            let mut tx = TenantTransaction::begin(db, &scope("desa-a"), "test")
                .await
                .unwrap();
            let fared = route_times::of_route(&mut tx, side.route.id, grain, since)
                .await
                .unwrap();
            tx.commit().await.unwrap();
            let sum = |of: fn(&route_times::Fared) -> i64| fared.iter().map(|(_, one)| of(one)).sum::<i64>();
            let took: i64 = fared.iter().flat_map(|(_, one)| one.took).sum();
            ((sum(|one| one.accepted), sum(|one| one.delivered), took) == (2, 2, 2)).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_processes_counted_is_added() {
    let world = World::start().await;
    let mut fared = route_times::Fared {
        accepted: 2,
        ..route_times::Fared::default()
    };
    fared.delivered_after(70);
    let row = route_times::TimesRow {
        tenant: "desa-a".into(),
        route: uuid::Uuid::now_v7(),
        grain: 1,
        at: chrono::DateTime::from_timestamp(1_700_000_040, 0).unwrap(),
        fared,
    };
    for _ in 0..2 {
        let platform = PlatformScope::for_purpose("test");
        let mut tx = PlatformTransaction::begin(&world.database.db, platform)
            .await
            .unwrap();
        route_times::add(&mut tx, std::slice::from_ref(&row))
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
    let mut tx = TenantTransaction::begin(&world.database.db, &scope("desa-a"), "test")
        .await
        .unwrap();
    let found = route_times::of_route(&mut tx, row.route, 1, row.at)
        .await
        .unwrap();
    fared.add(&row.fared);
    assert_eq!(found, [(row.at, fared)]);
    drop(tx);
    // A target that only fails hangs.
    world
        .sql(&format!(
            "UPDATE route_times SET at = now(), retried = 3, delivered = 0, route_id = '{}'",
            {
                let route = route_of("desa-a", 42, "https://gowa.example/hook", &world.tools);
                put_of("desa-a", &world.tools, &route).await.id
            }
        ))
        .await;
    let platform = PlatformScope::for_purpose("test");
    let mut tx = PlatformTransaction::begin(&world.database.db, platform)
        .await
        .unwrap();
    let hanging = route_times::hanging(&mut tx, 10.0, 5).await.unwrap();
    assert_eq!(hanging.iter().map(|one| one.retried).collect::<Vec<_>>(), [3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_is_found_by_what_people_know_of_it() {
    let world = World::start().await;
    let mut numbers = Vec::new();
    for (inbox, name, url) in [
        (
            42,
            "Toko Éclair",
            "https://u:s3cret@gowa.example:3000/hook?key=rahasia",
        ),
        (43, "Warung", "https://lain.example/42"),
    ] {
        let mut route = route_of("desa-a", inbox, url, &world.tools);
        route.name = Some(name.into());
        if let Target::Url { url_shown, .. } = &mut route.target {
            *url_shown = shown_of(url);
        }
        numbers.push(put_of("desa-a", &world.tools, &route).await.number);
    }
    let search = async |text: &str| {
        let question = route_search::question(text).unwrap();
        let platform = PlatformScope::for_purpose("test");
        let mut tx = PlatformTransaction::begin(&world.database.db, platform)
            .await
            .unwrap();
        let found = route_search::search(&mut tx, &question, None, 10).await.unwrap();
        found.iter().map(|owned| owned.route.number).collect::<Vec<_>>()
    };
    let both = [numbers[1], numbers[0]];
    for (text, expected) in [
        ("42", &numbers[..1]),
        ("toko écl", &numbers[..1]),
        ("GOWA.example", &numbers[..1]),
        ("gowa.example:3000", &numbers[..1]),
        ("war", &numbers[1..]),
        ("example", &both[..]),
        ("desa-a", &both[..]),
        // Neither paths nor what is secret is looked through.
        ("rahasia", &[]),
        ("s3cret", &[]),
        ("hook", &[]),
    ] {
        assert_eq!(search(text).await, expected, "{text}");
    }
    // A page begins behind the last one of the page before.
    let platform = PlatformScope::for_purpose("test");
    let mut tx = PlatformTransaction::begin(&world.database.db, platform)
        .await
        .unwrap();
    let question = route_search::question("example").unwrap();
    let next = route_search::search(&mut tx, &question, Some(numbers[1]), 10)
        .await
        .unwrap();
    assert_eq!(
        next.iter().map(|owned| owned.route.number).collect::<Vec<_>>(),
        numbers[..1]
    );
}
