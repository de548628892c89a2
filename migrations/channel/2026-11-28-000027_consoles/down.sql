DROP TABLE platform_acts;
DROP INDEX audit_log_of_action;
DROP INDEX audit_log_of_actor;
DROP INDEX audit_log_newest;
DROP INDEX users_words;
DROP INDEX tenants_words;
