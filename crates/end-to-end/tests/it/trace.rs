//! `trace`: any id of a message leads to its whole way over the services, from whichever of them is asked, also while one
//! of them is away.

use end_to_end::Process;
use serde_json::Value;

use crate::round_trip::{ANSWER, PHONE, QUESTION, round_trip};
use crate::world::{STOP_PATIENCE, Setup, Tenant, World, answer, successful};

const CHANNEL: &str = "channel-service";
const BRIDGE: &str = "chatwoot-bridge";

async fn traced(service: &Process, id: &str) -> Value {
    answer(service, &service.run(&["trace", id, "--json"], &[]).await)
}

/// Service, what, and class of each hop of the one chain there is.
fn hops(trace: &Value) -> Vec<(String, String, String)> {
    let chains = trace["chains"].as_array().unwrap();
    assert_eq!(chains.len(), 1, "{trace}");
    let hops = chains[0]["hops"].as_array().unwrap();
    // Without its sign of the zone, a time sorts as text, with and without fractions.
    let at = |hop: &Value| hop["at"].as_str().unwrap().trim_end_matches('Z').to_owned();
    for pair in hops.windows(2) {
        assert!(at(&pair[0]) <= at(&pair[1]), "{trace}");
        assert!(pair[1]["since_before_ms"].is_i64());
    }
    let word = |hop: &Value, key: &str| hop[key].as_str().unwrap_or_default().to_owned();
    hops.iter()
        .map(|hop| (word(hop, "service"), word(hop, "what"), word(hop, "class")))
        .collect()
}

/// Each of these is among the hops, in this order.
fn assert_in_order(found: &[(String, String, String)], wanted: &[(&str, &str, &str)]) {
    let mut rest = found.iter();
    for (service, what, class) in wanted {
        assert!(
            rest.any(|hop| (hop.0.as_str(), hop.1.as_str(), hop.2.as_str()) == (*service, *what, *class)),
            "{service} {what} {class} is not where it should be: {found:?}"
        );
    }
}

/// The ids of the one chain there is, of a sort.
fn named(trace: &Value, kind: &str) -> Vec<String> {
    let names = trace["chains"][0]["names"].as_array().unwrap().iter();
    names
        .filter(|name| name["kind"] == kind)
        .map(|name| name["id"].as_str().unwrap().to_owned())
        .collect()
}

fn silent(trace: &Value) -> Vec<&str> {
    let asked = trace["asked"].as_array().unwrap().iter();
    asked
        .filter(|asked| !asked["silent"].is_null())
        .map(|asked| asked["service"].as_str().unwrap())
        .collect()
}

async fn ids_of(world: &World, tenant: &Tenant) -> [(String, Vec<String>); 2] {
    let (asked, replied) = (
        world.messages(tenant, "incoming"),
        world.messages(tenant, "outgoing"),
    );
    let mut known = Vec::new();
    for number in [asked[0].id, replied[0].id] {
        // Chatwoot's number alone leads to all the others.
        let trace = traced(&world.bridge, &number.to_string()).await;
        let mut ids = vec![number.to_string()];
        for kind in ["message", "whatsapp", "order"] {
            ids.extend(named(&trace, kind));
        }
        known.push((number.to_string(), ids));
    }
    let [question, reply] = <[_; 2]>::try_from(known).unwrap();
    assert!(question.1.len() >= 3, "number, message, WhatsApp: {question:?}");
    assert!(reply.1.len() >= 4, "and the order: {reply:?}");
    [question, reply]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_id_of_a_message_leads_to_its_whole_way() {
    let mut world = World::start(Setup::named("trace")).await;
    let tenant = world.add_tenant("desa-contoh").await;
    round_trip(&world, &tenant).await;
    let [question, reply] = ids_of(&world, &tenant).await;
    let inward = [
        (CHANNEL, "written", ""),
        (CHANNEL, "accepted", ""),
        (CHANNEL, "kept", ""),
        (BRIDGE, "put_in_chatwoot", ""),
    ];
    let outward = [
        (BRIDGE, "accepted_from_chatwoot", ""),
        (CHANNEL, "ordered", ""),
        (CHANNEL, "attempt", "accepted"),
        (CHANNEL, "stands", "sent"),
        (CHANNEL, "stands", "read"),
        (BRIDGE, "stands", "read"),
    ];
    for service in [&world.channel, &world.gateway, &world.bridge] {
        for (ids, wanted) in [(&question.1, &inward[..]), (&reply.1, &outward[..])] {
            for id in ids {
                let trace = traced(service, id).await;
                assert_eq!(trace["chains"][0]["tenant_id"], tenant.id, "{id}");
                assert_in_order(&hops(&trace), wanted);
                assert_eq!(silent(&trace), Vec::<&str>::new(), "{trace}");
            }
        }
    }
    let printed = world.channel.run(&["trace", &reply.0], &[]).await;
    successful(&world.channel, &printed);
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(
        printed.contains("tenant desa-contoh") && printed.contains("stands read"),
        "{printed}"
    );
    for words in [QUESTION, ANSWER, PHONE] {
        assert!(!printed.contains(words), "{words}");
    }
    let nothing = world.bridge.run(&["trace", "tiada"], &[]).await;
    successful(&world.bridge, &nothing);
    let nothing = String::from_utf8(nothing.stdout).unwrap();
    for place in [
        "at channel-service among messages",
        "at chatwoot-bridge among",
        "at wa-support-gateway among",
    ] {
        assert!(nothing.contains(place), "{nothing}");
    }
    one_is_away(&mut world, &reply.1, &outward).await;
    world.finish().await;
}

/// What the others know is shown, and who is away is said.
async fn one_is_away(world: &mut World, ids: &[String], wanted: &[(&str, &str, &str)]) {
    for victim in [BRIDGE, CHANNEL, "wa-support-gateway"] {
        world.service(victim).terminate(STOP_PATIENCE).await;
        let rest: Vec<_> = wanted.iter().copied().filter(|hop| hop.0 != victim).collect();
        for id in ids {
            let asked = if victim == CHANNEL {
                &world.bridge
            } else {
                &world.channel
            };
            let trace = traced(asked, id).await;
            assert_eq!(silent(&trace), [victim], "{trace}");
            // By channel-service's own id of it nobody else knows it.
            let is_lost = victim == CHANNEL && trace["chains"].as_array().unwrap().is_empty();
            if !is_lost {
                assert_in_order(&hops(&trace), &rest);
            }
        }
        // Its own tables tell without its server.
        let own = traced(world.service(victim), &ids[0]).await;
        assert_in_order(&hops(&own), wanted);
        assert_eq!(silent(&own), Vec::<&str>::new());
        world.service(victim).start();
        world.ready(victim).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chores_about_what_was_put_aside_go_by_one_word() {
    let world = World::prepare(Setup::named("chores")).await;
    let id = "0190a000-0000-7000-8000-000000000001";
    let tenant = ["--tenant", "desa-contoh"];
    for service in [&world.channel, &world.bridge, &world.gateway] {
        let list = answer(
            service,
            &service
                .run(&[&["deadletter", "list"][..], &tenant].concat(), &[])
                .await,
        );
        assert!(
            list.as_object()
                .unwrap()
                .values()
                .any(|one| one.as_array().is_some_and(Vec::is_empty)),
            "{list}"
        );
        for command in [["deadletter", "show"], ["deadletter", "replay"]] {
            let refused = service
                .run(&[&command[..], &tenant, &["--id", id]].concat(), &[])
                .await;
            let said = String::from_utf8_lossy(&refused.stderr);
            assert_eq!(refused.status.code(), Some(1), "{said}");
        }
        let outbox = answer(service, &service.run(&["outbox", "list"], &[]).await);
        assert_eq!(outbox["waiting"], 0, "{}", service.service());
        for command in [["outbox", "show", id], ["outbox", "replay", id]] {
            let refused = service.run(&command, &[]).await;
            assert!(!refused.status.success());
            assert!(String::from_utf8_lossy(&refused.stderr).contains("it was published"));
        }
        let all = answer(service, &service.run(&["outbox", "replay", "--all"], &[]).await);
        assert_eq!(all["replayed"], 0);
    }
    for old in [&["task", "parked"][..], &["forward", "parked"]] {
        let said = world
            .bridge
            .run(&[old, &["--tenant", "desa-contoh"]].concat(), &[])
            .await;
        successful(&world.bridge, &said);
    }
    let said = world
        .gateway
        .run(&["hook", "parked", "--customer", "desa-contoh"], &[])
        .await;
    successful(&world.gateway, &said);
}
