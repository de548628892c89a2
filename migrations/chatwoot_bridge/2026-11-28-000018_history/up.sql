-- What an account's chats held before its inbox was connected, on its way into Chatwoot. A page is in hand until all of its
-- tasks are done or put aside; then the next one is read.
CREATE TABLE history_jobs (
    tenant_id   text NOT NULL,
    id          uuid NOT NULL,
    inbox_id    uuid NOT NULL,
    since       timestamptz,
    cursor      uuid,
    page        uuid[] NOT NULL DEFAULT '{}',
    is_read     boolean NOT NULL DEFAULT false,
    state       text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'stopped', 'done', 'failed')),
    seen        bigint NOT NULL DEFAULT 0,
    imported    bigint NOT NULL DEFAULT 0,
    known       bigint NOT NULL DEFAULT 0,
    put_aside   bigint NOT NULL DEFAULT 0,
    reason      text,
    next_at     timestamptz NOT NULL DEFAULT now(),
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX history_jobs_at_work ON history_jobs (tenant_id, inbox_id) WHERE state IN ('running', 'stopped');
CREATE INDEX history_jobs_next ON history_jobs (next_at) WHERE state = 'running';
SELECT keep_tenants_apart('history_jobs');

-- Up to when an inbox was looked through for replies that nobody told us of.
CREATE TABLE reconcile_marks (
    tenant_id  text NOT NULL,
    inbox_id   uuid NOT NULL,
    seen_until timestamptz NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, inbox_id)
);
SELECT keep_tenants_apart('reconcile_marks');

-- What agents were told about their number, so that they are told once. The id marks the note in Chatwoot; it is written
-- before Chatwoot is asked.
CREATE TABLE notices (
    tenant_id  text NOT NULL,
    inbox_id   uuid NOT NULL,
    kind       text NOT NULL,
    id         uuid NOT NULL,
    told_at    timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, inbox_id, kind)
);
SELECT keep_tenants_apart('notices');
