//! Templates and interactive messages: what WhatsApp takes passes unchanged, and what breaks a limit names field and rule.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use domain::message::{InteractiveMessage, InvalidContent, TemplateMessage};
use serde_json::{Value, json};

fn interactive(value: &Value) -> Result<(), InvalidContent> {
    let message: InteractiveMessage = serde_json::from_value(value.clone()).unwrap();
    message.validate()?;
    assert_eq!(serde_json::to_value(&message).unwrap(), *value);
    Ok(())
}

fn template(value: &Value) -> Result<(), InvalidContent> {
    let message: TemplateMessage = serde_json::from_value(value.clone()).unwrap();
    message.validate()?;
    assert_eq!(serde_json::to_value(&message).unwrap(), *value);
    Ok(())
}

/// The value with something else at a place.
fn with(value: &Value, place: &str, other: Value) -> Value {
    let mut value = value.clone();
    let (parent, last) = place.rsplit_once('/').unwrap();
    let parent = value.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(list) => match last.parse::<usize>() {
            Ok(index) if index < list.len() => list[index] = other,
            _ => list.push(other),
        },
        parent => parent[last] = other,
    }
    value
}

fn buttons() -> Value {
    json!({"type": "button", "header": {"type": "text", "text": "Jadwal"}, "body": {"text": "Hadir besok?"},
           "footer": {"text": "Kantor Hukum"}, "action": {"buttons": [
               {"type": "reply", "reply": {"id": "confirm:4711", "title": "Ya"}},
               {"type": "reply", "reply": {"id": "cancel:4711", "title": "Tidak"}}]}})
}

fn list() -> Value {
    json!({"type": "list", "body": {"text": "Pilih waktu"}, "action": {"button": "Lihat waktu", "sections": [
        {"title": "Sabtu", "rows": [{"id": "slot:1", "title": "10.00", "description": "Online"},
                                    {"id": "slot:2", "title": "11.00"}]}]}})
}

fn page() -> Value {
    json!({"type": "cta_url", "body": {"text": "Unggah berkas di portal"}, "action": {"name": "cta_url",
           "parameters": {"display_text": "Buka portal", "url": "https://portal.example.test/4711"}}})
}

fn flow() -> Value {
    json!({"type": "flow", "body": {"text": "Isi formulir"}, "action": {"name": "flow", "parameters": {
        "flow_message_version": "3", "flow_token": "ft-4711", "flow_id": "770000000000001", "flow_cta": "Mulai",
        "mode": "published", "flow_action": "navigate",
        "flow_action_payload": {"screen": "INTAKE", "data": {"case_id": "4711"}}}}})
}

fn products() -> Value {
    json!({"type": "product_list", "header": {"type": "text", "text": "Paket"}, "body": {"text": "Pilih paket"},
           "action": {"catalog_id": "330000000000001", "sections": [
               {"title": "Dasar", "product_items": [{"product_retailer_id": "SKU-014"}]}]}})
}

fn summons() -> Value {
    json!({"name": "pengingat_sidang", "language": {"code": "id"}, "components": [
        {"type": "header", "parameters": [
            {"type": "document", "document": {"id": "1900000000000010", "filename": "panggilan.pdf"}}]},
        {"type": "body", "parameters": [
            {"type": "text", "text": "Sari"},
            {"type": "date_time", "date_time": {"fallback_value": "22 November 2026"}},
            {"type": "currency",
             "currency": {"fallback_value": "Rp 150.000", "code": "IDR", "amount_1000": 150_000_000}}]},
        {"type": "button", "sub_type": "quick_reply", "index": "0",
         "parameters": [{"type": "payload", "payload": "confirm:4711"}]},
        {"type": "button", "sub_type": "url", "index": "1",
         "parameters": [{"type": "text", "text": "perkara/4711"}]}]})
}

#[test]
fn what_the_contract_shows_passes_unchanged() {
    for message in [
        buttons(),
        list(),
        page(),
        flow(),
        products(),
        json!({"type": "product", "body": {"text": "Paket konsultasi"},
               "action": {"catalog_id": "330000000000001", "product_retailer_id": "SKU-014"}}),
        json!({"type": "location_request_message", "body": {"text": "Mohon kirim lokasi"},
               "action": {"name": "send_location"}}),
        json!({"type": "request_contact_info", "body": {"text": "x"}, "action": {"name": "request_contact_info"}}),
        json!({"type": "carousel", "body": {"text": "x"}, "action": {"cards": [{"a": 1}, {"b": [2]}]}}),
        with(
            &buttons(),
            "/header",
            json!({"type": "image", "image": {"id": "1"}}),
        ),
    ] {
        assert_eq!(interactive(&message), Ok(()), "{message}");
    }
    let named = json!({"name": "janji_temu", "language": {"code": "en_US"}, "components": [
        {"type": "body", "parameters": [{"type": "text", "parameter_name": "nama", "text": "Sari"},
                                        {"type": "text", "parameter_name": "jam", "text": "10.00"}]},
        {"type": "button", "sub_type": "flow", "index": "0", "parameters": [
            {"type": "action", "action": {"flow_token": "ft", "flow_action_data": {"case_id": "4711"}}}]},
        {"type": "limited_time_offer", "parameters": [{"type": "x"}]}]});
    for message in [
        summons(),
        named,
        json!({"name": "kode", "language": {"code": "id"}}),
    ] {
        assert_eq!(template(&message), Ok(()), "{message}");
    }
}

#[test]
fn spellings_of_clients_are_read_as_one() {
    let written = json!({"name": "x", "language": {"code": "id", "policy": "deterministic"}, "components": [
        {"type": "BODY", "parameters": [{"type": "text", "text": "Sari"}]},
        {"type": "BUTTON", "sub_type": "QUICK_REPLY", "index": 0, "parameters": []}]});
    let message: TemplateMessage = serde_json::from_value(written).unwrap();
    message.validate().unwrap();
    assert_eq!(
        serde_json::to_value(&message).unwrap(),
        json!({"name": "x", "language": {"code": "id"}, "components": [
            {"type": "body", "parameters": [{"type": "text", "text": "Sari"}]},
            {"type": "button", "sub_type": "quick_reply", "index": "0"}]})
    );
}

#[test]
fn what_breaks_a_limit_of_an_interactive_message_is_named() {
    let long = |count: usize| json!("x".repeat(count));
    let row = |id: usize| json!({"id": id.to_string(), "title": "x"});
    let rows = |count: usize| (0..count).map(row).collect::<Value>();
    let items = |count: usize| {
        let item = json!({"product_retailer_id": "x"});
        Value::Array(vec![item; count])
    };
    let reply = |id: &str, title: &str| json!({"type": "reply", "reply": {"id": id, "title": title}});
    for (message, place, other, field) in [
        (buttons(), "/action/buttons", json!([]), "action.buttons"),
        (
            buttons(),
            "/action/buttons",
            json!([reply("1", "a"), reply("2", "b"), reply("3", "c"), reply("4", "d")]),
            "action.buttons",
        ),
        (
            buttons(),
            "/action/buttons/0/reply/id",
            long(257),
            "action.buttons[0].reply.id",
        ),
        (
            buttons(),
            "/action/buttons/1/reply/title",
            long(21),
            "action.buttons[1].reply.title",
        ),
        (
            buttons(),
            "/action/buttons/1/reply/title",
            json!("Ya"),
            "action.buttons.reply.title",
        ),
        (
            buttons(),
            "/action/buttons/1/reply/id",
            json!("confirm:4711"),
            "action.buttons.reply.id",
        ),
        (buttons(), "/body/text", long(1_025), "body.text"),
        (buttons(), "/body/text", json!(" "), "body.text"),
        (buttons(), "/body", json!(null), "body"),
        (buttons(), "/footer/text", long(61), "footer.text"),
        (buttons(), "/header/text", long(61), "header.text"),
        (
            buttons(),
            "/header",
            json!({"type": "image", "image": {"id": "1", "link": "https://a.example"}}),
            "header.image",
        ),
        (
            buttons(),
            "/header",
            json!({"type": "video", "video": {"link": "ftp://a.example"}}),
            "header.video.link",
        ),
        (list(), "/action/button", long(21), "action.button"),
        (list(), "/action/sections", json!([]), "action.sections"),
        (
            list(),
            "/action/sections/0/rows",
            rows(11),
            "action.sections[0].rows",
        ),
        (
            list(),
            "/action/sections/1",
            json!({"title": "x", "rows": rows(9)}),
            "action.sections.rows",
        ),
        (
            list(),
            "/action/sections/1",
            json!({"rows": rows(1)}),
            "action.sections[1].title",
        ),
        (
            list(),
            "/action/sections/0/title",
            long(25),
            "action.sections[0].title",
        ),
        (
            list(),
            "/action/sections/0/rows/1/id",
            json!("slot:1"),
            "action.sections.rows.id",
        ),
        (
            list(),
            "/action/sections/0/rows/0/id",
            long(201),
            "action.sections[0].rows[0].id",
        ),
        (
            list(),
            "/action/sections/0/rows/0/title",
            long(25),
            "action.sections[0].rows[0].title",
        ),
        (
            list(),
            "/action/sections/0/rows/0/description",
            long(73),
            "action.sections[0].rows[0].description",
        ),
        (list(), "/body/text", long(4_097), "body.text"),
        (
            list(),
            "/header",
            json!({"type": "image", "image": {"id": "1"}}),
            "header.type",
        ),
        (
            page(),
            "/action/parameters/display_text",
            long(21),
            "action.parameters.display_text",
        ),
        (
            page(),
            "/action/parameters/url",
            json!("javascript:x"),
            "action.parameters.url",
        ),
        (
            flow(),
            "/action/parameters/flow_name",
            json!("x"),
            "action.parameters.flow_id",
        ),
        (
            flow(),
            "/action/parameters/flow_cta",
            json!("Mulai 🚀"),
            "action.parameters.flow_cta",
        ),
        (
            flow(),
            "/action/parameters/flow_action",
            json!("data_exchange"),
            "action.parameters.flow_action_payload",
        ),
        (
            flow(),
            "/action/parameters/flow_action_payload/data",
            json!({}),
            "action.parameters.flow_action_payload.data",
        ),
        (products(), "/header", json!(null), "header"),
        (
            products(),
            "/action/sections/0/product_items",
            items(31),
            "action.sections[0].product_items",
        ),
        // Of a known sort, and not of its shape.
        (
            buttons(),
            "/action/buttons/0/reply/extra",
            json!(1),
            "interactive",
        ),
        (flow(), "/action/parameters/mode", json!("secret"), "interactive"),
    ] {
        let changed = with(&message, place, other);
        let error = interactive(&changed).unwrap_err();
        assert_eq!(error.field(), field, "{error}");
        assert!(
            !error.reason().is_empty() && !error.reason().contains("secret"),
            "{error}"
        );
    }
    for (raw, field) in [
        (
            json!({"type": "carousel", "action": {"cards": [1]}}),
            "action.cards",
        ),
        (json!({"type": "a b"}), "type"),
        (json!("words"), "type"),
        (json!({"type": "new", "x": "y".repeat(40_000)}), ""),
    ] {
        assert_eq!(interactive(&raw).unwrap_err().field(), field, "{field}");
    }
    let missing = json!({"type": "list", "body": {"text": "x"}, "action": {"sections": []}});
    assert_eq!(
        interactive(&missing).unwrap_err().reason(),
        "missing field `button`"
    );
}

#[test]
fn what_breaks_a_rule_of_a_template_is_named() {
    let text = |text: &str| json!({"type": "text", "text": text});
    for (place, other, field) in [
        ("/name", json!("Pengingat"), "name"),
        ("/name", json!(""), "name"),
        ("/language/code", json!("bahasa indonesia"), "language.code"),
        (
            "/components/0/parameters/1",
            text("x"),
            "components[0].parameters",
        ),
        (
            "/components/0/parameters/0/document",
            json!({"filename": "x.pdf"}),
            "components[0].parameters[0].document",
        ),
        (
            "/components/1/parameters/0",
            text("a\nb"),
            "components[1].parameters[0].text",
        ),
        (
            "/components/1/parameters/0",
            text("a     b"),
            "components[1].parameters[0].text",
        ),
        (
            "/components/1/parameters/0",
            text(""),
            "components[1].parameters[0].text",
        ),
        (
            "/components/1/parameters/0",
            json!({"type": "text", "text": "x", "parameter_name": "nama"}),
            "components[1].parameters",
        ),
        (
            "/components/1/parameters/2/currency/code",
            json!("rupiah"),
            "components[1].parameters[2].currency.code",
        ),
        (
            "/components/1/parameters/0",
            json!({"type": "text"}),
            "components[1].parameters[0]",
        ),
        ("/components/3/index", json!("0"), "components[3].index"),
        ("/components/3/index", json!("10"), "components[3].index"),
        ("/components/3/index", json!("x"), "components[3]"),
        ("/components/4", json!({"type": "body"}), "components"),
        ("/components/4", json!({"words": 1}), "components[4].type"),
    ] {
        let error = template(&with(&summons(), place, other)).unwrap_err();
        assert_eq!(error.field(), field, "{place}: {error}");
    }
}

#[test]
fn debug_shows_no_words() {
    let interactive: InteractiveMessage = serde_json::from_value(buttons()).unwrap();
    let template: TemplateMessage = serde_json::from_value(summons()).unwrap();
    let shown = format!("{interactive:?} {template:?}");
    for words in ["Hadir", "Tidak", "Sari", "panggilan", "4711"] {
        assert!(!shown.contains(words), "{words}: {shown}");
    }
}
