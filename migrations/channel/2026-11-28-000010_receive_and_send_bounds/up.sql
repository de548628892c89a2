-- Until when the provider wants to hear nothing of an account: it answered one of its messages with "too fast".
ALTER TABLE accounts ADD COLUMN send_paused_until timestamptz;

-- Why a row can never be published. It stays for people; its lane goes on without it.
ALTER TABLE outbox ADD COLUMN parked text;

-- Why an event of a known kind was kept instead of used.
ALTER TABLE provider_events ADD COLUMN reason text;
CREATE INDEX provider_events_age ON provider_events USING brin (received_at);
