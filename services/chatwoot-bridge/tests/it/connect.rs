//! Connecting inboxes: repeatable, never at another tenant's cost, and never with the old place's contacts.

use chatwoot_bridge::flows::connect_inbox::{Connection, NotConnected, connect_inbox};
use chatwoot_bridge::flows::set_up::{NotSetUp, sender};
use chatwoot_bridge::store::inboxes::{self, Inbox};
use domain::ids::{AccountId, ChatId};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

use crate::channel_service::ChannelStub;
use crate::world::{Place, World, key, message, received, scope, start_chatwoot};

fn connection(account: AccountId, url: &str, inbox: u64) -> Connection {
    Connection {
        account,
        chatwoot_url: url.into(),
        key: key("default", 1, inbox),
        api_token: SecretString::from("token-not-real"),
        webhook_secrets: Some(vec![SecretString::from("secret-not-real")]),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_again_changes_the_secrets_and_nothing_else() {
    let world = World::start().await;
    let (tenant, account) = (scope("desa-a"), AccountId::generate());
    let new = connection(account, "https://chat.example", 42);
    let first = connect_inbox(&world.tools, &tenant, &new).await.unwrap();
    let kept = Connection {
        webhook_secrets: None,
        ..new.clone()
    };
    assert_eq!(connect_inbox(&world.tools, &tenant, &kept).await.unwrap(), first);
    let secrets =
        |n| format!("SELECT count(*) AS n FROM inboxes WHERE cardinality(webhook_secrets_sealed) = {n}");
    assert_eq!(world.count(&secrets(1)).await, 1);
    let open = Connection {
        webhook_secrets: Some(Vec::new()),
        ..new
    };
    assert_eq!(connect_inbox(&world.tools, &tenant, &open).await.unwrap(), first);
    assert_eq!(world.count(&secrets(0)).await, 1);
    let plain = "SELECT count(*) AS n FROM inboxes WHERE api_token_sealed LIKE '%not-real%'";
    assert_eq!(world.count(plain).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_opens_no_inbox() {
    let world = World::start().await;
    let (tenant, account) = (scope("desa-a"), AccountId::generate());
    let silent = |url: &str, inbox| Connection {
        webhook_secrets: None,
        ..connection(account, url, inbox)
    };
    let first = connect_inbox(&world.tools, &tenant, &silent("https://chat.example", 42)).await;
    assert!(matches!(first, Err(NotConnected::NoSecrets)));
    let signed = connection(account, "https://chat.example", 42);
    let first = connect_inbox(&world.tools, &tenant, &signed).await.unwrap();
    // Another address of the same inbox: its secret is still asked for, and still opens.
    let moved = connect_inbox(&world.tools, &tenant, &silent("https://new.example", 42))
        .await
        .unwrap();
    let at_new = "SELECT count(*) AS n FROM inboxes WHERE chatwoot_url = 'https://new.example'";
    assert_eq!(world.count(at_new).await, 1);
    assert_eq!(moved, first, "what is under way goes by its id");
    let signs = "SELECT count(*) AS n FROM inboxes WHERE cardinality(webhook_secrets_sealed) = 1";
    assert_eq!(world.count(signs).await, 1);
    let mut tx = TenantTransaction::begin(&world.database.db, &tenant, "test")
        .await
        .unwrap();
    let stored = inboxes::find(&mut tx, moved).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    let place = Inbox::secret_place("desa-a", moved);
    let secret = world.tools.keys.open(&stored.webhook_secrets_sealed[0], &place);
    assert_eq!(secret.unwrap().expose_secret(), "secret-not-real");
    // Another inbox: nothing is known about it, and the old one stays.
    let other = connect_inbox(&world.tools, &tenant, &silent("https://new.example", 43)).await;
    assert!(matches!(other, Err(NotConnected::NoSecrets)));
    assert_eq!(world.count(signs).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_that_is_somebody_elses_is_not_taken_over() {
    let world = World::start().await;
    let new = connection(AccountId::generate(), "https://chat.example", 42);
    let first = connect_inbox(&world.tools, &scope("desa-a"), &new).await.unwrap();
    for (tenant, account) in [("desa-b", new.account), ("desa-a", AccountId::generate())] {
        let other = Connection {
            account,
            ..new.clone()
        };
        let refused = connect_inbox(&world.tools, &scope(tenant), &other).await;
        assert!(matches!(refused, Err(NotConnected::Taken)), "{tenant}");
    }
    assert_eq!(world.count("SELECT count(*) AS n FROM inboxes").await, 1);
    let entry = format!("SELECT count(*) AS n FROM tenant_directory WHERE subject_id = '{first}'");
    assert_eq!(world.count(&entry).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_chatwoot_gets_new_contacts() {
    let world = World::start().await;
    let (old, new) = (start_chatwoot().await, start_chatwoot().await);
    let place = world.connect(&old, "desa-a", "default", "").await;
    let chat = ChatId::generate();
    world
        .take(&received(
            &place,
            message(&place, chat, "628123450001", "3EB01", "lama"),
        ))
        .await;
    world.work().await;

    let account = new.create_chatwoot_account(simulator::NewAccount::default());
    let inbox = new
        .create_chatwoot_inbox(simulator::NewInbox {
            account_id: account.id,
            name: String::new(),
            webhook_url: String::new(),
            secret: None,
            lock_to_single_conversation: false,
            channel_type: None,
        })
        .unwrap();
    let moved = Connection {
        account: place.account,
        chatwoot_url: format!("{}/chatwoot", new.base_url()),
        key: key("second", account.id, inbox.id),
        api_token: SecretString::from(account.api_access_token),
        webhook_secrets: Some(Vec::new()),
    };
    let link: Uuid = connect_inbox(&world.tools, &place.scope, &moved).await.unwrap();
    assert_ne!(link, place.link);
    assert_eq!(world.count("SELECT count(*) AS n FROM contacts").await, 0);
    assert_eq!(world.count("SELECT count(*) AS n FROM tenant_directory").await, 1);
    let place = Place { link, ..place };
    world
        .take(&received(
            &place,
            message(&place, chat, "628123450001", "3EB02", "baru"),
        ))
        .await;
    world.work().await;
    assert_eq!(old.chatwoot_messages(1).len(), 1);
    let messages = new.chatwoot_messages(account.id);
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].content.as_deref(), Some("baru"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_account_of_a_tenant_need_not_be_named() {
    let (stub, tenant) = (ChannelStub::start(), scope("desa-a"));
    let [one, two] = [AccountId::generate(), AccountId::generate()];
    let told = |id: AccountId, name: &str| json!({"id": id, "provider": "gowa", "name": name, "phone": "628111222333", "status": "connected"});
    stub.accounts_are(json!([told(one, "Loket")]));
    assert_eq!(sender(Some(&stub.service), &tenant, None).await.unwrap(), one);
    assert_eq!(
        sender(Some(&stub.service), &tenant, Some(two)).await.unwrap(),
        two
    );
    stub.accounts_are(json!([told(one, "Loket"), told(two, "Pak Lurah")]));
    let refused = sender(Some(&stub.service), &tenant, None).await.unwrap_err();
    let words = refused.to_string();
    for account in [format!("{one} (Loket)"), format!("{two} (Pak Lurah)")] {
        assert!(words.contains(&account), "{words}");
    }
    assert!(!words.contains("628111222333"), "{words}");
    // None at all, nobody to ask, and nobody who answers.
    stub.accounts_are(json!([]));
    for channel in [Some(&stub.service), None] {
        let refused = sender(channel, &tenant, None).await;
        assert!(matches!(refused, Err(NotSetUp::WhichSender(accounts)) if accounts.is_empty()));
    }
    let refused = sender(Some(&stub.service), &scope("desa-b"), None).await;
    assert!(matches!(refused, Err(NotSetUp::Channel(_))));
}
