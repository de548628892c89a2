DROP TABLE set_up_probes;
DROP TABLE drift_reports;
DROP TABLE audit_log;
DROP FUNCTION refuse_change();
