-- What a provider tells of a message of ours besides how far it went: when it got there, what it cost, why it failed. By the
-- provider's id, for it may be told before that id is known to be a message's.
CREATE TABLE message_status_details (
    tenant_id           text NOT NULL,
    account_id          uuid NOT NULL,
    provider_message_id text NOT NULL,
    sent_at             timestamptz,
    delivered_at        timestamptz,
    read_at             timestamptz,
    played_at           timestamptz,
    failed_at           timestamptz,
    error_code          bigint,
    error_title         text,
    error_details       text,
    billable            boolean,
    pricing_model       text,
    pricing_type        text,
    pricing_category    text,
    conversation_id     text,
    conversation_origin text,
    received_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, account_id, provider_message_id),
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX message_status_details_age ON message_status_details USING brin (received_at);
SELECT keep_tenants_apart('message_status_details');

-- Why a message failed of which this is told before its id is known.
ALTER TABLE early_receipts ADD COLUMN reason text;

-- What Meta tells of accounts, templates, numbers and people, once each. `scope` is the number's or the account's id there,
-- within which `key` is unique; `subject` whom or what it is about.
CREATE TABLE cloud_updates (
    tenant_id   text NOT NULL,
    scope       text NOT NULL,
    key         text NOT NULL,
    id          uuid NOT NULL,
    kind        text NOT NULL,
    account_id  uuid,
    subject     text,
    payload     text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, scope, key)
);
CREATE INDEX cloud_updates_age ON cloud_updates USING brin (received_at);
CREATE INDEX cloud_updates_about ON cloud_updates (tenant_id, kind, subject, received_at);
SELECT keep_tenants_apart('cloud_updates');
