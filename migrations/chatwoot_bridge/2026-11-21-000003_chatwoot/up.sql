-- Which Chatwoot inbox speaks for which account. A connection to another inbox is another row, so that nothing that
-- hangs off the old one can be mistaken for the new one's.
CREATE TABLE inboxes (
    tenant_id              text NOT NULL,
    id                     uuid NOT NULL,
    installation           text NOT NULL,
    chatwoot_url           text NOT NULL,
    chatwoot_account_id    bigint NOT NULL,
    chatwoot_inbox_id      bigint NOT NULL,
    account_id             uuid NOT NULL,
    api_token_sealed       text NOT NULL,
    -- Newest first. Two, because a webhook of the inbox and one of the account have a secret each, and for rotation.
    webhook_secrets_sealed text[] NOT NULL DEFAULT '{}',
    created_at             timestamptz NOT NULL DEFAULT now(),
    updated_at             timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT inboxes_account UNIQUE (tenant_id, account_id),
    CONSTRAINT inboxes_secrets CHECK (cardinality(webhook_secrets_sealed) <= 2)
);
SELECT keep_tenants_apart('inboxes');

-- Which contact and conversation in Chatwoot a WhatsApp address has. Forgotten when Chatwoot no longer knows them.
CREATE TABLE contacts (
    tenant_id                text NOT NULL,
    inbox_id                 uuid NOT NULL,
    address                  text NOT NULL,
    chatwoot_contact_id      bigint NOT NULL,
    chatwoot_conversation_id bigint NOT NULL,
    source_id                text NOT NULL,
    updated_at               timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, inbox_id, address)
);
SELECT keep_tenants_apart('contacts');

-- WhatsApp messages in Chatwoot. A row without a message id is an intent: Chatwoot was, or was about to be, asked.
CREATE TABLE message_links (
    tenant_id                text NOT NULL,
    account_id               uuid NOT NULL,
    provider_message_id      text NOT NULL,
    inbox_id                 uuid NOT NULL,
    chatwoot_conversation_id bigint NOT NULL,
    chatwoot_message_id      bigint,
    direction                text NOT NULL,
    created_at               timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, account_id, provider_message_id)
);
CREATE INDEX message_links_chatwoot ON message_links (tenant_id, inbox_id, chatwoot_message_id)
    WHERE chatwoot_message_id IS NOT NULL;
SELECT keep_tenants_apart('message_links');

-- Messages of agents. The key makes one send of however many webhooks tell of the same message.
CREATE TABLE agent_messages (
    tenant_id                text NOT NULL,
    inbox_id                 uuid NOT NULL,
    chatwoot_message_id      bigint NOT NULL,
    chatwoot_conversation_id bigint NOT NULL,
    request_id               uuid NOT NULL,
    status                   text NOT NULL,
    reason                   text,
    created_at               timestamptz NOT NULL DEFAULT now(),
    updated_at               timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, inbox_id, chatwoot_message_id)
);
SELECT keep_tenants_apart('agent_messages');

-- Events taken off the broker, so that a second delivery is recognised.
CREATE TABLE handled_events (
    tenant_id   text NOT NULL,
    event_id    uuid NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, event_id)
);
CREATE INDEX handled_events_age ON handled_events (received_at);
SELECT keep_tenants_apart('handled_events');

-- Inboxes that send webhooks and belong to nobody; for operators. No tenant, hence no tenant's rules.
CREATE TABLE unrouted_inboxes (
    installation        text NOT NULL,
    chatwoot_account_id bigint NOT NULL,
    chatwoot_inbox_id   bigint NOT NULL,
    seen                bigint NOT NULL DEFAULT 1,
    last_seen           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (installation, chatwoot_account_id, chatwoot_inbox_id)
);
