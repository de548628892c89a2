-- What must reach the broker. Rows leave when every publication made from them is confirmed.
CREATE TABLE outbox (
    tenant_id  text NOT NULL,
    seq        bigint GENERATED ALWAYS AS IDENTITY,
    lane       text NOT NULL,
    event_id   uuid NOT NULL,
    event_type text NOT NULL,
    envelope   text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, seq)
);
CREATE INDEX outbox_order ON outbox (seq);
SELECT keep_tenants_apart('outbox');

-- Which process does a thing that only one may do at a time.
CREATE TABLE leases (
    name   text PRIMARY KEY,
    holder uuid NOT NULL,
    until  timestamptz NOT NULL
);

-- Orders of work. `ready_at` is null while a lane has nothing to do.
CREATE TABLE lanes (
    tenant_id    text NOT NULL,
    lane         text NOT NULL,
    ready_at     timestamptz,
    leased_until timestamptz,
    fence        bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, lane)
);
CREATE INDEX lanes_ready ON lanes (ready_at) WHERE ready_at IS NOT NULL;
SELECT keep_tenants_apart('lanes');

-- The work in them, done in the order of `seq`. Parked tasks stay for people.
CREATE TABLE lane_tasks (
    tenant_id  text NOT NULL,
    id         uuid NOT NULL,
    lane       text NOT NULL,
    seq        bigint GENERATED ALWAYS AS IDENTITY,
    kind       text NOT NULL,
    payload    text NOT NULL,
    begun      integer NOT NULL DEFAULT 0,
    failures   integer NOT NULL DEFAULT 0,
    parked     boolean NOT NULL DEFAULT false,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX lane_tasks_order ON lane_tasks (tenant_id, lane, seq) WHERE NOT parked;
CREATE INDEX lane_tasks_parked ON lane_tasks (tenant_id, created_at) WHERE parked;
SELECT keep_tenants_apart('lane_tasks');
