//! The contract's numbers (channel-service 3.2), over two processes, with messages that come again, and without Redis.

use std::time::Duration;

use cache::{Incoming, SpamGuard, SpamRules, Verdict};
use domain::ids::{ChatId, MessageId, TenantId};
use tenant_isolation::TenantScope;
use test_support::{CuttableProxy, redis_url, unique_prefix};

use super::link;

const RULES: SpamRules = SpamRules {
    enabled: true,
    max_identical: 5,
    ban: Duration::from_secs(60),
    rate_max: 10,
    rate_window: Duration::from_secs(10),
};

fn scope(tenant: &str) -> TenantScope {
    TenantScope::named_by_operator(TenantId::parse(tenant).unwrap())
}

fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_millis()).unwrap()
}

/// Two processes that judge in turns, and one person.
struct Scene {
    guards: [SpamGuard; 2],
    chat: ChatId,
    asked: std::cell::Cell<usize>,
}

impl Scene {
    async fn new() -> Self {
        let prefix = unique_prefix("spam");
        Self {
            guards: [
                SpamGuard::new(link(&prefix).await, RULES),
                SpamGuard::new(link(&prefix).await, RULES),
            ],
            chat: ChatId::generate(),
            asked: std::cell::Cell::new(0),
        }
    }

    fn guard(&self) -> &SpamGuard {
        self.asked.set(self.asked.get() + 1);
        &self.guards[self.asked.get() % 2]
    }

    async fn judge_of(&self, tenant: &str, message: MessageId, text: &str, at: i64) -> Verdict {
        let incoming = Incoming {
            chat: self.chat,
            user: "6281290000011",
            message,
            text,
            at,
        };
        self.guard().judge(&scope(tenant), incoming).await
    }

    async fn say(&self, text: &str, at: i64) -> String {
        match self.judge_of("desa-a", MessageId::generate(), text, at).await {
            Verdict::Accepted { reason, .. } | Verdict::Spam { reason } => reason,
        }
    }
}

#[tokio::test]
async fn messages_without_an_answer_are_a_bubble() {
    let scene = Scene::new().await;
    let at = now();
    let ids = [(); 3].map(|()| MessageId::generate());
    let mut verdicts = Vec::new();
    for (id, text) in ids.iter().zip(["a", " b ", "b"]) {
        verdicts.push(scene.judge_of("desa-a", *id, text, at).await);
    }
    let accepted = |superseded: &[MessageId], is_repeated, reason: &str| Verdict::Accepted {
        superseded: superseded.to_vec(),
        is_repeated,
        reason: reason.to_owned(),
    };
    assert_eq!(
        verdicts,
        [
            accepted(&[], false, "new_message"),
            accepted(&ids[..1], false, "bubble_chat (2 total, superseding 1)"),
            accepted(&ids[..2], true, "identical_bubble (2/5, superseding 2)"),
        ]
    );
    // A message that comes again is not counted again and supersedes nothing of its own.
    for (id, verdict) in ids.iter().zip(&verdicts) {
        assert_eq!(&scene.judge_of("desa-a", *id, "other", at + 9).await, verdict);
    }
    assert_eq!(
        scene.guard().states(&[scope("desa-a")]).await.unwrap()[0].waiting,
        3
    );
    // An answer ends the bubble, and so do five minutes.
    scene.guard().clear(&scope("desa-a"), scene.chat).await;
    assert_eq!(scene.say("c", at).await, "new_message");
    assert_eq!(
        scene.say("d", at + 299_999).await,
        "bubble_chat (2 total, superseding 1)"
    );
    assert_eq!(scene.say("e", at + 299_999 + 300_000).await, "new_message");
}

#[tokio::test]
async fn the_sixth_equal_text_bans_the_text_and_nothing_else() {
    let scene = Scene::new().await;
    let mut at = now();
    for number in 1..=5 {
        at += 2_000;
        let expected = match number {
            1 => "new_message".to_owned(),
            _ => format!("identical_bubble ({number}/5, superseding {})", number - 1),
        };
        assert_eq!(scene.say("ok", at).await, expected);
    }
    assert_eq!(
        scene.say("ok", at + 1).await,
        "identical_spam (6x > 5, text banned 60s)"
    );
    assert_eq!(scene.say("ok", at + 1_001).await, "text_banned (59s remaining)");
    assert_eq!(
        scene.say("Ok", at + 1_002).await,
        "bubble_chat (6 total, superseding 5)"
    );
    let state = scene
        .guard()
        .states(&[scope("desa-b"), scope("desa-a")])
        .await
        .unwrap();
    assert!(state[0].bans.is_empty());
    let ban = &state[1].bans[0];
    assert_eq!(
        (ban.user.as_str(), ban.text.as_str(), ban.messages, ban.is_of_text),
        ("6281290000011", "ok", 6, true)
    );
    assert_eq!(ban.expires_at - ban.banned_at, 60_000);
    assert_eq!(ban.reason, "identical_spam (6x > 5, text banned 60s)");
    // An answer does not lift a ban; a person does.
    scene.guard().clear(&scope("desa-a"), scene.chat).await;
    assert_eq!(scene.say("ok", at + 2_001).await, "text_banned (58s remaining)");
    assert!(!scene.guard().unban(&scope("desa-b"), scene.chat).await.unwrap());
    assert!(scene.guard().unban(&scope("desa-a"), scene.chat).await.unwrap());
    assert!(!scene.guard().unban(&scope("desa-a"), scene.chat).await.unwrap());
    assert_eq!(scene.say("ok", at + 20_000).await, "new_message");
}

#[tokio::test]
async fn the_eleventh_message_in_ten_seconds_bans_the_person_for_a_minute() {
    let scene = Scene::new().await;
    let at = now();
    for number in 0..10 {
        assert!(
            !scene
                .say(&format!("nomor {number}"), at + number)
                .await
                .contains("spam")
        );
    }
    // Equal ids and phones of another tenant are somebody else.
    let other = scene
        .judge_of("desa-b", MessageId::generate(), "x", at + 10)
        .await;
    assert!(matches!(other, Verdict::Accepted { superseded, .. } if superseded.is_empty()));
    assert_eq!(
        scene.say("terlalu", at + 11).await,
        "rate_spam (11 msgs in 10s, banned 60s)"
    );
    assert_eq!(
        scene.say("lagi", at + 30_011).await,
        "rate_banned (30s remaining)"
    );
    assert!(scene.say("boleh", at + 60_011).await.starts_with("bubble_chat"));
}

#[tokio::test]
async fn a_backlog_is_no_flood() {
    let scene = Scene::new().await;
    let at = now() - 3_600_000;
    for number in 0..30 {
        let reason = scene.say("ok", at + number * 60_000).await;
        assert_eq!(reason, "new_message", "{number}");
        scene.guard().clear(&scope("desa-a"), scene.chat).await;
    }
}

#[tokio::test]
async fn without_redis_or_switched_off_everything_passes() {
    let proxy = CuttableProxy::in_front_of(&redis_url(), 6379).await;
    let url = secrecy::SecretString::from(proxy.url(&redis_url()));
    let redis = cache::RedisLink::new(&url, &unique_prefix("spam")).unwrap();
    proxy.cut();
    let away = SpamGuard::new(redis, RULES);
    let off = SpamGuard::new(
        link(&unique_prefix("spam")).await,
        SpamRules {
            enabled: false,
            ..RULES
        },
    );
    for (guard, expected) in [(&away, "guard_away"), (&off, "guard_disabled")] {
        for _ in 0..20 {
            let incoming = Incoming {
                chat: ChatId::generate(),
                user: "6281290000011",
                message: MessageId::generate(),
                text: "ok",
                at: 1,
            };
            let verdict = guard.judge(&scope("desa-a"), incoming).await;
            assert!(matches!(verdict, Verdict::Accepted { reason, .. } if reason == expected));
        }
    }
    assert!(away.states(&[scope("desa-a")]).await.is_err());
}

#[tokio::test]
async fn no_text_is_in_redis_only_to_be_compared() {
    let prefix = unique_prefix("spam");
    let guard = SpamGuard::new(link(&prefix).await, RULES);
    let incoming = Incoming {
        chat: ChatId::generate(),
        user: "6281290000011",
        message: MessageId::generate(),
        text: "rahasia warga",
        at: now(),
    };
    guard.judge(&scope("desa-a"), incoming).await;
    let client = redis::Client::open(redis_url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(format!("{prefix}*"))
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(keys.len(), 2);
    for key in keys {
        assert!(key.starts_with(&format!("{prefix}t/desa-a/")), "{key}");
        let dump: Vec<u8> = redis::cmd("DUMP")
            .arg(&key)
            .query_async(&mut connection)
            .await
            .unwrap();
        assert!(!String::from_utf8_lossy(&dump).contains("rahasia"));
        let ttl: i64 = redis::cmd("PTTL")
            .arg(&key)
            .query_async(&mut connection)
            .await
            .unwrap();
        assert!(ttl > 0 && ttl <= 300_000, "{ttl}");
    }
}
