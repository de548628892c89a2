//! Two tenants on two kinds of WhatsApp API servers, from the operator's first command to a message each way: a superadmin
//! gives each of them an endpoint by name, their admins add a device by scanning a code.

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{GowaConfigChange, GowaInbound, Inbound, WaConfigChange};
use test_support::eventually_within;

use crate::world::{INTERNAL_API_KEY, PATIENCE, Setup, World, address};

const PHONE: &str = "6281234500022";
const PASSWORD: &str = "kata-sandi-yang-panjang-1";

/// Somebody who has signed in to the dashboard.
pub(crate) struct Person<'a> {
    world: &'a World,
    bearer: String,
}

impl<'a> Person<'a> {
    pub(crate) async fn sign_in(world: &'a World, email: &str, role: &[&str]) -> Self {
        let create = [&["user", "create", "--email", email], role].concat();
        let made = world.channel.run(&create, &[("USER_PASSWORD", PASSWORD)]).await;
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut person = Self {
            world,
            bearer: String::new(),
        };
        let told = json!({"email": email, "password": PASSWORD});
        let (status, signed_in) = person.call(Method::POST, "/auth/login", told).await;
        assert_eq!(status, 200, "{signed_in}");
        person.bearer = signed_in["data"]["token"].as_str().unwrap().to_owned();
        person
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}/api{path}", address(&self.world.channel));
        let mut request = self
            .world
            .http
            .request(method.clone(), url)
            .bearer_auth(&self.bearer);
        if method != Method::GET {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.call(Method::GET, path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// Adds a device and waits for the code that is to be scanned.
    pub(crate) async fn add_device(&self) -> String {
        let (status, made) = self
            .call(Method::POST, "/whatsapp/devices", json!({"name": "Meja depan"}))
            .await;
        assert_eq!(status, 201, "{made}");
        let id = made["device"]["id"].as_str().unwrap().to_owned();
        eventually_within(PATIENCE, "a code is shown", || async {
            let shown = self.get(&format!("/whatsapp/devices/{id}/qr")).await;
            let code = shown["qr"].as_str()?;
            code.starts_with("data:image/png;base64,").then_some(())
        })
        .await;
        id
    }

    pub(crate) async fn until_connected(&self, device: &str) {
        eventually_within(PATIENCE, "the device is connected", || async {
            let shown = self.get(&format!("/whatsapp/devices/{device}")).await;
            (shown["device"]["status"] == "connected").then_some(())
        })
        .await;
    }
}

async fn kept(world: &World, text: &str) {
    let query = format!("channel.messages WHERE body = '{text}' AND direction = 'inbound'");
    eventually_within(PATIENCE, "the message is kept", || async {
        (world.tables.count(&query).await == 1).then_some(())
    })
    .await;
}

async fn send(world: &World, tenant: &str, text: &str) {
    let answer = world
        .http
        .post(format!("{}/internal/send", address(&world.channel)))
        .header("x-internal-api-key", INTERNAL_API_KEY)
        .json(&json!({"village_id": tenant, "wa_user_id": PHONE, "message": text}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_tenant_gets_an_endpoint_a_device_and_its_messages() {
    let world = World::start(Setup {
        with_gowa: true,
        ..Setup::named("endpoints")
    })
    .await;
    // People scan; the simulator does not do it for them.
    world.simulator.configure_wa(WaConfigChange {
        auto_login: Some(false),
        ..WaConfigChange::default()
    });
    world.simulator.configure_gowa(GowaConfigChange {
        auto_login: Some(false),
        ..GowaConfigChange::default()
    });
    let root = Person::sign_in(&world, "super@kanal.id", &["--role", "superadmin"]).await;
    assert_eq!(
        root.get("/whatsapp/available-endpoints").await,
        json!({"endpoints": ["Primary", "Toko"], "count": 2})
    );

    let mut people = Vec::new();
    for (tenant, endpoint) in [("desa-genfity", "Primary"), ("toko-gowa", "Toko")] {
        let (status, made) = root
            .call(
                Method::POST,
                "/tenants",
                json!({"village_id": tenant, "name": tenant}),
            )
            .await;
        assert!((200..300).contains(&status), "{made}");
        let path = format!("/whatsapp/tenant-config/{tenant}");
        let (status, given) = root
            .call(Method::POST, &path, json!({"endpoint_name": endpoint}))
            .await;
        assert_eq!((status, &given["success"]), (200, &json!(true)), "{given}");
        let email = format!("admin@{tenant}.id");
        let admin = Person::sign_in(&world, &email, &["--role", "tenant_admin", "--tenant", tenant]).await;
        let config = admin.get(&path).await["config"].take();
        assert_eq!(config["endpoint_name"], endpoint);
        assert!(
            !config.to_string().contains("http"),
            "no address is shown: {config}"
        );
        let (status, _) = admin
            .call(Method::POST, &path, json!({"endpoint_name": "Primary"}))
            .await;
        assert_eq!(status, 403, "only a superadmin assigns");
        people.push(admin);
    }
    let [genfity, gowa] = &people[..] else {
        panic!("two admins");
    };

    let device = genfity.add_device().await;
    let session = world.simulator.wa_users().remove(0);
    world.simulator.scan_qr(&session.name, None).unwrap();
    genfity.until_connected(&device).await;
    world
        .simulator
        .inbound(&Inbound {
            session: session.name.clone(),
            from: PHONE.to_owned(),
            text: Some("Halo desa".to_owned()),
            ..Inbound::default()
        })
        .unwrap();
    kept(&world, "Halo desa").await;
    send(&world, "desa-genfity", "Salam dari desa").await;
    assert_eq!(world.simulator.phone(PHONE).len(), 1);

    let device = gowa.add_device().await;
    let there = world.simulator.gowa_devices().remove(0);
    let number = "6281200000077:1@s.whatsapp.net";
    world
        .simulator
        .scan_gowa(&there.id, Some(number.to_owned()))
        .unwrap();
    gowa.until_connected(&device).await;
    world
        .simulator
        .gowa_inbound(&GowaInbound {
            device: there.id.clone(),
            from: PHONE.to_owned(),
            text: Some("Halo toko".to_owned()),
            ..GowaInbound::default()
        })
        .unwrap();
    kept(&world, "Halo toko").await;
    send(&world, "toko-gowa", "Salam dari toko").await;
    let sends = world.simulator.gowa_sends();
    assert_eq!(sends.len(), 1);
    assert_eq!(sends[0].device, there.id);
    world.quiet().await;

    for person in &people {
        let shown = person.get("/whatsapp/devices").await;
        assert_eq!(shown["count"], 1, "nobody sees the other's device: {shown}");
    }
    world.finish().await;
}
