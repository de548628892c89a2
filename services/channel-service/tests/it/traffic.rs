//! What goes through is counted, by tenant and for all, whoever counts.

use channel_service::store::traffic::{self, Grain, TrafficRow};
use channel_service::traffic::{Counted, Counts, Minute, Traffic};
use channel_service::workers;
use chrono::{TimeDelta, Utc};
use domain::delivery::DeliveryStatus;
use domain::ids::TenantId;
use runtime::shutdown::Shutdown;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantTransaction};
use test_support::eventually;

use crate::harness::{Tenant, TestApp, Wishes, receipt, text};

const RARA: &str = "6281290000011";

async fn of_tenant(app: &TestApp, tenant: &Tenant, grain: Grain) -> Vec<TrafficRow> {
    let mut tx = TenantTransaction::begin(&app.direct, &tenant.scope(), "read traffic")
        .await
        .unwrap();
    let from = Utc::now() - TimeDelta::days(60);
    traffic::of_tenant(&mut tx, grain, from).await.unwrap()
}

async fn overall(app: &TestApp, grain: Grain) -> Vec<TrafficRow> {
    let scope = PlatformScope::for_purpose("read traffic");
    let mut tx = PlatformTransaction::begin(&app.direct, scope).await.unwrap();
    let from = Utc::now() - TimeDelta::days(60);
    traffic::overall(&mut tx, grain, from).await.unwrap()
}

fn sum(rows: &[TrafficRow]) -> Counts {
    let mut sum = Counts::default();
    rows.iter().for_each(|row| sum.add(&row.counts));
    sum
}

fn id(tenant: &str) -> TenantId {
    TenantId::parse(tenant).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_counted_at_every_step_and_for_its_tenant_only() {
    let app = TestApp::with(Wishes {
        settings: &[("TRAFFIC_WRITE_MS", "50")],
        ..Wishes::default()
    })
    .await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    let hello = satu.json(&text(RARA, "3EB0T1", "halo"));
    app.post(&hello).await.assert_kept();
    app.post(&hello).await;
    app.order(&satu, RARA, "jawaban").await;
    app.until_status("jawaban", "sent").await;
    let sent = app.simulator.phone(RARA).pop().unwrap().id;
    for _ in 0..2 {
        app.post(&satu.json(&receipt(RARA, &[&sent], "Delivered"))).await;
    }
    let counts = eventually("all of it is written down", || async {
        let counts = sum(&of_tenant(&app, &satu, Grain::Minute).await);
        (counts.of(Counted::Delivered) > 0 && counts.of(Counted::Sent) > 0).then_some(counts)
    })
    .await;
    assert_eq!(
        counts.numbers(),
        &[1, 1, 1, 0, 0, 0, 0],
        "each once, however often it was told"
    );
    assert_eq!(counts.latency().iter().sum::<u64>(), 1);
    assert!(counts.quantile(0.5).is_some());
    assert_eq!(sum(&of_tenant(&app, &satu, Grain::Hour).await), counts);
    assert_eq!(sum(&overall(&app, Grain::Minute).await), counts);
    assert!(of_tenant(&app, &dua, Grain::Minute).await.is_empty());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_several_processes_count_adds_up() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let (one, other) = (Traffic::default(), Traffic::default());
    for traffic in [&one, &other] {
        traffic.sent(&id("desa-satu"), Some(Utc::now() - TimeDelta::seconds(3)));
        traffic.moved(&id("desa-satu"), [DeliveryStatus::Failed, DeliveryStatus::Queued]);
        traffic.count(&id("desa-tiada"), Counted::Received, 5);
    }
    let (first, second) = tokio::join!(
        workers::traffic::write(&app.direct, &one),
        workers::traffic::write(&app.direct, &other)
    );
    first.unwrap();
    second.unwrap();
    assert!(one.is_empty() && other.is_empty());
    let mine = sum(&of_tenant(&app, &desa, Grain::Hour).await);
    assert_eq!((mine.of(Counted::Sent), mine.of(Counted::Failed)), (2, 2));
    let slow = mine.quantile(0.95).unwrap();
    assert!((2_000.0..=5_000.0).contains(&slow), "{slow}");
    // Who is no tenant has no row, and what was counted is not lost for all.
    let all = sum(&overall(&app, Grain::Minute).await);
    assert_eq!(all.of(Counted::Received), 10);
    assert_eq!(app.count("traffic WHERE tenant_id <> 'desa-satu'").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn minutes_go_after_a_day_and_hours_after_a_month() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let traffic = Traffic::default();
    let mut counts = Counts::default();
    counts.count(Counted::Sent, 1);
    for hours in [1, 30, 40 * 24] {
        let minute = (Utc::now() - TimeDelta::hours(hours)).timestamp() / 60;
        for tenant in [Some(id("desa-satu")), None] {
            traffic.put_back(vec![Minute {
                tenant,
                minute,
                counts,
            }]);
        }
    }
    workers::traffic::write(&app.direct, &traffic).await.unwrap();
    workers::traffic::trim(&app.direct, &Shutdown::new())
        .await
        .unwrap();
    assert_eq!(of_tenant(&app, &desa, Grain::Minute).await.len(), 1);
    assert_eq!(of_tenant(&app, &desa, Grain::Hour).await.len(), 2);
    assert_eq!(overall(&app, Grain::Minute).await.len(), 1);
    assert_eq!(overall(&app, Grain::Hour).await.len(), 2);
    app.finish().await;
}
