DELETE FROM lane_tasks WHERE lane LIKE 'gate:%';
DELETE FROM lanes WHERE lane LIKE 'gate:%';
DROP TABLE gate_subscriptions, gate_media, gate_tokens;
DROP INDEX accounts_gate_number;
ALTER TABLE accounts DROP COLUMN gate_number;
DROP FUNCTION gate_digits;
