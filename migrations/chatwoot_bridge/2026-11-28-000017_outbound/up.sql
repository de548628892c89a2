-- What an agent's message is made of on WhatsApp: words and files, each an order of its own. `attempt` grows when the
-- agent asks for it to be sent again. A message of before has none: it is one part, and its own row tells where that stands.
CREATE TABLE agent_parts (
    tenant_id           text NOT NULL,
    inbox_id            uuid NOT NULL,
    chatwoot_message_id bigint NOT NULL,
    part                integer NOT NULL,
    attempt             integer NOT NULL DEFAULT 0,
    request_id          uuid NOT NULL,
    status              text NOT NULL,
    reason              text,
    -- Unknown, and nothing more is tried by itself.
    put_aside           boolean NOT NULL DEFAULT false,
    provider_message_id text,
    -- The order to delete it for everyone was given.
    revoked             boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, inbox_id, chatwoot_message_id, part)
);
SELECT keep_tenants_apart('agent_parts');

-- Where the files of agents' messages lie in Chatwoot, for as long as our own links to them hold.
CREATE TABLE agent_files (
    tenant_id           text NOT NULL,
    inbox_id            uuid NOT NULL,
    chatwoot_message_id bigint NOT NULL,
    part                integer NOT NULL,
    data_url            text NOT NULL,
    created_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, inbox_id, chatwoot_message_id, part)
);
CREATE INDEX agent_files_age ON agent_files (created_at);
SELECT keep_tenants_apart('agent_files');

-- To whom it went, for what is done to it later; and what the agent was last shown: status, reason and this.
ALTER TABLE agent_messages
    ADD COLUMN recipient text,
    ADD COLUMN put_aside boolean NOT NULL DEFAULT false,
    ADD COLUMN deleted boolean NOT NULL DEFAULT false;

-- How agents' messages go out: under the agent's name or not, and what Chatwoot's own automatic messages are.
ALTER TABLE inboxes
    ADD COLUMN sign_agents boolean NOT NULL DEFAULT false,
    ADD COLUMN sign_delimiter text NOT NULL DEFAULT E'\n\n',
    ADD COLUMN templates text NOT NULL DEFAULT 'text',
    ADD COLUMN send_automatic boolean NOT NULL DEFAULT true,
    ADD CONSTRAINT inboxes_templates CHECK (templates IN ('text', 'whatsapp'));
