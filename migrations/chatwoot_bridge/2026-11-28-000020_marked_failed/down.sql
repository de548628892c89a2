ALTER TABLE reconcile_marks
    DROP COLUMN look_began,
    DROP COLUMN look_pages;
ALTER TABLE agent_messages DROP COLUMN marked_failed;
