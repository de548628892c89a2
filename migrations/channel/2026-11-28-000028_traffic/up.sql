-- How many messages went which way, by tenant and by time: what the plots are drawn from. Each process counts for itself and
-- adds what it counted every few seconds, so rows of one time are changed by several. `grain` is the length of time that a row
-- is about, in seconds: minutes are kept for a day, hours for a month. `latency` has the sends by the time between order and
-- acceptance, in classes that the service knows.
CREATE TABLE traffic (
    tenant_id text NOT NULL REFERENCES tenants (tenant_id) ON DELETE CASCADE,
    grain     integer NOT NULL,
    at        timestamptz NOT NULL,
    received  bigint NOT NULL DEFAULT 0,
    sent      bigint NOT NULL DEFAULT 0,
    delivered bigint NOT NULL DEFAULT 0,
    read      bigint NOT NULL DEFAULT 0,
    failed    bigint NOT NULL DEFAULT 0,
    parked    bigint NOT NULL DEFAULT 0,
    unknown   bigint NOT NULL DEFAULT 0,
    latency   bigint[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, grain, at)
) WITH (fillfactor = 70);
CREATE INDEX traffic_age ON traffic (grain, at);
SELECT keep_tenants_apart('traffic');

-- The same over all tenants, so that nobody has to add up ten thousand of them. No tenant's table.
CREATE TABLE traffic_overall (
    grain     integer NOT NULL,
    at        timestamptz NOT NULL,
    received  bigint NOT NULL DEFAULT 0,
    sent      bigint NOT NULL DEFAULT 0,
    delivered bigint NOT NULL DEFAULT 0,
    read      bigint NOT NULL DEFAULT 0,
    failed    bigint NOT NULL DEFAULT 0,
    parked    bigint NOT NULL DEFAULT 0,
    unknown   bigint NOT NULL DEFAULT 0,
    latency   bigint[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (grain, at)
) WITH (fillfactor = 70);
ALTER TABLE traffic_overall ENABLE ROW LEVEL SECURITY;
ALTER TABLE traffic_overall FORCE ROW LEVEL SECURITY;
CREATE POLICY platform_work ON traffic_overall TO channel_platform USING (true) WITH CHECK (true);

-- A strip of health reads an endpoint's checks of some days.
CREATE INDEX endpoint_checks_of ON endpoint_checks (endpoint, at);
-- Who has an endpoint, page by page.
CREATE INDEX tenant_whatsapp_config_of ON tenant_whatsapp_config (endpoint_name, tenant_id);

-- Events that are left to people are few among many that go.
CREATE INDEX outbox_parked ON outbox (seq) WHERE parked IS NOT NULL;

-- The processes that work on this schema, each as it last said of itself.
CREATE TABLE replicas (
    id         uuid PRIMARY KEY,
    host       text NOT NULL,
    version    text NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX replicas_seen ON replicas (seen_at);
ALTER TABLE replicas ENABLE ROW LEVEL SECURITY;
ALTER TABLE replicas FORCE ROW LEVEL SECURITY;
CREATE POLICY platform_work ON replicas TO channel_platform USING (true) WITH CHECK (true);
