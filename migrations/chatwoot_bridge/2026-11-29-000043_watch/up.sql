-- Events that are left to people are few among many that go; they are counted every few seconds.
CREATE INDEX outbox_parked ON outbox (seq) WHERE parked IS NOT NULL;
