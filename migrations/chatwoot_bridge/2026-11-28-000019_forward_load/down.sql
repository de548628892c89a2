DROP INDEX forward_lanes_load;
