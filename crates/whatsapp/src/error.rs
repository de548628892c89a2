//! Why a webhook could not be used. Each error has a stable code and a text that is safe for the caller: none of
//! them holds a piece of the body.

/// The body is no webhook of this provider at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedWebhook {
    /// Neither JSON nor a urlencoded form.
    #[error("the content type must be application/json or application/x-www-form-urlencoded")]
    UnsupportedContentType,
    /// There is no body.
    #[error("the body is empty")]
    EmptyBody,
    /// The body, or a field of the form, is no UTF-8.
    #[error("the body is not valid UTF-8")]
    NotUtf8,
    /// The body is no JSON object.
    #[error("the body is not a JSON object")]
    NotJson,
    /// The form has no `jsonData`.
    #[error("the form has no field jsonData")]
    MissingJsonData,
    /// The form's `jsonData` is no JSON object. The contract answers it with 200 `Invalid jsonData`.
    #[error("jsonData is not a JSON object")]
    JsonDataNotJson,
    /// A field that decides something came twice, so that two readers could understand two things.
    #[error("a field was given twice")]
    DuplicateField,
    /// There is no event kind.
    #[error("the field type is missing")]
    MissingType,
    /// It is Meta's Cloud API format: valid elsewhere, not here.
    #[error("this is a WhatsApp Cloud API payload")]
    CloudPayload,
    /// It is Meta's, and about another product than WhatsApp.
    #[error("the body is not about WhatsApp")]
    OtherProduct,
    /// It holds more updates than Meta ever sends at once.
    #[error("the body holds too many updates")]
    TooManyUpdates,
    /// `instanceName` or `userID` is overlong or has control characters; no session is called that.
    #[error("instanceName or userID is not a session's name")]
    InvalidInstance,
}

impl MalformedWebhook {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::UnsupportedContentType => "unsupported_content_type",
            Self::EmptyBody => "empty_body",
            Self::NotUtf8 => "not_utf8",
            Self::NotJson => "not_json",
            Self::MissingJsonData => "missing_json_data",
            Self::JsonDataNotJson => "invalid_json_data",
            Self::DuplicateField => "duplicate_field",
            Self::MissingType => "missing_type",
            Self::CloudPayload => "cloud_payload",
            Self::OtherProduct => "other_product",
            Self::TooManyUpdates => "too_many_updates",
            Self::InvalidInstance => "invalid_instance",
        }
    }
}

/// The body was not signed by the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A key is stored for the account, so a signature is required.
    #[error("the signature is missing")]
    Missing,
    /// The header is no hexadecimal SHA-256.
    #[error("the signature is not a hexadecimal SHA-256")]
    Malformed,
    /// It was made with another key or over another body.
    #[error("the signature does not match")]
    Mismatch,
}

impl SignatureError {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "signature_missing",
            Self::Malformed => "signature_malformed",
            Self::Mismatch => "signature_mismatch",
        }
    }
}

/// A genuine webhook of a known kind that we cannot use. Belongs into quarantine, with its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The event has another shape than its kind promises.
    #[error("the event does not have the shape of its kind")]
    Shape,
    /// The chat is no address.
    #[error("the chat is not a WhatsApp address")]
    Chat,
    /// The chat is an address of a kind that we do not serve.
    #[error("the chat is on a server that is not served")]
    UnservedChat,
    /// The message has no id, or one that cannot be kept.
    #[error("the message id is missing or cannot be kept")]
    MessageId,
}

impl Unusable {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Shape => "unusable_shape",
            Self::Chat => "unusable_chat",
            Self::UnservedChat => "unserved_chat",
            Self::MessageId => "unusable_message_id",
        }
    }
}
