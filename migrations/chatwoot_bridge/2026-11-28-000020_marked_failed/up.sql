-- Chatwoot took it that the message failed. Only then a message that Chatwoot shows as sent was asked for again: until then it
-- stands as sent because nobody could say otherwise. Of failures from before this nobody knows; they were most likely shown.
ALTER TABLE agent_messages ADD COLUMN marked_failed boolean NOT NULL DEFAULT true;
ALTER TABLE agent_messages ALTER COLUMN marked_failed SET DEFAULT false;

-- A look through a big inbox takes several rounds: when it began, and how many pages it has behind it.
ALTER TABLE reconcile_marks
    ADD COLUMN look_began timestamptz,
    ADD COLUMN look_pages bigint NOT NULL DEFAULT 0;
