//! Groups, broadcast lists and status posts: skipped unless somebody wants them, and then chats of their own.

use domain::message::{InboundMessage, MessageKind};
use whatsapp::event::{InboundEvent, Keep, SkipReason};

use crate::fixtures::{FORM, JSON, accept, form_body, json_body, now};

const ALL: Keep = Keep {
    groups: true,
    broadcasts: true,
    status: true,
};

fn kept(name: &str, keep: Keep) -> Result<InboundMessage, SkipReason> {
    let read = |verified: whatsapp::genfity::Verified| match verified.parse_with(now(), keep).unwrap() {
        InboundEvent::Message(message) => Ok(*message),
        InboundEvent::Skipped(reason) => Err(reason),
        other => panic!("{name}: {other:?}"),
    };
    let json = read(accept(JSON, &json_body(name)));
    assert_eq!(
        json,
        read(accept(FORM, &form_body(name))),
        "{name}: the modes differ"
    );
    json
}

#[test]
fn a_place_that_is_wanted_is_a_chat_with_its_writer_known() {
    let group = kept("s09-poll-created-in-a-group", ALL).unwrap();
    assert_eq!(group.chat.as_str(), "120363040000000001@g.us");
    assert_eq!((group.chat_phone, group.chat_lid), (None, None));
    // By number, because the event tells it.
    assert_eq!(group.sender.unwrap().as_str(), "6281200000001@s.whatsapp.net");
    assert_eq!(group.push_name.unwrap().as_str(), "Budi");
    assert_eq!(group.content.kind(), MessageKind::Poll);
    assert_eq!(
        kept("c-group", ALL).unwrap().chat.as_str(),
        "120363000000000001@g.us"
    );
    assert_eq!(kept("x-status", ALL).unwrap().chat.as_str(), "status@broadcast");
    assert_eq!(
        kept("x-broadcast", ALL).unwrap().chat.as_str(),
        "1700000000@broadcast"
    );
}

#[test]
fn each_place_has_a_switch_of_its_own_and_some_have_none() {
    for (name, reason, keep) in [
        ("c-group", SkipReason::Group, Keep { groups: false, ..ALL }),
        ("x-status", SkipReason::Status, Keep { status: false, ..ALL }),
        (
            "x-broadcast",
            SkipReason::Broadcast,
            Keep {
                broadcasts: false,
                ..ALL
            },
        ),
        ("x-newsletter", SkipReason::Newsletter, ALL),
        ("x-bot", SkipReason::Bot, ALL),
    ] {
        assert_eq!(kept(name, keep), Err(reason), "{name}");
        assert_eq!(kept(name, Keep::default()), Err(reason), "{name}");
    }
}
