//! Everything at once: Chatwoot loses a fifth of its answers after it has done what was asked, and gives the others late;
//! webhooks come ten times and out of order, events more than once; two bridges are killed a hundred times between a
//! message's creation in Chatwoot and the note of its id. In the end each WhatsApp message is in Chatwoot once and in its
//! order, and each reply of an agent has been ordered once.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, TcpListener as StdListener};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, SimpleAsyncConnection as _};
use domain::delivery::DeliveryStatus;
use domain::ids::{AccountId, ChatId};
use messaging::broker::Broker;
use messaging::consumer::{HandleError, HandleEvent, consume};
use messaging::events::send_requested::SendRequested;
use messaging::topology::Queue;
use messaging::{Envelope, Publisher};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use simulator::{
    FaultKind, FaultSpec, FaultTarget, NewAccount, NewInbox, Redelivery, Reply, Simulator, SimulatorConfig,
};
use test_support::{
    ENCRYPTION_KEYS, TestProcessDatabase, eventually_within, install_crypto_provider, rabbitmq_url,
    unique_prefix,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::broker::{broker, clean, publication};
use crate::world::{Place, SECRET, message, received, scope, status};

const TENANT: &str = "desa-siksa";
const KILLS: usize = 100;
const CHATS: usize = 40;
/// Messages that wait before the first kill, and that come with each.
const FIRST: usize = 80;
const WITH_EACH: usize = 4;
/// How long Chatwoot holds the answer to a message that it has made: the time in which a bridge is killed.
const HELD_MS: u64 = 300;
/// What a bridge believes of Chatwoot and of its own kind: after so long a request has been seen, or never will be. Longer
/// than anything on this machine may take, for what comes later than that is a second message, and rightly so.
const SURE_MS: &str = "4000";
const PATIENCE: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_there_once_after_a_hundred_kills() {
    install_crypto_provider();
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut torture = Torture::start(StdRng::seed_from_u64(seed)).await;
    torture.write(FIRST).await;
    let begun = Instant::now();
    let (mut hits, mut kills) = (0, 0);
    while hits < KILLS {
        hits += torture.kill_one(kills % 2).await;
        kills += 1;
        torture.write(WITH_EACH).await;
        torture.answer(2);
        torture.fire_again();
    }
    println!(
        "{hits} of {kills} kills between create and link, in {:?}",
        begun.elapsed()
    );
    torture.end().await;
    println!("done after {:?}", begun.elapsed());
}

/// Stands for channel-service: keeps the orders and tells that they were read.
struct Sender {
    broker: Broker,
    place: Place,
    orders: Mutex<HashMap<Uuid, SendRequested>>,
    publisher: tokio::sync::Mutex<Option<Publisher>>,
}

impl HandleEvent for Sender {
    async fn handle(&self, envelope: &Envelope) -> Result<(), HandleError> {
        let Some(order) = envelope.event::<SendRequested>().map_err(HandleError::poison)? else {
            return Ok(());
        };
        let reference = order.reference.clone().unwrap();
        self.orders.lock().unwrap().insert(order.request_id, order);
        let read = status(&self.place, &reference, DeliveryStatus::Read, None);
        let mut publisher = self.publisher.lock().await;
        for _ in 0..2 {
            let connected = match publisher.as_mut() {
                Some(connected) => connected,
                None => publisher.insert(
                    Publisher::connect(&self.broker)
                        .await
                        .map_err(HandleError::later)?,
                ),
            };
            let publication = publication(&self.broker, &read);
            connected
                .publish(&publication)
                .await
                .map_err(HandleError::later)?;
        }
        Ok(())
    }
}

/// Both bridges behind one address, so that Chatwoot finds one that lives.
struct Balancer {
    ports: [AtomicU16; 2],
    turn: AtomicUsize,
}

impl Balancer {
    async fn start() -> (Arc<Self>, String) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/webhook", listener.local_addr().unwrap());
        let balancer = Arc::new(Self {
            ports: [AtomicU16::new(0), AtomicU16::new(0)],
            turn: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&balancer);
        tokio::spawn(async move {
            while let Ok((mut inward, _)) = listener.accept().await {
                let balancer = Arc::clone(&shared);
                tokio::spawn(async move {
                    if let Some(mut outward) = balancer.connect().await {
                        // Either side may be killed at any moment.
                        drop(tokio::io::copy_bidirectional(&mut inward, &mut outward).await);
                    }
                });
            }
        });
        (balancer, url)
    }

    async fn connect(&self) -> Option<TcpStream> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        for bridge in [turn % 2, (turn + 1) % 2] {
            let port = self.ports[bridge].load(Ordering::Relaxed);
            if port != 0
                && let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await
            {
                return Some(stream);
            }
        }
        None
    }
}

struct Torture {
    random: StdRng,
    database: TestProcessDatabase,
    tables: AsyncPgConnection,
    simulator: Simulator,
    balancer: Arc<Balancer>,
    bridges: [Option<Child>; 2],
    variables: Vec<(&'static str, String)>,
    place: Place,
    sender: Arc<Sender>,
    stop: CancellationToken,
    publisher: Publisher,
    prefix: String,
    chats: Vec<ChatId>,
    /// What people wrote, by number; the chat follows from it.
    written: Vec<Envelope>,
    replies: Vec<u64>,
    /// Intents of processes that were killed, counted once.
    counted: HashSet<String>,
}

impl Torture {
    async fn start(random: StdRng) -> Self {
        let database = TestProcessDatabase::create().await;
        let config = SimulatorConfig {
            chatwoot_webhook_timeout: Duration::from_secs(30),
            ..SimulatorConfig::for_tests()
        };
        let simulator = Simulator::start(config).await.unwrap();
        let (balancer, webhook) = Balancer::start().await;
        let prefix = unique_prefix("torture");
        let variables = variables(&database, &prefix);
        run(&variables, &["migrate", "--bootstrap"]).await;
        let mut tables = AsyncPgConnection::establish(&database.admin_url()).await.unwrap();
        // Every intent tells whose it is, so that a killed process's are known.
        tables
            .batch_execute(
                "SET search_path TO chatwoot_bridge; ALTER TABLE message_links ADD COLUMN made_by integer; \
                 CREATE FUNCTION note_maker() RETURNS trigger LANGUAGE plpgsql AS \
                     $$ BEGIN NEW.made_by := pg_backend_pid(); RETURN NEW; END $$; \
                 CREATE TRIGGER note_maker BEFORE INSERT OR UPDATE ON message_links \
                     FOR EACH ROW EXECUTE FUNCTION note_maker();",
            )
            .await
            .unwrap();
        let place = connect(&simulator, &variables, &webhook).await;
        let broker = broker(&prefix);
        let publisher = Publisher::connect(&broker).await.unwrap();
        let sender = Arc::new(Sender {
            broker: broker.clone(),
            place: place.clone(),
            orders: Mutex::default(),
            publisher: tokio::sync::Mutex::default(),
        });
        let stop = CancellationToken::new();
        let (shared, stopping) = (Arc::clone(&sender), stop.clone());
        tokio::spawn(async move {
            consume(&broker, Queue::ChannelCommands, shared.as_ref(), &stopping).await;
        });
        let mut torture = Self {
            random,
            database,
            tables,
            simulator,
            balancer,
            bridges: [None, None],
            variables,
            place,
            sender,
            stop,
            publisher,
            prefix,
            chats: (0..CHATS).map(|_| ChatId::generate()).collect(),
            written: Vec::new(),
            replies: Vec::new(),
            counted: HashSet::new(),
        };
        torture.set_faults();
        for bridge in [0, 1] {
            torture.start_bridge(bridge);
        }
        torture
    }

    fn set_faults(&self) {
        let account = format!("/chatwoot/api/v1/accounts/{}", self.place.chatwoot_account);
        let made = |what: &str, kind: FaultKind, probability: Option<f64>| FaultSpec {
            method: Some("POST".into()),
            probability,
            ..FaultSpec::on_path(format!("{account}{what}"), kind)
        };
        let late = || FaultKind::LateStatus {
            status: 502,
            body: Some("<html>late</html>".into()),
        };
        let hooks = |kind| FaultSpec::on_webhook(FaultTarget::ChatwootWebhook, kind);
        for fault in [
            made("/conversations", FaultKind::LostAnswer, Some(0.2)),
            made("/contacts", FaultKind::LostAnswer, Some(0.2)),
            made("/conversations", late(), Some(0.03)),
            made("/contacts", late(), Some(0.03)),
            made("/conversations/", FaultKind::SlowAnswer { ms: HELD_MS }, None),
            hooks(FaultKind::Duplicate {
                copies: 9,
                concurrent: true,
            }),
            hooks(FaultKind::Reorder { window_ms: 200 }),
        ] {
            self.simulator.add_fault(fault).unwrap();
        }
    }

    fn start_bridge(&mut self, bridge: usize) {
        let port = free_port();
        let child = command(&self.variables)
            .env("PORT", port.to_string())
            // Webhooks meet services that have not begun; hundreds of lines say so.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.bridges[bridge] = Some(child);
        self.balancer.ports[bridge].store(port, Ordering::Relaxed);
    }

    /// People write so many messages more. Everything is told twice, and something old once more, out of its order.
    async fn write(&mut self, count: usize) {
        for _ in 0..count {
            let number = self.written.len();
            let (chat, phone) = (self.chats[number % CHATS], phone(number % CHATS));
            let new = message(&self.place, chat, &phone, &waid(number), &words(number));
            let new = received(&self.place, new);
            let old = self.random.random_range(0..=number);
            let old = self.written.get(old).unwrap_or(&new).clone();
            for envelope in [&new, &old, &new] {
                let publication = publication(&self.sender.broker, envelope);
                self.publisher.publish(&publication).await.unwrap();
            }
            self.written.push(new);
        }
    }

    /// Agents write so many replies, in whatever conversations there are.
    fn answer(&mut self, count: usize) {
        let conversations = self.simulator.chatwoot_conversations(self.place.chatwoot_account);
        for _ in 0..count {
            if conversations.is_empty() {
                return;
            }
            let chosen = self.random.random_range(0..conversations.len());
            let reply = Reply {
                account_id: self.place.chatwoot_account,
                conversation_id: conversations[chosen].id,
                content: format!("jawab {}", self.replies.len()),
                ..Reply::default()
            };
            self.replies.push(self.simulator.agent_reply(&reply).unwrap());
        }
    }

    /// Webhooks that reached nobody, because whoever was to take them was killed, are fired again. Chatwoot would not do
    /// that; whether what it lost is found is another test's business. True when nothing had to be.
    fn fire_again(&self) -> bool {
        let accepted: HashSet<u64> = self
            .simulator
            .chatwoot_deliveries()
            .iter()
            .filter(|delivery| delivery.event == "message_created" && delivery.accepted())
            .filter_map(|delivery| delivery.message_id)
            .collect();
        let lost: Vec<u64> = self
            .replies
            .iter()
            .copied()
            .filter(|reply| !accepted.contains(reply))
            .collect();
        for message_id in &lost {
            let again = Redelivery {
                message_id: *message_id,
            };
            self.simulator.redeliver(&again).unwrap();
        }
        lost.is_empty()
    }

    /// Kills a bridge as soon as Chatwoot has made another message, and starts it again. Returns 1 when the bridge had
    /// not yet noted the id of a message it had made.
    async fn kill_one(&mut self, bridge: usize) -> usize {
        let made = || {
            self.simulator
                .chatwoot_messages(self.place.chatwoot_account)
                .len()
        };
        let before = made();
        eventually_within(PATIENCE, "another message is made", || async {
            (made() > before).then_some(())
        })
        .await;
        let mut child = self.bridges[bridge].take().unwrap();
        child.start_kill().unwrap();
        child.wait().await.unwrap();
        self.balancer.ports[bridge].store(0, Ordering::Relaxed);
        self.start_bridge(bridge);
        usize::from(self.has_torn().await)
    }

    /// Is there a message in Chatwoot of which a process that is no more had only the intent?
    async fn has_torn(&mut self) -> bool {
        use diesel_async::RunQueryDsl as _;

        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            id: String,
        }
        let intents: Vec<Row> = diesel::sql_query(
            "SELECT provider_message_id || ' ' || made_by AS id FROM message_links \
             WHERE chatwoot_message_id IS NULL AND made_by NOT IN (SELECT pid FROM pg_stat_activity)",
        )
        .load(&mut self.tables)
        .await
        .unwrap();
        let made: HashSet<String> = self
            .simulator
            .chatwoot_messages(self.place.chatwoot_account)
            .into_iter()
            .filter_map(|message| message.source_id)
            .collect();
        let mut torn = false;
        for Row { id } in intents {
            let waid = id.split(' ').next().unwrap_or_default().to_owned();
            torn |= made.contains(&format!("WAID:{waid}")) && self.counted.insert(id);
        }
        torn
    }

    async fn number(&mut self, query: &str) -> i64 {
        use diesel_async::RunQueryDsl as _;

        #[derive(QueryableByName)]
        struct Count {
            #[diesel(sql_type = BigInt)]
            n: i64,
        }
        let count: Count = diesel::sql_query(query)
            .get_result(&mut self.tables)
            .await
            .unwrap();
        count.n
    }

    /// Waits until all is done, and judges.
    async fn end(mut self) {
        let patient = Instant::now();
        loop {
            let incoming = self.incoming();
            let ordered: HashSet<String> = self.orders().into_keys().collect();
            let left = "SELECT (SELECT count(*) FROM lane_tasks) + (SELECT count(*) FROM outbox) AS n";
            let all_there = self.fire_again()
                && incoming.len() >= self.written.len()
                && ordered.len() == self.replies.len()
                && self.number(left).await == 0
                && self.all_read();
            if all_there {
                break;
            }
            let parked = "SELECT count(*) AS n FROM lane_tasks WHERE parked";
            assert_eq!(self.number(parked).await, 0, "put aside for people");
            assert!(
                patient.elapsed() < PATIENCE,
                "{} of {} messages, {} of {} replies, {} tasks and rows are left",
                incoming.len(),
                self.written.len(),
                ordered.len(),
                self.replies.len(),
                self.number(left).await
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.judge();
        for bridge in &mut self.bridges {
            bridge.take().unwrap().kill().await.unwrap();
        }
        self.stop.cancel();
        self.simulator.stop().await;
        clean(&self.prefix).await;
        drop(self.tables);
        drop(self.database);
    }

    /// Marks of what is in Chatwoot, by conversation and in the order in which it was made.
    fn incoming(&self) -> Vec<(u64, String)> {
        self.simulator
            .chatwoot_messages(self.place.chatwoot_account)
            .into_iter()
            .filter(|message| message.message_type == "incoming")
            .map(|message| (message.conversation_id, message.source_id.unwrap_or_default()))
            .collect()
    }

    /// The requests by the words they are to send.
    fn orders(&self) -> HashMap<String, usize> {
        let mut orders: HashMap<String, usize> = HashMap::new();
        for order in self.sender.orders.lock().unwrap().values() {
            *orders.entry(order.text.clone()).or_default() += 1;
        }
        orders
    }

    /// Was every reply shown as read? What Chatwoot makes of a message whose next webhook meets a killed bridge is its own
    /// business.
    fn all_read(&self) -> bool {
        let updates = self.simulator.status_updates();
        let read: HashSet<u64> = updates
            .iter()
            .filter(|update| update.status == "read" && update.applied)
            .map(|update| update.message_id)
            .collect();
        self.replies.iter().all(|reply| read.contains(reply))
    }

    fn judge(&self) {
        let mut by_conversation: HashMap<u64, Vec<String>> = HashMap::new();
        for (conversation, mark) in self.incoming() {
            by_conversation.entry(conversation).or_default().push(mark);
        }
        let mut expected: Vec<Vec<String>> = vec![Vec::new(); CHATS];
        for number in 0..self.written.len() {
            expected[number % CHATS].push(format!("WAID:{}", waid(number)));
        }
        let mut found: Vec<Vec<String>> = by_conversation.into_values().collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "each message once, in its chat and its order");
        let account = self.place.chatwoot_account;
        assert_eq!(self.simulator.chatwoot_contacts(account).len(), CHATS, "contacts");
        assert_eq!(
            self.simulator.chatwoot_conversations(account).len(),
            CHATS,
            "conversations"
        );
        let orders = self.orders();
        let twice: Vec<_> = orders.iter().filter(|(_, times)| **times != 1).collect();
        assert_eq!((twice, orders.len()), (Vec::new(), self.replies.len()), "replies");
    }
}

fn waid(number: usize) -> String {
    format!("3EB0{number:08}")
}

fn words(number: usize) -> String {
    format!("tanya {number}")
}

fn phone(chat: usize) -> String {
    format!("62812345{chat:05}")
}

fn variables(database: &TestProcessDatabase, prefix: &str) -> Vec<(&'static str, String)> {
    let text = |text: &str| text.to_owned();
    vec![
        ("HOST", text("127.0.0.1")),
        ("LOG_LEVEL", text("error")),
        ("HTTP_WORKERS", text("1")),
        ("DATABASE_URL", database.service_url("chatwoot_bridge")),
        ("MIGRATE_DATABASE_URL", database.admin_url()),
        ("DATABASE_POOL_SIZE", text("6")),
        ("RABBITMQ_URL", rabbitmq_url()),
        ("BROKER_PREFIX", prefix.to_owned()),
        ("ENCRYPTION_KEYS", text(ENCRYPTION_KEYS)),
        ("OUTBOUND_ALLOWED_PRIVATE_HOSTS", text("127.0.0.1:*")),
        ("CHATWOOT_WEBHOOK_SECRET", text(SECRET)),
        ("LANE_CONCURRENCY", text("6")),
        ("CHATWOOT_CONCURRENCY", text("3")),
        ("LANE_LEASE_MS", text(SURE_MS)),
        ("FETCH_TIMEOUT_MS", text(SURE_MS)),
        ("REPLY_ORDER_WINDOW_MS", text("50")),
        ("RETRY_ATTEMPTS", text("1000")),
        ("RETRY_FIRST_MS", text("50")),
        ("RETRY_LONGEST_MS", text("500")),
    ]
}

fn command(variables: &[(&'static str, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatwoot-bridge"));
    command
        .env_clear()
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn run(variables: &[(&'static str, String)], arguments: &[&str]) {
    let output = command(variables).args(arguments).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
}

/// Connects a new inbox as an operator does.
async fn connect(simulator: &Simulator, variables: &[(&'static str, String)], webhook: &str) -> Place {
    let account = simulator.create_chatwoot_account(NewAccount::default());
    let inbox = NewInbox {
        account_id: account.id,
        name: "WA Siksa".into(),
        webhook_url: webhook.into(),
        secret: Some(SECRET.into()),
        lock_to_single_conversation: false,
        channel_type: None,
    };
    let inbox = simulator.create_chatwoot_inbox(inbox).unwrap();
    let ours = AccountId::generate();
    let mut variables = variables.to_vec();
    variables.push(("CHATWOOT_API_TOKEN", account.api_access_token));
    let (ours_text, account_text, inbox_text) =
        (ours.to_string(), account.id.to_string(), inbox.id.to_string());
    let url = format!("{}/chatwoot", simulator.base_url());
    let connect = ["inbox", "connect", "--tenant", TENANT, "--account", &ours_text];
    let to = [
        "--chatwoot-url",
        &url,
        "--chatwoot-account",
        &account_text,
        "--inbox",
        &inbox_text,
    ];
    run(&variables, &[&connect[..], &to[..]].concat()).await;
    Place {
        scope: scope(TENANT),
        account: ours,
        chatwoot_account: account.id,
        inbox: inbox.id,
        link: Uuid::nil(),
    }
}

/// A port below those that the system gives to outgoing connections, one of which might sit on it while nobody listens.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() % 100) as u16 * 64;
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 13_000 + first.wrapping_add(step) % 6_400;
        if StdListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
