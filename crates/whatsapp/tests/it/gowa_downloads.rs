//! Fetching a file that GoWA holds, against a server that answers so.

use bytes::Bytes;
use domain::message::{MediaKind, ServerFile};
use futures_util::TryStreamExt as _;
use serde_json::json;
use whatsapp::download::{DownloadError, DownloadMedia, HeldFile, WantedFile};
use whatsapp::gowa::GowaDownloads;

use crate::gowa_server::{device, endpoint, first_lines, id, refuses, results};
use crate::server::{Manner, answer, serve};

async fn download(base: &str, path: Option<&str>) -> Result<Vec<u8>, DownloadError> {
    let file = WantedFile {
        kind: MediaKind::Image,
        mime_type: None,
        held: HeldFile::Server(ServerFile {
            path: path.map(str::to_owned),
            message: id("3EB0AAAA0002"),
            chat: "628123450001@s.whatsapp.net".to_owned(),
        }),
    };
    let downloads = GowaDownloads::new(&endpoint(base)).unwrap();
    let pieces: Vec<Bytes> = downloads.download(&device(), &file).await?.try_collect().await?;
    Ok(pieces.concat())
}

#[tokio::test]
async fn a_file_has_a_second_chance_and_no_other_host() {
    let bytes = || Manner::Say(answer(200, "", "the file"));
    let (base, asked) = serve(vec![bytes()]).await;
    assert_eq!(
        download(&base, Some("statics/media/a.jpg")).await.unwrap(),
        b"the file"
    );
    assert_eq!(
        first_lines(&asked.await.unwrap()),
        ["GET /v1/wa/statics/media/a.jpg"]
    );

    let again = json!({"message_id": "x", "file_path": "statics/media/b.jpg", "file_url": "http://evil.example/b.jpg"});
    let gone = Manner::Say(answer(404, "", "Not Found"));
    let (base, asked) = serve(vec![gone, results(again), bytes()]).await;
    assert_eq!(
        download(&base, Some("statics/media/a.jpg")).await.unwrap(),
        b"the file"
    );
    assert_eq!(
        first_lines(&asked.await.unwrap())[1..],
        [
            "GET /v1/wa/message/3EB0AAAA0002/download?phone=628123450001%40s.whatsapp.net",
            "GET /v1/wa/statics/media/b.jpg"
        ]
    );
    let never = |reason| Err(DownloadError::Never { reason });
    assert_eq!(
        download("http://127.0.0.1:1", Some("statics/../devices")).await,
        never("path_refused")
    );
    assert_eq!(
        download("http://127.0.0.1:1", Some("statics/a.jpg")).await,
        Err(DownloadError::later("unreachable"))
    );
    for (manner, outcome) in [
        (
            refuses(500, "INTERNAL_SERVER_ERROR"),
            Err(DownloadError::later("provider_failed")),
        ),
        (
            refuses(401, "AUTHENTICATION_ERROR"),
            Err(DownloadError::later("no_session")),
        ),
        (
            results(json!({"file_path": "http://evil.example/x"})),
            never("path_refused"),
        ),
        (results(json!({"file_path": ""})), never("not_on_server")),
        (
            Manner::Say(answer(302, "location: http://evil.example/\r\n", "")),
            never("redirected"),
        ),
    ] {
        let (base, _asked) = serve(vec![manner]).await;
        assert_eq!(download(&base, None).await, outcome);
    }
}
