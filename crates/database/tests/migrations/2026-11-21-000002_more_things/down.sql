DROP TABLE more_things;
