//! The tables, as diesel knows them.

diesel::table! {
    tenant_directory (kind, external_id) {
        kind -> Text,
        external_id -> Text,
        tenant_id -> Text,
        subject_id -> Uuid,
    }
}

diesel::table! {
    customers (tenant_id) {
        tenant_id -> Text,
        source_service -> Text,
        status -> Text,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    subscriptions (tenant_id, id) {
        tenant_id -> Text,
        id -> Uuid,
        provider -> Text,
        status -> Text,
        expires_at -> Timestamptz,
        max_sessions -> Integer,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    sessions (tenant_id, id) {
        tenant_id -> Text,
        id -> Uuid,
        provider -> Text,
        session_id -> Nullable<Text>,
        session_name -> Text,
        token_hash -> Text,
        token_sealed -> Text,
        hmac_key_sealed -> Text,
        webhook_url -> Nullable<Text>,
        updated_at -> Timestamptz,
    }
}

diesel::allow_tables_to_appear_in_same_query!(customers, subscriptions, sessions);
