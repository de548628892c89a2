DROP INDEX provider_events_age;
ALTER TABLE provider_events DROP COLUMN reason;
ALTER TABLE outbox DROP COLUMN parked;
ALTER TABLE accounts DROP COLUMN send_paused_until;
