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
        created_by -> Text,
        created_at -> Timestamptz,
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
        max_messages -> BigInt,
        number -> BigInt,
        period_started_at -> Timestamptz,
        messages_used -> BigInt,
        created_at -> Timestamptz,
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
        customer_hmac_key_sealed -> Nullable<Text>,
        upkeep_due -> Nullable<Timestamptz>,
        connect_wanted -> Nullable<Timestamptz>,
        record_due -> Bool,
        history_due -> Bool,
        webhook_url -> Nullable<Text>,
        number -> BigInt,
        phase -> Text,
        phase_since -> Timestamptz,
        events -> Text,
        history -> Integer,
        expiration_sec -> BigInt,
        auto_read_enabled -> Bool,
        typing_enabled -> Bool,
        connected -> Bool,
        logged_in -> Bool,
        jid -> Text,
        status -> Text,
        last_synced_at -> Nullable<Timestamptz>,
        last_activity_at -> Nullable<Timestamptz>,
        sent_total -> BigInt,
        failed_total -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    api_keys (tenant_id, id) {
        tenant_id -> Text,
        id -> Uuid,
        key_hash -> Text,
        prefix -> Text,
        valid_until -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
    }
}

diesel::allow_tables_to_appear_in_same_query!(customers, subscriptions, sessions);
