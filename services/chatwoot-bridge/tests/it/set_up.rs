//! Connecting without clicking, the self-test, and webhooks that somebody overwrites.

use chatwoot_bridge::flows::drift;
use domain::ids::AccountId;
use reqwest::StatusCode;
use serde_json::{Value, json};
use simulator::{ChatwootConfigChange, FaultKind, FaultSpec, NewAccount, NewInbox, Simulator};
use test_support::eventually;

use crate::operator::{Office, Said};
use crate::world::start_chatwoot;

/// A Chatwoot account whose token is known.
struct Customer {
    chatwoot: Simulator,
    account: u64,
    token: String,
}

impl Customer {
    async fn start() -> Self {
        let chatwoot = start_chatwoot().await;
        let account = chatwoot.create_chatwoot_account(NewAccount::default());
        Self {
            chatwoot,
            account: account.id,
            token: account.api_access_token,
        }
    }

    fn wish(&self, account: AccountId) -> Value {
        json!({
            "url": format!("{}/chatwoot/", self.chatwoot.base_url()), "apiToken": self.token, "tenantId": "desa-a",
            "whatsappAccountId": account, "accountId": self.account,
        })
    }

    fn inbox(&self, webhook_url: &str, channel: Option<&str>) -> u64 {
        let new = NewInbox {
            account_id: self.account,
            name: "WA Contoh".into(),
            webhook_url: webhook_url.into(),
            secret: None,
            lock_to_single_conversation: false,
            channel_type: channel.map(str::to_owned),
        };
        self.chatwoot.create_chatwoot_inbox(new).unwrap().id
    }

    /// What Chatwoot has of an inbox.
    async fn shown(&self, inbox: u64) -> Value {
        let url = format!(
            "{}/chatwoot/api/v1/accounts/{}/inboxes/{inbox}",
            self.chatwoot.base_url(),
            self.account
        );
        let request = reqwest::Client::new()
            .get(url)
            .header("api_access_token", &self.token);
        request.send().await.unwrap().json().await.unwrap()
    }

    async fn point(&self, inbox: u64, webhook_url: &str) {
        let url = format!(
            "{}/chatwoot/api/v1/accounts/{}/inboxes/{inbox}",
            self.chatwoot.base_url(),
            self.account
        );
        let request = reqwest::Client::new()
            .patch(url)
            .header("api_access_token", &self.token);
        let body = json!({"channel": {"webhook_url": webhook_url}});
        assert!(request.json(&body).send().await.unwrap().status().is_success());
    }
}

async fn wished(office: &Office, wish: &Value) -> Said {
    office.post("/admin/setup", wish).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inbox_is_made_tested_both_ways_and_found_again() {
    let (office, customer) = (Office::open().await, Customer::start().await);
    let account = AccountId::generate();
    let done = wished(&office, &customer.wish(account)).await.ok()["setUp"].clone();
    assert_eq!(done["inboxCreated"], true);
    assert_eq!(done["test"]["toChatwoot"]["works"], true, "{done}");
    assert_eq!(done["test"]["fromChatwoot"]["works"], true, "{done}");
    let ours = format!("{}/webhook", office.running.base);
    assert_eq!(done["webhookUrl"], ours.as_str());
    let inbox = done["inboxId"].as_u64().unwrap();
    assert_eq!(customer.shown(inbox).await["webhook_url"], ours.as_str());
    // This Chatwoot listens on a private address, as this bridge does.
    let warned: Vec<&str> = done["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["code"].as_str().unwrap())
        .collect();
    assert!(warned.contains(&"bridge_url_private"), "{done}");
    assert!(!done.to_string().contains(&customer.token));

    // Nobody on WhatsApp was sent the test, and its conversation is over.
    assert_eq!(office.world.accepted_replies().await, 0);
    let conversations = customer.chatwoot.chatwoot_conversations(customer.account);
    assert_eq!(
        (conversations.len(), conversations[0].status.as_str()),
        (1, "resolved")
    );

    // Again, and then with the answer to the creation lost: it is the same inbox.
    let again = wished(&office, &customer.wish(account)).await.ok()["setUp"].clone();
    assert_eq!(
        (&again["inboxId"], &again["inboxCreated"], &again["routeId"]),
        (&done["inboxId"], &json!(false), &done["routeId"])
    );
    assert_eq!(
        customer.chatwoot.chatwoot_conversations(customer.account).len(),
        1
    );
    let acts = office.get("/admin/log").await.ok();
    assert_eq!(acts["acts"][0]["action"], "inbox.connect");

    // What was chosen is kept, and shown.
    let path = format!("/admin/inboxes/{}", done["inboxLinkId"].as_str().unwrap());
    let mut wish = customer.wish(account);
    wish["conversationPolicy"] = json!("new");
    wished(&office, &wish).await.ok();
    assert_eq!(office.get(&path).await.ok()["inbox"]["conversationPolicy"], "new");
    let choice = json!({"signAgents": true, "ignored": ["@g.us"], "templates": "whatsapp"});
    let chosen = office.put(&path, &choice).await.ok()["inbox"].clone();
    for (key, value) in [
        ("signAgents", json!(true)),
        ("ignored", json!(["@g.us"])),
        ("templates", json!("whatsapp")),
        ("conversationPolicy", json!("new")),
        ("sendAutomatic", json!(true)),
    ] {
        assert_eq!(chosen[key], value, "{key}");
    }
    assert_eq!(
        office
            .put(&path, &json!({"templates": "x"}))
            .await
            .status
            .as_u16(),
        422
    );
    // Whose account is meant cannot be asked of anybody here.
    wish.as_object_mut().unwrap().remove("whatsappAccountId");
    let said = wished(&office, &wish).await;
    assert_eq!(
        (said.status.as_u16(), &said.json()["code"]),
        (409, &json!("which_whatsapp_account"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_chatwoot_shows_is_asked_for_from_then_on() {
    let (office, customer) = (Office::open().await, Customer::start().await);
    customer.chatwoot.configure_chatwoot(ChatwootConfigChange {
        shows_secrets: Some(true),
        ..ChatwootConfigChange::default()
    });
    // The token's only account need not be named.
    let mut wish = customer.wish(AccountId::generate());
    wish.as_object_mut().unwrap().remove("accountId");
    let done = wished(&office, &wish).await.ok()["setUp"].clone();
    assert_eq!(
        (&done["signed"], &done["accountId"]),
        (&json!(true), &json!(customer.account))
    );
    assert_eq!(done["test"]["fromChatwoot"]["works"], true, "{done}");
    let event = json!({"event": "message_created", "id": 1, "message_type": "outgoing", "content": "x",
        "account": {"id": customer.account}, "inbox": {"id": done["inboxId"]}, "conversation": {"id": 9}});
    let hook = format!("{}/webhook", office.running.base);
    let unsigned = office
        .client
        .post(hook)
        .body(event.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(unsigned.status().as_u16(), 401);
    // Again: the secret is the same, and so nothing that is under way is refused.
    let again = wished(&office, &wish).await.ok()["setUp"].clone();
    assert_eq!(
        (&again["signed"], &again["test"]["fromChatwoot"]["works"]),
        (&json!(true), &json!(true)),
        "{again}"
    );
    let one = "SELECT count(*) AS n FROM inboxes WHERE cardinality(webhook_secrets_sealed) = 1";
    assert_eq!(office.world.count(one).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inbox_is_adopted_by_its_id_or_by_our_address_and_never_by_its_name() {
    let (office, customer) = (Office::open().await, Customer::start().await);
    let ours = format!("{}/webhook", office.running.base);
    let theirs = customer.inbox("https://gowa.example/hook?secret=s3cret", None);
    let widget = customer.inbox("", Some("Channel::WebWidget"));
    let mut wish = customer.wish(AccountId::generate());
    wish["inboxId"] = json!(theirs);
    let done = wished(&office, &wish).await.ok()["setUp"].clone();
    assert_eq!(done["webhookWas"], "https://gowa.example/hook?secret=***");
    assert_eq!(customer.shown(theirs).await["webhook_url"], ours.as_str());
    for (inbox, code) in [(widget, "not_an_api_inbox"), (99_999, "no_such_inbox")] {
        wish["inboxId"] = json!(inbox);
        let said = wished(&office, &wish).await;
        assert_eq!(
            (said.status, &said.json()["code"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!(code))
        );
    }

    // An inbox that sends here already and is nobody's is taken rather than another one made.
    let waiting = customer.inbox(&ours, None);
    let mut wish = customer.wish(AccountId::generate());
    wish["inboxName"] = json!("WA Contoh");
    let done = wished(&office, &wish).await.ok()["setUp"].clone();
    assert_eq!(
        (&done["inboxId"], &done["inboxCreated"]),
        (&json!(waiting), &json!(false))
    );
    // Two of them are a question.
    let (one, two) = (customer.inbox(&ours, None), customer.inbox(&ours, None));
    wish["whatsappAccountId"] = json!(AccountId::generate());
    let said = wished(&office, &wish).await;
    assert_eq!(
        (said.status.as_u16(), &said.json()["code"]),
        (409, &json!("which_inbox"))
    );
    let named: Vec<u64> = said.json()["inboxes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].as_u64().unwrap())
        .collect();
    assert_eq!(named, [one, two]);

    // What is another tenant's is left alone there.
    let before = customer.shown(theirs).await;
    let mut other = customer.wish(AccountId::generate());
    other["inboxId"] = json!(theirs);
    other["tenantId"] = json!("desa-b");
    let said = wished(&office, &other).await;
    assert_eq!(
        (said.status.as_u16(), &said.json()["code"]),
        (409, &json!("inbox_taken"))
    );
    assert_eq!(customer.shown(theirs).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_header_is_no_wrong_token() {
    let (office, customer) = (Office::open().await, Customer::start().await);
    let account = AccountId::generate();
    let mut wish = customer.wish(account);
    wish["apiToken"] = json!("wr0ng-token");
    let said = wished(&office, &wish).await;
    assert_eq!(
        (said.status.as_u16(), &said.json()["code"]),
        (502, &json!("token_refused"))
    );
    assert!(!said.text.contains("wr0ng-token"));
    // A proxy drops the header: Chatwoot sees nobody.
    let path = format!("/chatwoot/api/v1/accounts/{}/inboxes", customer.account);
    let unseen = r#"{"errors":["You need to sign in or sign up before continuing."]}"#;
    for (body, code, advice) in [
        (unseen, "token_not_seen", "underscores_in_headers"),
        (
            r#"{"error":"You are not authorized to do this action"}"#,
            "token_without_right",
            "administrator",
        ),
    ] {
        let kind = FaultKind::Status {
            status: 401,
            body: Some(body.into()),
            retry_after: None,
        };
        customer
            .chatwoot
            .add_fault(FaultSpec::on_path(path.clone(), kind).times(2))
            .unwrap();
        let said = wished(&office, &customer.wish(account)).await;
        assert_eq!((said.status.as_u16(), &said.json()["code"]), (502, &json!(code)));
        assert!(said.text.contains(advice), "{}", said.text);
        customer.chatwoot.clear_faults();
    }
    assert_eq!(office.world.count("SELECT count(*) AS n FROM inboxes").await, 0);
    for (field, value) in [
        ("url", json!("http://169.254.169.254")),
        ("whatsappAccountId", json!("x")),
        ("apiToken", json!("")),
    ] {
        let mut wish = customer.wish(account);
        wish[field] = value;
        let said = wished(&office, &wish).await;
        assert!(
            said.status.as_u16() == 422 && said.json()["fields"][field].is_string(),
            "{said:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overwritten_webhook_is_told_and_restored() {
    let (office, customer) = (Office::open().await, Customer::start().await);
    let done = wished(&office, &customer.wish(AccountId::generate())).await.ok()["setUp"].clone();
    let (inbox, route) = (
        done["inboxId"].as_u64().unwrap(),
        done["routeId"].as_i64().unwrap(),
    );
    let (path, tools) = (format!("/admin/routes/{route}"), &office.world.tools);
    let ours = format!("{}/webhook", office.running.base);
    let state = async || office.get(&path).await.ok()["route"]["drift"].clone();

    drift::round(tools).await.unwrap();
    assert_eq!(state().await["state"], "ok");
    customer
        .point(inbox, "https://other.example/hook?token=s3cret")
        .await;
    drift::round(tools).await.unwrap();
    let told = state().await;
    assert_eq!(
        (&told["state"], &told["found"]),
        (&json!("changed"), &json!("https://other.example/hook?token=***"))
    );
    // Told, and left alone until somebody wants it.
    assert_ne!(customer.shown(inbox).await["webhook_url"], ours.as_str());
    let restored = office.post(&format!("{path}/restore"), &json!({})).await.ok();
    assert_eq!(restored["drift"]["state"], "ok");
    assert_eq!(customer.shown(inbox).await["webhook_url"], ours.as_str());
    assert_eq!(state().await["state"], "ok");

    customer.point(inbox, "").await;
    let looked = office.post(&format!("{path}/check"), &json!({})).await.ok();
    assert_eq!(looked["drift"]["state"], "missing");
    let allowed = office.put(&path, &json!({"autoRestore": true})).await.ok();
    assert_eq!(allowed["route"]["autoRestore"], true);
    drift::round(tools).await.unwrap();
    assert_eq!(customer.shown(inbox).await["webhook_url"], ours.as_str());
    let acts = office.get("/admin/log").await.ok();
    assert_eq!(
        (&acts["acts"][0]["action"], &acts["acts"][0]["actor"]),
        (&json!("route.restore"), &json!("chatwoot-bridge"))
    );

    // With a token in the address: a new one is told, and works.
    let token = json!({"pathToken": "an-old-token-nobody-knows"});
    office.put(&path, &token).await.ok();
    assert_eq!(
        office.post(&format!("{path}/check"), &json!({})).await.ok()["drift"]["state"],
        "changed"
    );
    assert_eq!(
        office.post(&format!("{path}/restore"), &json!({})).await.ok()["drift"]["state"],
        "ok"
    );
    let shown = customer.shown(inbox).await["webhook_url"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(shown.starts_with(&format!("{ours}?token=")), "{shown}");

    // Chatwoot does not take another one: what comes with the old one is still believed.
    customer.point(inbox, "").await;
    let token = json!({"pathToken": "an-old-token-that-is-in-use"});
    office.put(&path, &token).await.ok();
    let kind = FaultKind::Status {
        status: 422,
        body: None,
        retry_after: None,
    };
    let at_inbox = format!("/chatwoot/api/v1/accounts/{}/inboxes/{inbox}", customer.account);
    customer
        .chatwoot
        .add_fault(FaultSpec {
            method: Some("PATCH".into()),
            ..FaultSpec::on_path(at_inbox.as_str(), kind).times(1)
        })
        .unwrap();
    let refused = office.post(&format!("{path}/restore"), &json!({})).await;
    assert_eq!(refused.status.as_u16(), 502, "{refused:?}");
    let event = json!({"event": "message_created", "id": 1, "message_type": "outgoing", "content": "x",
        "account": {"id": customer.account}, "inbox": {"id": inbox}, "conversation": {"id": 9}});
    let hook = format!("{ours}?token=an-old-token-that-is-in-use");
    let answer = office.client.post(hook).body(event.to_string()).send().await;
    assert_eq!(answer.unwrap().status().as_u16(), 200);

    // Its yes was lost: what it took is what the route asks for.
    let lost = FaultSpec {
        method: Some("PATCH".into()),
        ..FaultSpec::on_path(at_inbox.as_str(), FaultKind::LostAnswer).times(1)
    };
    customer.chatwoot.add_fault(lost).unwrap();
    let restored = office.post(&format!("{path}/restore"), &json!({})).await.ok();
    assert_eq!(restored["drift"]["state"], "ok");
    let shown = customer.shown(inbox).await["webhook_url"].clone();
    let answer = office
        .client
        .post(shown.as_str().unwrap())
        .body(event.to_string());
    assert_eq!(answer.send().await.unwrap().status().as_u16(), 200);

    let kind = FaultKind::Status {
        status: 401,
        body: None,
        retry_after: None,
    };
    let inboxes = format!("/chatwoot/api/v1/accounts/{}/inboxes", customer.account);
    customer
        .chatwoot
        .add_fault(FaultSpec::on_path(inboxes, kind).times(1))
        .unwrap();
    assert_eq!(
        office.post(&format!("{path}/check"), &json!({})).await.ok()["drift"]["state"],
        "token_refused"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_somebody_chose_while_chatwoot_thought_about_ours_stays() {
    let (office, customer) = (Office::open().await, Customer::start().await);
    let done = wished(&office, &customer.wish(AccountId::generate())).await.ok()["setUp"].clone();
    let (inbox, route) = (
        done["inboxId"].as_u64().unwrap(),
        done["routeId"].as_i64().unwrap(),
    );
    let path = format!("/admin/routes/{route}");
    let old = json!({"pathToken": "an-old-token-that-is-in-use"});
    office.put(&path, &old).await.ok();
    let at_inbox = format!("/chatwoot/api/v1/accounts/{}/inboxes/{inbox}", customer.account);
    let refusal = FaultKind::Status {
        status: 422,
        body: None,
        retry_after: None,
    };
    for kind in [FaultKind::Delay { ms: 1_500 }, refusal] {
        let fault = FaultSpec {
            method: Some("PATCH".into()),
            ..FaultSpec::on_path(at_inbox.as_str(), kind).times(1)
        };
        customer.chatwoot.add_fault(fault).unwrap();
    }
    let tokens = async || {
        let query = "SELECT count(DISTINCT path_token_sha256) AS n FROM routes WHERE path_token_sha256 <> \
                     sha256('an-old-token-that-is-in-use')";
        office.world.count(query).await
    };
    let restoring = async { office.post(&format!("{path}/restore"), &json!({})).await };
    let choosing = async {
        eventually("the route has the new token", || async {
            (tokens().await == 1).then_some(())
        })
        .await;
        let chosen = json!({"pathToken": "somebody-chose-this-token"});
        office.put(&path, &chosen).await.ok();
    };
    let (refused, ()) = tokio::join!(restoring, choosing);
    assert_eq!(refused.status.as_u16(), 502, "{refused:?}");
    let kept =
        "SELECT count(*) AS n FROM routes WHERE path_token_sha256 = sha256('somebody-chose-this-token')";
    assert_eq!(office.world.count(kept).await, 1);
}
