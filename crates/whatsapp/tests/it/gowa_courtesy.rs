//! Typing and read marks, as GoWA is asked for them.

use domain::address::ChatAddress;
use serde_json::json;
use whatsapp::courtesy::{ShowCourtesy, Typing};
use whatsapp::gowa::GowaCourtesy;

use crate::gowa_server::{device, endpoint, first_lines, id, results};
use crate::server::serve;

#[tokio::test]
async fn typing_and_read_marks_are_shown_once() {
    let done = || results(json!({}));
    let (base, asked) = serve(vec![done(), done(), done(), done()]).await;
    let courtesy = GowaCourtesy::new(&endpoint(&base)).unwrap();
    let chat = ChatAddress::parse("628123450001@s.whatsapp.net").unwrap();
    let (device, messages) = (device(), [id("3EB0A"), id("3EB0B")]);
    courtesy
        .presence(&device, &chat, Typing::Composing)
        .await
        .unwrap();
    courtesy.presence(&device, &chat, Typing::Paused).await.unwrap();
    courtesy.mark_read(&device, &chat, &messages).await.unwrap();
    let asked = asked.await.unwrap();
    assert_eq!(
        first_lines(&asked),
        [
            "POST /v1/wa/send/chat-presence",
            "POST /v1/wa/send/chat-presence",
            "POST /v1/wa/message/3EB0A/read",
            "POST /v1/wa/message/3EB0B/read"
        ]
    );
    assert!(asked[0].contains("\"action\":\"start\"") && asked[1].contains("\"action\":\"stop\""));
}
