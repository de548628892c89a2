ALTER TABLE agent_messages DROP COLUMN marked_failed;
