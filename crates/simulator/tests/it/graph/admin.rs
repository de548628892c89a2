use reqwest::Method;
use serde_json::{Value, json};
use simulator::{GraphCallback, GraphInbound, GraphTemplate, NewGraphNumber};

use super::{NUMBER, PERSON, SECRET, TOKEN, WABA, call, callback, get, number, post, read, send, text_to};
use crate::receiver::Receiver;
use crate::{client, eventually, start};

#[tokio::test]
async fn a_number_tells_the_fields_asked_for_and_registers_with_its_pin() {
    let simulator = start().await;
    simulator.create_graph_number(NewGraphNumber {
        id: NUMBER.to_owned(),
        phone: "6221550001111".to_owned(),
        per_second: Some(1_000.0),
        unregistered: true,
        ..NewGraphNumber::default()
    });
    let told = get(&simulator, &format!("/{NUMBER}")).await.json;
    assert_eq!(
        (&told["id"], &told["display_phone_number"]),
        (&json!(NUMBER), &json!("6221550001111"))
    );
    let told = get(
        &simulator,
        &format!("/{NUMBER}?fields=throughput,quality_rating,status"),
    )
    .await
    .json;
    assert_eq!(
        told,
        json!({"id": NUMBER, "throughput": {"level": "HIGH"}, "quality_rating": "GREEN", "status": "PENDING"})
    );
    assert_eq!(
        get(&simulator, &format!("/{NUMBER}?fields=shoe_size"))
            .await
            .error(),
        (400, 100)
    );

    assert_eq!(send(&simulator, text_to(PERSON)).await.error(), (400, 133_010));
    let register = |pin: &'static str| {
        let simulator = &simulator;
        async move {
            post(
                simulator,
                &format!("/{NUMBER}/register"),
                json!({"messaging_product": "whatsapp", "pin": pin}),
            )
            .await
        }
    };
    assert_eq!(register("12").await.error(), (400, 100));
    assert_eq!(register("123456").await.json, json!({"success": true}));
    assert_eq!(send(&simulator, text_to(PERSON)).await.status, 200);
    assert_eq!(
        post(&simulator, &format!("/{NUMBER}/deregister"), json!({}))
            .await
            .status,
        200
    );
    assert_eq!(register("654321").await.error(), (400, 133_005));
    for _ in 0..10 {
        register("123456").await;
    }
    assert_eq!(register("123456").await.error(), (400, 133_016));
}

#[tokio::test]
async fn templates_are_listed_by_pages_made_and_deleted() {
    let simulator = start().await;
    number(&simulator, None);
    for place in 0..7 {
        let template = GraphTemplate {
            name: format!("t{place}"),
            ..GraphTemplate::default()
        };
        simulator.put_graph_template(WABA, template).unwrap();
    }
    let path = format!("/{WABA}/message_templates");
    let made = post(
        &simulator,
        &path,
        json!({"name": "baru", "language": "id", "category": "MARKETING", "components": [{"type": "BODY", "text": "Halo"}]}),
    )
    .await;
    assert_eq!(made.json["status"], "PENDING");
    let mut names = Vec::new();
    let mut next = format!("{}/v22.0{path}?limit=3", simulator.graph_url());
    let mut pages = 0;
    loop {
        let page = read(client().get(&next).bearer_auth(TOKEN).send().await.unwrap())
            .await
            .json;
        pages += 1;
        names.extend(
            page["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["name"].as_str().unwrap().to_owned()),
        );
        match page["paging"]["next"].as_str() {
            Some(url) => next = url.to_owned(),
            None => break,
        }
    }
    assert_eq!((pages, names.len(), names[7].as_str()), (3, 8, "baru"));
    assert_eq!(
        get(&simulator, &format!("{path}?status=PENDING")).await.json["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        get(&simulator, &format!("{path}?after=nonsense")).await.error(),
        (400, 131_059)
    );
    assert_eq!(
        post(&simulator, &path, json!({"name": "Baru!"})).await.error(),
        (400, 100)
    );
    let delete = || {
        call(
            &simulator,
            Method::DELETE,
            "/210987650000111/message_templates?name=baru",
            None,
        )
    };
    assert_eq!(delete().await.json, json!({"success": true}));
    assert_eq!(delete().await.error(), (400, 100));
    assert_eq!(get(&simulator, "/1/message_templates").await.error(), (400, 100));
}

#[tokio::test]
async fn a_token_is_looked_into_with_the_apps_token() {
    let simulator = start().await;
    number(&simulator, None);
    let look = |with: String, at: &'static str| {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("input_token", at)
            .append_pair("access_token", &with)
            .finish();
        let request = client().get(format!("{}/v22.0/debug_token?{query}", simulator.graph_url()));
        async { read(request.send().await.unwrap()).await }
    };
    let app = format!("900000000000001|{SECRET}");
    let told = look(app.clone(), TOKEN).await.json;
    assert_eq!(
        (
            &told["data"]["is_valid"],
            &told["data"]["expires_at"],
            &told["data"]["granular_scopes"][0]["target_ids"]
        ),
        (&json!(true), &json!(0), &json!([WABA]))
    );
    assert_eq!(look(app, "made-up").await.json["data"]["is_valid"], false);
    assert_eq!(
        look("900000000000001|wrong".to_owned(), TOKEN).await.error(),
        (401, 190)
    );
}

#[tokio::test]
async fn callbacks_are_asked_before_they_count_and_the_nearest_wins() {
    let simulator = start().await;
    let [app, waba, own] = [
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
    ];
    number(&simulator, Some(&app));
    let verified = simulator.verify_graph_callback("").await.unwrap();
    assert!(verified.verified, "{verified:?}");
    let inbound = || {
        let inbound = GraphInbound {
            number: NUMBER.to_owned(),
            from: PERSON.to_owned(),
            ..GraphInbound::default()
        };
        simulator.graph_inbound(&inbound).unwrap();
    };
    let path = format!("/{WABA}/subscribed_apps");
    let wish = |receiver: &Receiver, token: &str| json!({"override_callback_uri": receiver.url, "verify_token": token});
    assert_eq!(
        post(&simulator, &path, wish(&waba, "wrong")).await.error(),
        (400, 2200)
    );
    inbound();
    eventually("to the app", || app.count() == 1).await;
    assert_eq!(
        post(&simulator, &path, wish(&waba, "vt-demo")).await.json,
        json!({"success": true})
    );
    inbound();
    eventually("to the account", || waba.count() == 1).await;
    let number_path = format!("/{NUMBER}");
    let configured = json!({"webhook_configuration": wish(&own, "vt-demo")});
    assert_eq!(post(&simulator, &number_path, configured).await.status, 200);
    inbound();
    eventually("to the number", || own.count() == 1).await;
    let told = get(&simulator, &format!("{number_path}?fields=webhook_configuration"))
        .await
        .json;
    assert_eq!(
        told["webhook_configuration"],
        json!({"application": app.url, "whatsapp_business_account": waba.url, "phone_number": own.url})
    );
    let removed = json!({"webhook_configuration": {"override_callback_uri": ""}});
    post(&simulator, &number_path, removed).await;
    post(&simulator, &path, json!({})).await;
    inbound();
    eventually("to the app again", || app.count() == 2).await;
    assert_eq!((waba.count(), own.count()), (1, 1));

    let listed: Value = get(&simulator, &path).await.json;
    assert_eq!(
        listed["data"][0]["whatsapp_business_api_data"]["id"],
        "900000000000001"
    );
    call(&simulator, Method::DELETE, &path, None).await;
    assert_eq!(get(&simulator, &path).await.json, json!({"data": []}));
    let before = simulator.graph_deliveries().len();
    inbound();
    post(&simulator, &path, json!({})).await;
    inbound();
    eventually("subscribed again", || app.count() == 3).await;
    eventually("noted", || simulator.graph_deliveries().len() == before + 1).await;

    let wrong = GraphCallback {
        verify_token: "wrong".to_owned(),
        ..callback(&app)
    };
    simulator.create_graph_number(NewGraphNumber {
        id: NUMBER.to_owned(),
        webhook: Some(wrong),
        ..NewGraphNumber::default()
    });
    let refused = simulator.verify_graph_callback("").await.unwrap();
    assert_eq!((refused.verified, refused.status), (false, Some(403)));
}
