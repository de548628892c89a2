-- What each route holds is added up every second: the lanes that hold nothing, most of them, are not read for it.
CREATE INDEX forward_lanes_load ON forward_lanes (route_id) INCLUDE (held_bytes) WHERE held > 0;
