DROP TABLE support_customers;
DROP TABLE session_leases;
DROP TABLE session_intents;
DROP INDEX accounts_of_phone;
ALTER TABLE accounts DROP COLUMN session_created_at;
ALTER TABLE accounts DROP COLUMN session_via;
