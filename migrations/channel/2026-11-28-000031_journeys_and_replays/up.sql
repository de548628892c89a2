-- Where a message of ours stood, and since when: `messages` itself only has the last of it. Ids and codes, no words.
CREATE TABLE message_standings (
    tenant_id   text NOT NULL,
    message_id  uuid NOT NULL,
    seq         bigint GENERATED ALWAYS AS IDENTITY,
    status      text NOT NULL,
    reason      text,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, message_id, seq)
);
CREATE INDEX message_standings_age ON message_standings USING brin (received_at);
SELECT keep_tenants_apart('message_standings');

-- Whoever moves a message has this written down, so that no road is forgotten.
CREATE FUNCTION note_standing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO message_standings (tenant_id, message_id, status, reason)
    VALUES (NEW.tenant_id, NEW.id, NEW.status, NEW.reason);
    RETURN NULL;
END
$$;
CREATE TRIGGER messages_note_standing AFTER UPDATE OF status, reason ON messages
    FOR EACH ROW WHEN (NEW.direction = 'outbound'
        AND (OLD.status IS DISTINCT FROM NEW.status OR OLD.reason IS DISTINCT FROM NEW.reason))
    EXECUTE FUNCTION note_standing();

-- A message is looked for by any of its ids, by whoever works for all tenants as well. Within a tenant the keys that are
-- there do for all but the number that Chatwoot gave it.
CREATE INDEX messages_by_id ON messages (id);
CREATE INDEX messages_by_provider_id ON messages USING hash (provider_message_id);
CREATE INDEX messages_by_ordered_as ON messages USING hash (ordered_as) WHERE ordered_as IS NOT NULL;
CREATE INDEX messages_by_chatwoot_id ON messages (split_part(reference, ':', 3), tenant_id)
    WHERE starts_with(reference, 'chatwoot:');
CREATE INDEX send_requests_by_id ON send_requests USING hash (request_id);
-- What people did about a message.
CREATE INDEX audit_log_of_dead_letter ON audit_log (tenant_id, subject)
    WHERE action IN ('dead_letter.show', 'dead_letter.replay', 'dead_letter.settle');

-- Messages on their way and messages in trouble, oldest first: their ids grow with time.
CREATE INDEX lane_tasks_on_their_way ON lane_tasks (id)
    WHERE NOT parked AND last_error IS NULL AND kind IN ('send_text', 'send_ai_reply');
CREATE INDEX lane_tasks_in_trouble ON lane_tasks (tenant_id, parked, id)
    WHERE last_error IS NOT NULL AND kind IN ('send_text', 'send_ai_reply');
CREATE INDEX lane_tasks_in_trouble_of_all ON lane_tasks (parked, id)
    WHERE last_error IS NOT NULL AND kind IN ('send_text', 'send_ai_reply');

-- Orders to take many messages up again that were put aside. One over several tenants is a row of each of them, with the
-- same `batch_id`. Whoever works one off has it until `leased_until`; the fence says whose steps count.
CREATE TABLE replay_jobs (
    tenant_id    text NOT NULL,
    id           uuid NOT NULL,
    batch_id     uuid NOT NULL,
    state        text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'cancelled')),
    asked_by     text NOT NULL,
    asked_from   text,
    filter       text NOT NULL,
    total        bigint NOT NULL,
    replayed     bigint NOT NULL DEFAULT 0,
    skipped      bigint NOT NULL DEFAULT 0,
    failed       bigint NOT NULL DEFAULT 0,
    leased_until timestamptz,
    fence        bigint NOT NULL DEFAULT 0,
    received_at  timestamptz NOT NULL DEFAULT now(),
    ended_at     timestamptz,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX replay_jobs_running ON replay_jobs (received_at) WHERE state = 'running';
CREATE INDEX replay_jobs_of_batch ON replay_jobs (batch_id);
CREATE INDEX replay_jobs_newest ON replay_jobs (tenant_id, received_at DESC);
CREATE INDEX replay_jobs_age ON replay_jobs USING brin (received_at);
SELECT keep_tenants_apart('replay_jobs');

-- The messages of such an order, in the order in which they lie in their lanes. `outcome` is null until its turn came.
CREATE TABLE replay_items (
    tenant_id  text NOT NULL,
    job_id     uuid NOT NULL,
    message_id uuid NOT NULL,
    outcome    text CHECK (outcome IN ('replayed', 'skipped', 'failed')),
    reason     text,
    at         timestamptz,
    PRIMARY KEY (tenant_id, job_id, message_id),
    FOREIGN KEY (tenant_id, job_id) REFERENCES replay_jobs (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX replay_items_waiting ON replay_items (tenant_id, job_id, message_id) WHERE outcome IS NULL;
SELECT keep_tenants_apart('replay_items');
