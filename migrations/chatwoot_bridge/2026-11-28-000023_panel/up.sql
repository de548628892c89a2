-- What operators look for routes by: number, inbox, tenant, installation, and the words of the name and of the target's host.
ALTER TABLE routes ADD COLUMN search tsvector GENERATED ALWAYS AS (to_tsvector('simple'::regconfig, regexp_replace(lower(
    number::text || ' ' || chatwoot_inbox_id::text || ' ' || tenant_id || ' ' || installation || ' ' || coalesce(name, '')
    || ' ' || coalesce(substring(url_shown FROM '^[^:]+://(?:[^/@]*@)?([^/?#]*)'), '')),
    '[!-/:-@[-`{-~]+', ' ', 'g'))) STORED;
CREATE INDEX routes_search ON routes USING gin (search);

-- Webhooks that do not lead here, the newest first.
CREATE INDEX drift_reports_wrong ON drift_reports (since DESC, route_id) WHERE state IS NOT NULL AND state <> 'ok';

-- Events that stay for people are listed over all routes, and found by the message that they tell of and by their request.
CREATE INDEX forward_events_held_order ON forward_events (seq) WHERE held IS NOT NULL;
CREATE INDEX forward_events_held_message ON forward_events (message) WHERE held IS NOT NULL AND message IS NOT NULL;
CREATE INDEX forward_events_held_request ON forward_events (request_id) WHERE held IS NOT NULL AND request_id IS NOT NULL;
CREATE INDEX lane_tasks_parked_order ON lane_tasks (seq) WHERE parked;

-- An agent's or a person's message is found by each of its ids, whoever's it is.
CREATE INDEX agent_messages_message ON agent_messages (chatwoot_message_id);
CREATE INDEX agent_parts_request ON agent_parts (request_id);
CREATE INDEX agent_parts_known_as ON agent_parts (provider_message_id) WHERE provider_message_id IS NOT NULL;
CREATE INDEX message_links_provider ON message_links (provider_message_id);
CREATE INDEX message_links_message ON message_links (chatwoot_message_id) WHERE chatwoot_message_id IS NOT NULL;

-- What happened to events that did not go through at once: failures, being put aside and taken up again, what agents were
-- shown. One that goes through has none.
CREATE TABLE forward_steps (
    tenant_id text NOT NULL,
    event_id  uuid NOT NULL,
    seq       bigint GENERATED ALWAYS AS IDENTITY,
    step      text NOT NULL,
    -- A stable code, or who did it. Never what somebody wrote.
    detail    text,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, event_id, seq)
);
CREATE INDEX forward_steps_age ON forward_steps (at);
SELECT keep_tenants_apart('forward_steps');

-- Events that are over, for whoever asks where one is. Written behind the events, in groups, and not all of them where there
-- are more than a process can write down beside its work.
CREATE TABLE forward_done (
    tenant_id    text NOT NULL,
    event_id     uuid NOT NULL,
    route_id     uuid NOT NULL,
    conversation bigint NOT NULL,
    class        text NOT NULL,
    message      bigint,
    request_id   text,
    outcome      text NOT NULL,
    failures     integer NOT NULL,
    received_at  timestamptz NOT NULL,
    ended_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, event_id)
);
CREATE INDEX forward_done_newest ON forward_done (ended_at, event_id);
CREATE INDEX forward_done_message ON forward_done (message) WHERE message IS NOT NULL;
CREATE INDEX forward_done_request ON forward_done (request_id) WHERE request_id IS NOT NULL;
SELECT keep_tenants_apart('forward_done');

-- How a route's events fared, by the minute and by the hour: `grain` is the number of minutes. Each process adds its own.
CREATE TABLE route_times (
    tenant_id text NOT NULL,
    route_id  uuid NOT NULL,
    grain     smallint NOT NULL,
    at        timestamptz NOT NULL,
    accepted  bigint NOT NULL DEFAULT 0,
    delivered bigint NOT NULL DEFAULT 0,
    retried   bigint NOT NULL DEFAULT 0,
    parked    bigint NOT NULL DEFAULT 0,
    -- How many of those that were delivered took no longer than each bound, which are in the code; the last one has none.
    took      bigint[] NOT NULL,
    PRIMARY KEY (tenant_id, route_id, grain, at)
);
CREATE INDEX route_times_age ON route_times (grain, at);
SELECT keep_tenants_apart('route_times');

-- Events that are taken up again by a filter, batch by batch. An operator's, over whatever tenants the filter has: no tenant,
-- hence only the platform sees them.
CREATE TABLE replay_jobs (
    id           uuid PRIMARY KEY,
    of_route     uuid,
    of_tenant    text,
    reason       text,
    with_unknown boolean NOT NULL,
    -- Nothing that was accepted later; where the next batch begins.
    until_seq    bigint NOT NULL,
    after_seq    bigint NOT NULL DEFAULT 0,
    total        bigint NOT NULL,
    replayed     bigint NOT NULL DEFAULT 0,
    state        text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'stopped', 'done')),
    actor        text NOT NULL,
    source       text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz
);
CREATE INDEX replay_jobs_newest ON replay_jobs (created_at DESC);
CREATE INDEX replay_jobs_running ON replay_jobs (created_at) WHERE state = 'running';
ALTER TABLE replay_jobs ENABLE ROW LEVEL SECURITY;
ALTER TABLE replay_jobs FORCE ROW LEVEL SECURITY;
CREATE POLICY platform_work ON replay_jobs TO chatwoot_bridge_platform USING (true) WITH CHECK (true);
