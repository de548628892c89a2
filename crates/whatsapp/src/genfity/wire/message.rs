//! `event.Message`: protobuf as JSON, lower camel case with the exceptions of wa-server contract 13. Older servers
//! spell some keys in other case; where the contract knows such a spelling it is an alias.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Loose;

/// One of the kinds a message can be. Wrappers stay raw: the server opens them itself as a rule, and reading them
/// on demand keeps nesting in our hands instead of the stack's.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::genfity) struct Message<'a> {
    #[serde(borrow, alias = "Conversation")]
    pub(in crate::genfity) conversation: Loose<'a>,
    #[serde(borrow, alias = "ExtendedTextMessage")]
    pub(in crate::genfity) extended_text_message: Option<ExtendedText<'a>>,
    #[serde(borrow, alias = "ImageMessage")]
    pub(in crate::genfity) image_message: Option<File<'a>>,
    #[serde(borrow, alias = "VideoMessage")]
    pub(in crate::genfity) video_message: Option<File<'a>>,
    #[serde(borrow)]
    pub(in crate::genfity) ptv_message: Option<File<'a>>,
    #[serde(borrow, alias = "AudioMessage")]
    pub(in crate::genfity) audio_message: Option<File<'a>>,
    #[serde(borrow, alias = "DocumentMessage")]
    pub(in crate::genfity) document_message: Option<File<'a>>,
    #[serde(borrow, alias = "StickerMessage")]
    pub(in crate::genfity) sticker_message: Option<File<'a>>,
    #[serde(borrow, alias = "LocationMessage")]
    pub(in crate::genfity) location_message: Option<Location<'a>>,
    #[serde(borrow)]
    pub(in crate::genfity) live_location_message: Option<Location<'a>>,
    #[serde(borrow, alias = "ContactMessage")]
    pub(in crate::genfity) contact_message: Option<Contact<'a>>,
    #[serde(borrow)]
    pub(in crate::genfity) contacts_array_message: Option<Contacts<'a>>,
    #[serde(borrow)]
    pub(in crate::genfity) reaction_message: Option<Reaction<'a>>,
    #[serde(borrow)]
    pub(in crate::genfity) poll_creation_message: Option<Poll<'a>>,
    #[serde(borrow, rename = "pollCreationMessageV2")]
    pub(in crate::genfity) poll_creation_message_v2: Option<Poll<'a>>,
    #[serde(borrow, rename = "pollCreationMessageV3")]
    pub(in crate::genfity) poll_creation_message_v3: Option<Poll<'a>>,
    #[serde(borrow)]
    pub(in crate::genfity) poll_update_message: Option<PollUpdate<'a>>,
    #[serde(borrow)]
    pub(in crate::genfity) protocol_message: Option<Protocol<'a>>,
    #[serde(borrow)]
    pub(in crate::genfity) buttons_response_message: Option<ButtonsResponse<'a>>,
    #[serde(borrow)]
    pub(in crate::genfity) list_response_message: Option<ListResponse<'a>>,
    #[serde(borrow)]
    pub(in crate::genfity) template_button_reply_message: Option<TemplateReply<'a>>,
    #[serde(borrow)]
    pub(in crate::genfity) interactive_response_message: Option<InteractiveResponse<'a>>,
    #[serde(borrow)]
    pub(in crate::genfity) ephemeral_message: Option<Wrapper<'a>>,
    #[serde(borrow)]
    pub(in crate::genfity) view_once_message: Option<Wrapper<'a>>,
    #[serde(borrow, rename = "viewOnceMessageV2")]
    pub(in crate::genfity) view_once_message_v2: Option<Wrapper<'a>>,
    #[serde(borrow, rename = "viewOnceMessageV2Extension")]
    pub(in crate::genfity) view_once_message_v2_extension: Option<Wrapper<'a>>,
    #[serde(borrow)]
    pub(in crate::genfity) document_with_caption_message: Option<Wrapper<'a>>,
    #[serde(borrow)]
    pub(in crate::genfity) edited_message: Option<Wrapper<'a>>,
    #[serde(borrow)]
    pub(in crate::genfity) device_sent_message: Option<Wrapper<'a>>,
}

/// A message inside a message.
#[derive(Deserialize)]
pub(in crate::genfity) struct Wrapper<'a> {
    #[serde(borrow)]
    pub(in crate::genfity) message: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::genfity) struct ExtendedText<'a> {
    #[serde(borrow, default, alias = "Text")]
    pub(in crate::genfity) text: Loose<'a>,
    #[serde(borrow)]
    pub(in crate::genfity) context_info: Option<&'a RawValue>,
}

/// Image, video, audio, document, sticker: one shape, some fields each.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::genfity) struct File<'a> {
    #[serde(borrow, default, rename = "URL", alias = "url")]
    pub(in crate::genfity) url: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::genfity) direct_path: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::genfity) media_key: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::genfity) mimetype: Loose<'a>,
    #[serde(borrow, default, rename = "fileEncSHA256", alias = "fileEncSha256")]
    pub(in crate::genfity) file_enc_sha256: Loose<'a>,
    #[serde(borrow, default, rename = "fileSHA256", alias = "fileSha256")]
    pub(in crate::genfity) file_sha256: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::genfity) file_length: Loose<'a>,
    #[serde(borrow, default, alias = "Caption")]
    pub(in crate::genfity) caption: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::genfity) file_name: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::genfity) title: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::genfity) seconds: Loose<'a>,
    #[serde(borrow, default, rename = "PTT", alias = "ptt")]
    pub(in crate::genfity) ptt: Loose<'a>,
    #[serde(borrow)]
    pub(in crate::genfity) context_info: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::genfity) struct Location<'a> {
    #[serde(borrow, default)]
    pub(in crate::genfity) degrees_latitude: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::genfity) degrees_longitude: Loose<'a>,
    #[serde(borrow, default, alias = "Name")]
    pub(in crate::genfity) name: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::genfity) address: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::genfity) caption: Loose<'a>,
    #[serde(borrow)]
    pub(in crate::genfity) context_info: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::genfity) struct Contact<'a> {
    #[serde(borrow, default, alias = "DisplayName")]
    pub(in crate::genfity) display_name: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::genfity) vcard: Loose<'a>,
    #[serde(borrow)]
    pub(in crate::genfity) context_info: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::genfity) struct Contacts<'a> {
    #[serde(borrow)]
    pub(in crate::genfity) contacts: Option<Vec<Contact<'a>>>,
    #[serde(borrow)]
    pub(in crate::genfity) context_info: Option<&'a RawValue>,
}

/// The key of another message.
#[derive(Deserialize)]
pub(in crate::genfity) struct Key<'a> {
    #[serde(borrow, default, rename = "ID", alias = "id")]
    pub(in crate::genfity) id: Loose<'a>,
}

#[derive(Deserialize)]
pub(in crate::genfity) struct Reaction<'a> {
    #[serde(borrow)]
    pub(in crate::genfity) key: Option<Key<'a>>,
    #[serde(borrow, default)]
    pub(in crate::genfity) text: Loose<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::genfity) struct Poll<'a> {
    #[serde(borrow, default)]
    pub(in crate::genfity) name: Loose<'a>,
    #[serde(borrow)]
    pub(in crate::genfity) options: Option<Vec<PollOption<'a>>>,
    #[serde(borrow, default)]
    pub(in crate::genfity) selectable_options_count: Loose<'a>,
    #[serde(borrow)]
    pub(in crate::genfity) context_info: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(in crate::genfity) struct PollOption<'a> {
    #[serde(borrow, default, rename = "optionName")]
    pub(in crate::genfity) name: Loose<'a>,
}

#[derive(Deserialize)]
pub(in crate::genfity) struct PollUpdate<'a> {
    #[serde(borrow, rename = "pollCreationMessageKey")]
    pub(in crate::genfity) poll: Option<Key<'a>>,
}

/// Edits, deletions, and much housekeeping between devices.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::genfity) struct Protocol<'a> {
    #[serde(borrow)]
    pub(in crate::genfity) key: Option<Key<'a>>,
    #[serde(borrow, default, rename = "type")]
    pub(in crate::genfity) kind: Loose<'a>,
    #[serde(borrow)]
    pub(in crate::genfity) edited_message: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::genfity) struct ButtonsResponse<'a> {
    #[serde(borrow, default, rename = "selectedButtonID", alias = "selectedButtonId")]
    pub(in crate::genfity) id: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::genfity) selected_display_text: Loose<'a>,
    #[serde(borrow)]
    pub(in crate::genfity) context_info: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::genfity) struct ListResponse<'a> {
    #[serde(borrow, default)]
    pub(in crate::genfity) title: Loose<'a>,
    #[serde(borrow)]
    pub(in crate::genfity) single_select_reply: Option<SelectedRow<'a>>,
    #[serde(borrow)]
    pub(in crate::genfity) context_info: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(in crate::genfity) struct SelectedRow<'a> {
    #[serde(borrow, default, rename = "selectedRowID", alias = "selectedRowId")]
    pub(in crate::genfity) id: Loose<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::genfity) struct TemplateReply<'a> {
    #[serde(borrow, default, rename = "selectedID", alias = "selectedId")]
    pub(in crate::genfity) id: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::genfity) selected_display_text: Loose<'a>,
    #[serde(borrow)]
    pub(in crate::genfity) context_info: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::genfity) struct InteractiveResponse<'a> {
    #[serde(borrow)]
    pub(in crate::genfity) body: Option<InteractiveBody<'a>>,
    #[serde(borrow)]
    pub(in crate::genfity) context_info: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(in crate::genfity) struct InteractiveBody<'a> {
    #[serde(borrow, default)]
    pub(in crate::genfity) text: Loose<'a>,
}

/// What a message answers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::genfity) struct ContextInfo<'a> {
    #[serde(borrow, default, rename = "stanzaID", alias = "stanzaId")]
    pub(in crate::genfity) stanza_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::genfity) participant: Loose<'a>,
    #[serde(borrow)]
    pub(in crate::genfity) quoted_message: Option<&'a RawValue>,
}
