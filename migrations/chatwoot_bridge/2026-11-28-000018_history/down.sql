DROP TABLE notices;
DROP TABLE reconcile_marks;
DROP TABLE history_jobs;
