DROP TABLE sessions;
DROP TABLE subscriptions;
DROP TABLE customers;
DELETE FROM tenant_directory WHERE kind IN ('session_token', 'session_name');
