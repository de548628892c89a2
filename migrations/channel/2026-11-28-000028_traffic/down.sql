DROP TABLE replicas;
DROP INDEX outbox_parked;
DROP INDEX tenant_whatsapp_config_of;
DROP INDEX endpoint_checks_of;
DROP TABLE traffic_overall;
DROP TABLE traffic;
