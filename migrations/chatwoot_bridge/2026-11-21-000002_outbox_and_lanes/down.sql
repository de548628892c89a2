DROP TABLE lane_tasks;
DROP TABLE lanes;
DROP TABLE leases;
DROP TABLE outbox;
