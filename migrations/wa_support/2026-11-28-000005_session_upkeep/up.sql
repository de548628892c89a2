-- What a customer's own webhooks are signed with, where it chose a key. `hmac_key_sealed` is the key between the WA server
-- and this service; without a relay in between the WA server gets the customer's.
ALTER TABLE sessions ADD COLUMN customer_hmac_key_sealed text;

-- Who is talking to the WA server about the session: one at a time, so that what the server was told last is what the
-- row says. A process that died lets go when the time is over.
ALTER TABLE sessions ADD COLUMN busy_holder uuid;
ALTER TABLE sessions ADD COLUMN busy_until timestamptz;

-- The WA server is to be told again what it forgets, since then. A sweep does it where the process that wanted to died.
ALTER TABLE sessions ADD COLUMN upkeep_due timestamptz;
CREATE INDEX sessions_upkeep_due ON sessions (upkeep_due) WHERE upkeep_due IS NOT NULL;

-- A session's place in its customer's list, newest change first.
CREATE INDEX sessions_newest ON sessions (tenant_id, updated_at DESC, id);
