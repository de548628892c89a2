-- Events on their way to the URLs of routes, as Chatwoot wrote them. They leave in the order of `seq` within their lane,
-- which is a conversation of a route; 0 is for events of none.
CREATE TABLE forward_events (
    tenant_id    text NOT NULL,
    id           uuid NOT NULL,
    route_id     uuid NOT NULL,
    conversation bigint NOT NULL,
    seq          bigint GENERATED ALWAYS AS IDENTITY,
    event        text NOT NULL,
    class        text NOT NULL,
    account      bigint,
    message      bigint,
    -- New messages that came close together are put in the order of these.
    ordered_by   bigint,
    -- Names and values as JSON.
    headers      text NOT NULL,
    body         bytea NOT NULL,
    -- Of the body and of all that is around it.
    size         bigint NOT NULL,
    request_id   text,
    failures     integer NOT NULL DEFAULT 0,
    -- Null while it waits; else why it stays for people: `parked` or `unknown`.
    held         text,
    reason       text,
    -- The agent sees a red mark because of it.
    shown_failed boolean NOT NULL DEFAULT false,
    received_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id)
) WITH (autovacuum_vacuum_scale_factor = 0.02, toast_tuple_target = 8160);
-- Bodies are read once and then gone: to compress them costs more than it saves.
ALTER TABLE forward_events ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX forward_events_waiting ON forward_events (tenant_id, route_id, conversation, seq) WHERE held IS NULL;
CREATE INDEX forward_events_held ON forward_events (tenant_id, route_id, seq) WHERE held IS NOT NULL;
CREATE INDEX forward_events_age ON forward_events (received_at);
SELECT keep_tenants_apart('forward_events');

-- One row a conversation of a route. `ready_at` is null while nothing waits; while an event is in hand it is the end of
-- the lease. A lane that is forgotten and made again begins above every fence its predecessor gave away.
CREATE TABLE forward_lanes (
    tenant_id    text NOT NULL,
    route_id     uuid NOT NULL,
    conversation bigint NOT NULL,
    ready_at     timestamptz,
    in_hand      uuid,
    fence        bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
    accepted     bigint NOT NULL DEFAULT 0,
    delivered    bigint NOT NULL DEFAULT 0,
    dropped      bigint NOT NULL DEFAULT 0,
    expired      bigint NOT NULL DEFAULT 0,
    -- Events that wait or stay for people, and their bytes.
    held         bigint NOT NULL DEFAULT 0,
    held_bytes   bigint NOT NULL DEFAULT 0,
    used_at      timestamptz NOT NULL DEFAULT now(),
    -- When agents were last told that something could not be passed on.
    noted_at     timestamptz,
    PRIMARY KEY (tenant_id, route_id, conversation)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX forward_lanes_ready ON forward_lanes (ready_at) WHERE ready_at IS NOT NULL;
SELECT keep_tenants_apart('forward_lanes');

-- Events that were accepted, so that a second delivery is recognised.
CREATE TABLE forward_seen (
    tenant_id   text NOT NULL,
    route_id    uuid NOT NULL,
    key         bytea NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, route_id, key)
);
CREATE INDEX forward_seen_age ON forward_seen (received_at);
SELECT keep_tenants_apart('forward_seen');

-- What became of the events of lanes that are forgotten.
CREATE TABLE forward_counts (
    tenant_id text NOT NULL,
    route_id  uuid NOT NULL,
    accepted  bigint NOT NULL,
    delivered bigint NOT NULL,
    dropped   bigint NOT NULL,
    expired   bigint NOT NULL,
    PRIMARY KEY (tenant_id, route_id)
);
SELECT keep_tenants_apart('forward_counts');
