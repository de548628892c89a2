//! The spam guard's memory: who writes how much, what waits for an answer, and who is banned (contract channel-service
//! 3.2). All processes share it; each question and its consequences are one script.
//!
//! One key holds what is known of a chat, another lists a tenant's chats that have one. Both end by themselves. Texts
//! are compared by their hash; of a banned text the beginning is kept, for whoever looks at the list of bans. Each
//! verdict is remembered by the message's id, so that a message that is asked about again is not counted again. Times
//! are those at which messages arrived, not those at which they are asked about: a backlog is no flood.
//!
//! Without Redis every message is accepted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::ids::{ChatId, MessageId};
use redis::{RedisResult, Script};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tenant_isolation::TenantScope;

use crate::keys::CacheKey;
use crate::redis_link::RedisLink;

/// How long a message waits for an answer before it is no part of the conversation any more.
const BUBBLE_TTL: Duration = Duration::from_secs(5 * 60);
/// Messages of one chat that are remembered as waiting.
const REMEMBERED: u32 = 100;
/// Messages of one chat whose verdicts are remembered. A chat's messages are judged one after the other, and one that
/// comes again does so at once, so few are enough; each holds the ids of all that waited.
const JUDGED: u32 = 8;
/// Longest kept beginning of a banned text, in characters.
const EXCERPT: usize = 40;
/// Most chats of one tenant that a list looks at.
const LISTED: u32 = 1_000;

/// The kind of a chat's key.
const CHAT: &str = "spam";
/// The kind and the id of the list of a tenant's chats.
const INDEX: &str = "spam_index";
const ALL_CHATS: &str = "chats";

/// KEYS: the chat, the tenant's index. ARGV: message, text hash, time, most identical, ban, most in window, window,
/// bubble's life, remembered, user, excerpt, chat, judged.
static JUDGE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local raw = redis.call('GET', KEYS[1])
local st = raw and cjson.decode(raw) or {}
local known = st.d or {}
for _, verdict in ipairs(known) do
  if verdict[1] == ARGV[1] then return verdict[2] end
end
local now, ban, window, life = tonumber(ARGV[3]), tonumber(ARGV[5]), tonumber(ARGV[7]), tonumber(ARGV[8])
local most = tonumber(ARGV[9])
local bubble, rate, texts, same = {}, {}, {}, 1
for _, m in ipairs(st.b or {}) do
  if m[3] > now - life then
    bubble[#bubble + 1] = m
    if m[2] == ARGV[2] then same = same + 1 end
  end
end
for _, at in ipairs(st.r or {}) do
  if at > now - window then rate[#rate + 1] = at end
end
for hash, b in pairs(st.t or {}) do
  if b.u > now then texts[hash] = b end
end
local all = st.x
if all and all.u <= now then all = nil end

local verdict
if all then
  verdict = {k = 'rate_banned', n = math.ceil((all.u - now) / 1000)}
elseif texts[ARGV[2]] then
  verdict = {k = 'text_banned', n = math.ceil((texts[ARGV[2]].u - now) / 1000)}
else
  rate[#rate + 1] = now
  if #rate > tonumber(ARGV[6]) then
    all = {u = now + ban, a = now, n = #rate}
    verdict = {k = 'rate_spam', n = #rate}
    rate = {}
  elseif same > tonumber(ARGV[4]) then
    texts[ARGV[2]] = {u = now + ban, a = now, n = same, x = ARGV[11]}
    verdict = {k = 'identical_spam', n = same}
  else
    verdict = {k = 'accepted', n = same}
    if #bubble > 0 then
      verdict.s = {}
      for i, m in ipairs(bubble) do verdict.s[i] = m[1] end
    end
    bubble[#bubble + 1] = {ARGV[1], ARGV[2], now}
    if #bubble > most then table.remove(bubble, 1) end
  end
end

local answer = cjson.encode(verdict)
known[#known + 1] = {ARGV[1], answer}
while #known > tonumber(ARGV[13]) do table.remove(known, 1) end
local kept = {u = ARGV[10], d = known, x = all}
if #bubble > 0 then kept.b = bubble end
if #rate > 0 then kept.r = rate end
if next(texts) then kept.t = texts end
local px = math.max(life, ban, window)
redis.call('SET', KEYS[1], cjson.encode(kept), 'PX', string.format('%.0f', px))
local clock = redis.call('TIME')
local ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', ms))
redis.call('ZADD', KEYS[2], string.format('%.0f', ms + px), ARGV[12])
redis.call('PEXPIRE', KEYS[2], string.format('%.0f', px))
return answer",
    )
});

/// KEYS: the chat. Nothing waits for an answer any more; bans stay.
static CLEAR: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local raw = redis.call('GET', KEYS[1])
if not raw then return 0 end
local st = cjson.decode(raw)
if not st.b then return 0 end
st.b = nil
redis.call('SET', KEYS[1], cjson.encode(st), 'KEEPTTL')
return 1",
    )
});

/// KEYS: the chat. Takes bans away, and what would bring them back with the next message.
static UNBAN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local raw = redis.call('GET', KEYS[1])
if not raw then return 0 end
local st = cjson.decode(raw)
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local found = st.x and st.x.u > now
for _, b in pairs(st.t or {}) do
  if b.u > now then found = true end
end
if not found then return 0 end
st.x, st.t, st.r = nil, nil, nil
for _, m in ipairs(st.b or {}) do m[2] = '' end
redis.call('SET', KEYS[1], cjson.encode(st), 'KEEPTTL')
return 1",
    )
});

/// The guard's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpamRules {
    /// Is anything judged at all?
    pub enabled: bool,
    /// How often the same text may wait for one answer.
    pub max_identical: u32,
    /// How long a ban lasts.
    pub ban: Duration,
    /// How many messages a person may write within the window.
    pub rate_max: u32,
    /// The window.
    pub rate_window: Duration,
}

/// A message that asks to be passed on.
#[derive(Clone, Copy)]
pub struct Incoming<'a> {
    /// In which chat.
    pub chat: ChatId,
    /// How other services name the person.
    pub user: &'a str,
    /// Which message.
    pub message: MessageId,
    /// What it says.
    pub text: &'a str,
    /// When it arrived, in milliseconds since 1970.
    pub at: i64,
}

/// What the guard says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Pass it on.
    Accepted {
        /// Messages before it that wait for an answer, oldest first: one answer is for all of them.
        superseded: Vec<MessageId>,
        /// The same text waits already.
        is_repeated: bool,
        /// In the contract's words.
        reason: String,
    },
    /// Do not.
    Spam {
        /// In the contract's words.
        reason: String,
    },
}

/// A ban that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// How other services name the person.
    pub user: String,
    /// In the contract's words.
    pub reason: String,
    /// Since when, in milliseconds since 1970.
    pub banned_at: i64,
    /// Until when.
    pub expires_at: i64,
    /// The beginning of the banned text; empty for a person who may write nothing at all.
    pub text: String,
    /// Messages that led to it.
    pub messages: u32,
    /// Is it one text that is banned, or everything?
    pub is_of_text: bool,
}

/// What is known of one tenant's chats.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuardState {
    /// Chats of which something is known.
    pub trackers: usize,
    /// Messages that wait for an answer.
    pub waiting: usize,
    /// Bans that hold.
    pub bans: Vec<Ban>,
}

/// Redis is away, so nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the spam guard's memory is away")]
pub struct GuardAway;

/// The spam guard. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SpamGuard {
    redis: RedisLink,
    rules: SpamRules,
}

#[derive(Deserialize)]
struct Said {
    k: String,
    n: u32,
    #[serde(default)]
    s: Vec<MessageId>,
}

/// A chat's key, as the scripts write it.
#[derive(Deserialize)]
struct Known {
    u: String,
    #[serde(default)]
    b: Vec<(String, String, i64)>,
    #[serde(default)]
    t: BTreeMap<String, KnownBan>,
    x: Option<KnownBan>,
}

#[derive(Deserialize)]
struct KnownBan {
    u: i64,
    a: i64,
    n: u32,
    #[serde(default)]
    x: String,
}

impl SpamGuard {
    /// A guard by these rules.
    #[must_use]
    pub const fn new(redis: RedisLink, rules: SpamRules) -> Self {
        Self { redis, rules }
    }

    /// The rules it goes by.
    #[must_use]
    pub const fn rules(&self) -> &SpamRules {
        &self.rules
    }

    /// Judges a message. Asked again about the same one, it says the same.
    pub async fn judge(&self, scope: &TenantScope, incoming: Incoming<'_>) -> Verdict {
        let accepted = |reason: &str| Verdict::Accepted {
            superseded: Vec::new(),
            is_repeated: false,
            reason: reason.to_owned(),
        };
        if !self.rules.enabled {
            return accepted("guard_disabled");
        }
        let text = incoming.text.trim();
        let (chat, index) = (self.chat_key(scope, incoming.chat), self.index_key(scope));
        let rules = self.rules;
        let answer: Option<String> = self
            .redis
            .ask(|mut redis| async move {
                JUDGE
                    .key(chat)
                    .key(index)
                    .arg(incoming.message.to_string())
                    .arg(hash(text))
                    .arg(incoming.at)
                    .arg(rules.max_identical)
                    .arg(milliseconds(rules.ban))
                    .arg(rules.rate_max)
                    .arg(milliseconds(rules.rate_window))
                    .arg(milliseconds(BUBBLE_TTL))
                    .arg(REMEMBERED)
                    .arg(incoming.user)
                    .arg(excerpt(text))
                    .arg(incoming.chat.to_string())
                    .arg(JUDGED)
                    .invoke_async(&mut redis)
                    .await
            })
            .await;
        match answer.and_then(|answer| serde_json::from_str(&answer).ok()) {
            Some(said) => self.verdict(said),
            None => accepted("guard_away"),
        }
    }

    fn verdict(&self, said: Said) -> Verdict {
        let (n, waiting, most) = (said.n, said.s.len(), self.rules.max_identical);
        let reason = match said.k.as_str() {
            "accepted" => {
                let reason = match (waiting, n) {
                    (0, _) => "new_message".to_owned(),
                    (_, 1) => format!("bubble_chat ({} total, superseding {waiting})", waiting + 1),
                    _ => format!("identical_bubble ({n}/{most}, superseding {waiting})"),
                };
                return Verdict::Accepted {
                    superseded: said.s,
                    is_repeated: n > 1,
                    reason,
                };
            }
            "rate_spam" => self.rate_reason(n),
            "identical_spam" => self.text_reason(n),
            banned => format!("{banned} ({n}s remaining)"),
        };
        Verdict::Spam { reason }
    }

    fn rate_reason(&self, n: u32) -> String {
        let (window, ban) = (self.rules.rate_window.as_secs(), self.rules.ban.as_secs());
        format!("rate_spam ({n} msgs in {window}s, banned {ban}s)")
    }

    fn text_reason(&self, n: u32) -> String {
        let (most, ban) = (self.rules.max_identical, self.rules.ban.as_secs());
        format!("identical_spam ({n}x > {most}, text banned {ban}s)")
    }

    /// Nothing in the chat waits for an answer any more. Bans stay. Without Redis nothing happens: what waits ends by
    /// itself.
    pub async fn clear(&self, scope: &TenantScope, chat: ChatId) {
        let key = self.chat_key(scope, chat);
        let cleared: Option<u32> = self
            .redis
            .ask(|mut redis| async move { CLEAR.key(key).invoke_async(&mut redis).await })
            .await;
        tracing::trace!(?cleared, "a bubble was cleared");
    }

    /// Takes the bans in a chat back. False: there was none.
    ///
    /// # Errors
    /// [`GuardAway`].
    pub async fn unban(&self, scope: &TenantScope, chat: ChatId) -> Result<bool, GuardAway> {
        let key = self.chat_key(scope, chat);
        let found: Option<u32> = self
            .redis
            .ask(|mut redis| async move { UNBAN.key(key).invoke_async(&mut redis).await })
            .await;
        found.map(|found| found == 1).ok_or(GuardAway)
    }

    /// What is known of each tenant's chats, in the order of the scopes.
    ///
    /// # Errors
    /// [`GuardAway`].
    pub async fn states(&self, scopes: &[TenantScope]) -> Result<Vec<GuardState>, GuardAway> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let mut indexes = redis::pipe();
        for scope in scopes {
            indexes
                .cmd("ZRANGEBYSCORE")
                .arg(self.index_key(scope))
                .arg(now)
                .arg("+inf")
                .arg("LIMIT")
                .arg(0)
                .arg(LISTED);
        }
        if scopes.is_empty() {
            return Ok(Vec::new());
        }
        let chats: Vec<Vec<String>> = self
            .redis
            .ask(|mut redis| async move { indexes.query_async(&mut redis).await })
            .await
            .ok_or(GuardAway)?;
        let mut values = redis::pipe();
        for (scope, chats) in scopes.iter().zip(&chats).filter(|(_, chats)| !chats.is_empty()) {
            let keys: Vec<String> = chats.iter().map(|chat| self.key(scope, "spam", chat)).collect();
            values.cmd("MGET").arg(keys);
        }
        let values: Vec<Vec<Option<String>>> = if chats.iter().all(Vec::is_empty) {
            Vec::new()
        } else {
            let asked = self
                .redis
                .ask(|mut redis| async move {
                    let answer: RedisResult<_> = values.query_async(&mut redis).await;
                    answer
                })
                .await;
            asked.ok_or(GuardAway)?
        };
        let mut values = values.into_iter();
        Ok(chats
            .iter()
            .map(|chats| {
                let known = if chats.is_empty() { None } else { values.next() };
                self.state(known.unwrap_or_default(), now)
            })
            .collect())
    }

    fn state(&self, known: Vec<Option<String>>, now: i64) -> GuardState {
        let life = i64::try_from(BUBBLE_TTL.as_millis()).unwrap_or(i64::MAX);
        let mut state = GuardState::default();
        let known = known.into_iter().flatten();
        for chat in known.filter_map(|text| serde_json::from_str::<Known>(&text).ok()) {
            state.trackers += 1;
            state.waiting += chat.b.iter().filter(|(_, _, at)| *at > now - life).count();
            let of_all = chat.x.map(|ban| (ban, false));
            let of_texts = chat.t.into_values().map(|ban| (ban, true));
            for (ban, is_of_text) in of_all.into_iter().chain(of_texts).filter(|(ban, _)| ban.u > now) {
                state.bans.push(Ban {
                    user: chat.u.clone(),
                    reason: if is_of_text {
                        self.text_reason(ban.n)
                    } else {
                        self.rate_reason(ban.n)
                    },
                    banned_at: ban.a,
                    expires_at: ban.u,
                    text: ban.x,
                    messages: ban.n,
                    is_of_text,
                });
            }
        }
        state.bans.sort_by_key(|ban| std::cmp::Reverse(ban.banned_at));
        state
    }

    /// Forgets everything that is known of a chat, whatever the rules are. `None`: Redis is away, and what is known ends by
    /// itself.
    pub async fn forget_chat(redis: &RedisLink, scope: &TenantScope, chat: ChatId) -> Option<()> {
        let id = chat.to_string();
        let known = redis.key(CacheKey::of_tenant(scope, CHAT, &id).as_str());
        let index = redis.key(CacheKey::of_tenant(scope, INDEX, ALL_CHATS).as_str());
        redis
            .ask(|mut redis| async move {
                redis::pipe()
                    .del(known)
                    .ignore()
                    .zrem(index, id)
                    .ignore()
                    .query_async(&mut redis)
                    .await
            })
            .await
    }

    fn chat_key(&self, scope: &TenantScope, chat: ChatId) -> String {
        self.key(scope, CHAT, &chat.to_string())
    }

    fn index_key(&self, scope: &TenantScope) -> String {
        self.key(scope, INDEX, ALL_CHATS)
    }

    fn key(&self, scope: &TenantScope, kind: &'static str, id: &str) -> String {
        self.redis.key(CacheKey::of_tenant(scope, kind, id).as_str())
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Half of SHA-256 in hex: no text is in Redis only to be compared.
fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest
        .iter()
        .take(16)
        .fold(String::with_capacity(32), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

fn excerpt(text: &str) -> String {
    let mut excerpt: String = text.chars().take(EXCERPT).collect();
    if excerpt.len() < text.len() {
        excerpt.push('…');
    }
    excerpt
}
