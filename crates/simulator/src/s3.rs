//! A bucket whose objects everybody may read, mounted at `/s3`: where a WA server puts files of messages when it is set
//! to (WA contract §6). Plain `GET`; `PUT` fills it.

use std::sync::Arc;

use crate::http::{Answer, Call};
use crate::hub::{Hub, lock};
use crate::wa::media::MediaStore;

#[derive(Debug, Default)]
pub(crate) struct S3State {
    objects: MediaStore,
}

pub(crate) fn answer(hub: &Arc<Hub>, call: &Call) -> Answer {
    let key = call.segments.join("/");
    let mut state = lock(&hub.s3);
    match call.method.as_str() {
        "PUT" => {
            state.objects.put(&key, call.body.to_vec());
            Answer::text(200, "")
        }
        "GET" => match state.objects.get(&key) {
            Some(bytes) => Answer {
                // As S3 answers an object that was stored without a type.
                content_type: "binary/octet-stream",
                body: bytes.to_vec(),
                ..Answer::text(200, "")
            },
            None => Answer::text(404, "<Error><Code>NoSuchKey</Code></Error>"),
        },
        _ => Answer::text(405, "<Error><Code>MethodNotAllowed</Code></Error>"),
    }
}

pub(crate) fn put(hub: &Arc<Hub>, key: &str, bytes: Vec<u8>) {
    lock(&hub.s3).objects.put(key, bytes);
}
