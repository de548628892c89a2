DROP TABLE operator_log;
DROP TABLE session_switches;
