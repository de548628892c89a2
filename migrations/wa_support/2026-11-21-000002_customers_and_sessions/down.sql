DROP TABLE sessions;
DROP TABLE subscriptions;
DROP TABLE customers;
ALTER TABLE tenant_directory NO FORCE ROW LEVEL SECURITY;
DELETE FROM tenant_directory WHERE kind IN ('session_token', 'session_name');
ALTER TABLE tenant_directory FORCE ROW LEVEL SECURITY;
