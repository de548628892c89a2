//! Secrets are sealed anew under another key, and the running bridge goes on.

use chatwoot_bridge::store::installations::{self, Installation};
use chatwoot_bridge::store::routes::{Route, Target};
use chatwoot_bridge::store::sealed;
use chatwoot_bridge::webhooks::book::RouteBook;
use chores::key::{Fared, reencrypt};
use runtime::config::Setting as _;
use runtime::encryption::KeyRing;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tenant_isolation::TenantTransaction;
use test_support::{ENCRYPTION_KEYS, NEWER_ENCRYPTION_KEY};

use crate::events::sample;
use crate::router::{Door, put, secret_route, signed, url_route};
use crate::world::{Place, SECRET, World, start_chatwoot};

const TOKEN: &str = "token-of-an-installation-0001";

/// A token for an account of Chatwoot's besides that of the connected inbox.
async fn put_token(world: &World, place: &Place, account: i64) {
    let tenant = place.scope.tenant().as_str();
    let binding = Installation::token_place(tenant, "default", account);
    let row = Installation {
        installation: "default".to_owned(),
        chatwoot_account_id: account,
        chatwoot_url: "https://chat.example".to_owned(),
        api_token_sealed: world
            .tools
            .keys
            .seal(&SecretString::from(TOKEN), &binding)
            .unwrap(),
    };
    let mut tx = TenantTransaction::begin(&world.database.db, &place.scope, "test")
        .await
        .unwrap();
    installations::put(&mut tx, &row).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_secret_of_every_tenant_opens_under_the_newest_key_alone() {
    let (mut world, chatwoot) = (World::start().await, start_chatwoot().await);
    let one = world.connect(&chatwoot, "desa-a", "default", "").await;
    let other = world.connect(&chatwoot, "desa-b", "default", "").await;
    let (inbox, account) = (["inbox-new-0001", "inbox-old-0002"], ["account-new-0003"]);
    for place in [&one, &other] {
        secret_route(&world, place, &inbox, &account).await;
        // The same number of an account in both tenants.
        put_token(&world, place, 77).await;
    }
    let mut to_url = url_route(&world, "desa-b", Some(77), 5);
    let Target::Url {
        signing_secret_sealed,
        ..
    } = &mut to_url.target
    else {
        unreachable!()
    };
    let signing = Route::signing_place("desa-b", to_url.id);
    let seal = |text: &str| {
        world
            .tools
            .keys
            .seal(&SecretString::from(text), &signing)
            .unwrap()
    };
    *signing_secret_sealed = Some(seal("signing-secret-0001"));
    let to_url = put(&world, "desa-b", &to_url).await.unwrap();
    let book = RouteBook::new(world.database.db.clone());
    book.refresh().await.unwrap();

    let newer = KeyRing::from_text(NEWER_ENCRYPTION_KEY).unwrap();
    let both = KeyRing::from_text(&format!("{NEWER_ENCRYPTION_KEY},{ENCRYPTION_KEYS}")).unwrap();
    let done = reencrypt(&world.database.db, &both, sealed::TABLES)
        .await
        .unwrap();
    let kinds: Vec<_> = done.kinds.keys().cloned().collect();
    assert_eq!(
        kinds,
        world.database.sealed_columns().await,
        "each column has its row in store/sealed.rs"
    );
    assert!(
        done.unreadable.is_empty() && done.still_under.is_empty(),
        "{done:?}"
    );
    for (kind, fared) in &done.kinds {
        assert!(
            fared.resealed > 0
                && *fared
                    == Fared {
                        resealed: fared.resealed,
                        ..Fared::default()
                    },
            "{kind}: {fared:?}"
        );
    }

    // Every process reads the routes anew.
    book.refresh().await.unwrap();
    let known = book.by_id(one.link).unwrap();
    assert!(newer.is_current(&known.route.inbox_secrets_sealed[0]));
    assert!(newer.is_current(&known.link.as_ref().unwrap().api_token_sealed));

    world.tools.keys = newer;
    let door = Door::open(&world).await;
    for place in [&one, &other] {
        let mut event = sample("A.1");
        event["account"]["id"] = json!(place.chatwoot_account);
        event["inbox"]["id"] = json!(place.inbox);
        let body = event.to_string();
        for secret in [&inbox[..], &account[..], &[SECRET]].concat() {
            let (status, answer) = door.post("/webhook", &body, &signed(secret, &body)).await;
            assert_eq!((status, &answer["forwarded"]), (200, &json!(true)), "{answer}");
        }
        let route = &book.by_id(place.link).unwrap().route;
        let address = world
            .tools
            .address_of(&place.scope, route, 77)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(address.token.expose_secret(), TOKEN);
    }
    let Target::Url {
        url_sealed,
        signing_secret_sealed,
        ..
    } = &book.by_id(to_url.id).unwrap().route.target
    else {
        unreachable!()
    };
    let url = world
        .tools
        .keys
        .open(url_sealed, &Route::url_place("desa-b", to_url.id))
        .unwrap();
    assert!(url.expose_secret().ends_with("?secret=x"));
    let secret = world
        .tools
        .keys
        .open(signing_secret_sealed.as_deref().unwrap(), &signing)
        .unwrap();
    assert_eq!(secret.expose_secret(), "signing-secret-0001");
    chatwoot.stop().await;
}
