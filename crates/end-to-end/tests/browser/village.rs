//! An invented village office and its neighbours, with the conversations of a morning: so that pages have something to
//! show.

use base64::Engine as _;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultSpec, Inbound, InboundMedia};
use test_support::eventually_within;

use crate::world::{INTERNAL_API_KEY, PATIENCE, Tenant, World, address};

pub(crate) const TENANT: &str = "desa-sukamaju";
/// Whose chat the pictures show.
pub(crate) const WRITER: &str = "Wulandari";
const WRITERS_PHONE: &str = "6281234500017";
/// Nobody has ever had it on WhatsApp.
const NOBODYS_PHONE: &str = "6281234500099";
const ROAD: &[u8] = include_bytes!("road.png");

/// Others who wrote this morning: their phone, name and words.
const OTHERS: [(&str, &str, &str); 6] = [
    (
        "6281234500021",
        "Joko Susilo",
        "Pak, pengurusan KTP baru bisa hari ini?",
    ),
    (
        "6281234500022",
        "Dewi Lestari",
        "Terima kasih banyak, suratnya sudah saya terima 🙏",
    ),
    (
        "6281234500023",
        "Agus Pranoto",
        "Jadwal posyandu bulan depan tanggal berapa ya?",
    ),
    (
        "6281234500024",
        "Siti Aminah",
        "Assalamualaikum, apakah bantuan beras sudah datang?",
    ),
    (
        "6281234500025",
        "Bambang Hartono",
        "Lampu jalan depan balai desa mati sejak semalam",
    ),
    (
        "6281234500026",
        "Rina Marlina",
        "Untuk akta kelahiran syaratnya apa saja, Bu?",
    ),
];
/// Tenants that only stand in lists.
const NEIGHBOURS: [(&str, &str); 5] = [
    ("desa-mekarsari", "Desa Mekarsari"),
    ("desa-tirtomulyo", "Desa Tirtomulyo"),
    ("kelurahan-wonosari", "Kelurahan Wonosari"),
    ("koperasi-tani-jaya", "Koperasi Tani Jaya"),
    ("puskesmas-kebonagung", "Puskesmas Kebonagung"),
];

/// The office as it is at noon.
pub(crate) async fn settle(world: &World) -> Tenant {
    let tenant = world.add_tenant(TENANT).await;
    let named = format!(
        "WITH named AS (UPDATE channel.tenants SET name = 'Desa Sukamaju' WHERE tenant_id = '{TENANT}' RETURNING 1) \
         SELECT count(*) FROM named"
    );
    assert_eq!(world.tables.number(&named).await, 1);
    for (id, name) in NEIGHBOURS {
        let made = format!(
            "WITH made AS (INSERT INTO channel.tenants (tenant_id, name) VALUES ('{id}', '{name}') RETURNING 1) \
             SELECT count(*) FROM made"
        );
        assert_eq!(world.tables.number(&made).await, 1);
    }
    for (phone, name, text) in OTHERS {
        hears(world, &tenant, phone, name, Words::Text(text)).await;
    }
    converse(world, &tenant).await;
    world.simulator.clear_faults();
    take_a_morning(world).await;
    remember_a_day(world).await;
    tenant
}

/// What somebody sends.
enum Words {
    Text(&'static str),
    Picture(&'static str),
    Whole(Value),
}

async fn converse(world: &World, tenant: &Tenant) {
    let says = |words| hears(world, tenant, WRITERS_PHONE, WRITER, words);
    says(Words::Text(
        "Selamat pagi, mau tanya syarat membuat surat keterangan domisili",
    ))
    .await;
    answers(
        world,
        WRITERS_PHONE,
        "Selamat pagi, Bu Wulandari. Cukup bawa KTP, Kartu Keluarga, dan surat pengantar dari RT.",
    )
    .await;
    says(Words::Text(
        "Baik. Sekalian melapor, jalan di RT 03 rusak setelah hujan semalam",
    ))
    .await;
    says(Words::Picture("Ini fotonya")).await;
    let place = json!({"locationMessage": {
        "degreesLatitude": -7.7956, "degreesLongitude": 110.3695, "name": "Jalan Melati, RT 03"
    }});
    says(Words::Whole(place)).await;
    answers(
        world,
        WRITERS_PHONE,
        "Terima kasih laporannya, Bu. Sudah kami teruskan ke Pak Kadus, besok pagi dicek.",
    )
    .await;
    // Somebody without WhatsApp: a message that fails for good.
    let refuses = FaultKind::Status {
        status: 400,
        body: Some(json!({"code": 400, "success": false, "error": "no LID found for this user from server"})),
        retry_after: None,
    };
    world
        .simulator
        .add_fault(FaultSpec::on_path("/wa/chat/send/text", refuses))
        .unwrap();
    answers(world, NOBODYS_PHONE, "Pengingat: besok kerja bakti pukul 07.00.").await;
    let waiting = "channel.lane_tasks WHERE NOT parked";
    eventually_within(PATIENCE, "nothing is under way any more", || async {
        (world.tables.count(waiting).await == 0).then_some(())
    })
    .await;
}

/// The message, kept by the service.
async fn hears(world: &World, tenant: &Tenant, from: &str, name: &str, words: Words) {
    let mut inbound = Inbound {
        session: tenant.session.clone(),
        from: from.to_owned(),
        push_name: Some(name.to_owned()),
        ..Inbound::default()
    };
    match words {
        Words::Text(text) => inbound.text = Some(text.to_owned()),
        Words::Whole(message) => inbound.message = Some(message),
        Words::Picture(caption) => {
            inbound.text = Some(caption.to_owned());
            inbound.media = Some(InboundMedia {
                kind: "image".to_owned(),
                mimetype: "image/png".to_owned(),
                data: base64::engine::general_purpose::STANDARD.encode(ROAD),
                ..InboundMedia::default()
            });
        }
    }
    let kept = "SELECT count(*) FROM channel.messages WHERE direction = 'inbound'";
    let before = world.tables.number(kept).await;
    world.simulator.inbound(&inbound).unwrap();
    eventually_within(PATIENCE, "the message is kept", || async {
        (world.tables.number(kept).await > before).then_some(())
    })
    .await;
}

async fn answers(world: &World, phone: &str, text: &str) {
    let sent = world
        .http
        .post(format!("{}/internal/send", address(&world.channel)))
        .header("x-internal-api-key", INTERNAL_API_KEY)
        .json(&json!({"village_id": TENANT, "wa_user_id": phone, "message": text}))
        .send();
    let answer = sent.await.unwrap();
    // A message that cannot be sent is refused here; that it was tried is what counts.
    assert!(answer.status().as_u16() < 600);
}

/// What was said within a second was said over a morning, and answered by the office's people.
async fn take_a_morning(world: &World) {
    let spread = "WITH ranks AS (SELECT tenant_id, id, row_number() OVER (ORDER BY created_at DESC) AS rank FROM channel.messages), \
         spread AS (UPDATE channel.messages AS m SET sent_at = now() - r.rank * interval '7 minutes', \
             source = CASE WHEN direction = 'outbound' THEN 'admin' ELSE source END \
             FROM ranks r WHERE (m.tenant_id, m.id) = (r.tenant_id, r.id) RETURNING m.tenant_id, m.chat_id, m.sent_at), \
         chats AS (UPDATE channel.chats AS c SET last_message_at = s.at \
             FROM (SELECT tenant_id, chat_id, max(sent_at) AS at FROM spread GROUP BY 1, 2) s \
             WHERE (c.tenant_id, c.id) = (s.tenant_id, s.chat_id) RETURNING 1) \
         SELECT count(*) FROM chats";
    assert!(world.tables.number(spread).await > 0);
}

/// Plots show more than the minute that this took.
async fn remember_a_day(world: &World) {
    for (table, tenant) in [
        ("traffic", format!("'{TENANT}',")),
        ("traffic_overall", String::new()),
    ] {
        let columns = if tenant.is_empty() { "" } else { "tenant_id, " };
        let filled = format!(
            "WITH filled AS (INSERT INTO channel.{table} ({columns}grain, at, received, sent, delivered, read, failed, latency) \
             SELECT {tenant} grain, to_timestamp(floor(extract(epoch FROM now()) / grain) * grain) - n * grain * interval '1 second', \
             scale * (9 + (7 * sin(n / 9.0))::int + n % 4), scale * (7 + (6 * sin(n / 9.0))::int + n % 3), \
             scale * (7 + (6 * sin(n / 9.0))::int), scale * (5 + (4 * sin(n / 9.0))::int), (n % 37 = 5)::int * scale, ARRAY[1, 3, 6, 4 + n % 3, 1]::bigint[] \
             FROM (VALUES (60, 1, 1439), (3600, 40, 719)) AS grains (grain, scale, most), generate_series(1, most) AS n \
             ON CONFLICT DO NOTHING RETURNING 1) SELECT count(*) FROM filled"
        );
        assert!(world.tables.number(&filled).await > 0);
    }
    let checked = "WITH checked AS (INSERT INTO channel.endpoint_checks (endpoint, at, status, reason, latency_ms) \
         SELECT 'Primary', now() - n * interval '10 minutes', \
         CASE WHEN n BETWEEN 40 AND 43 THEN 'unhealthy' ELSE 'healthy' END, \
         CASE WHEN n BETWEEN 40 AND 43 THEN 'timeout' END, 12 + n % 7 \
         FROM generate_series(1, 144) AS n RETURNING 1) SELECT count(*) FROM checked";
    assert_eq!(world.tables.number(checked).await, 144);
}
