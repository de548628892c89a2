DROP TABLE forward_counts;
DROP TABLE forward_seen;
DROP TABLE forward_lanes;
DROP TABLE forward_events;
