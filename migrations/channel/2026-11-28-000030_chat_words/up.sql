-- The words of a text by which somebody may look for it: small letters, divided where people divide words.
CREATE FUNCTION words_of(said text) RETURNS SETOF text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT DISTINCT left(word, 64) FROM (
        SELECT word FROM regexp_split_to_table(lower(coalesce(said, '')), '[[:space:][:punct:]]+') AS word
        WHERE word <> '' LIMIT 40) words
$$;

-- A number as WhatsApp writes it. What people type begins with a nought at home, and home is Indonesia.
CREATE FUNCTION digits_of(typed text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT nullif(left(regexp_replace(regexp_replace(coalesce(typed, ''), '[^0-9]', '', 'g'), '^0', '62'), 64), '')
$$;

-- By what a chat is found: the words of the person's names, and their numbers. Looked up by how a word begins, which a
-- policy lets an index do only with comparisons that tell nothing: so these, and neither LIKE nor a text search.
CREATE TABLE chat_words (
    tenant_id text NOT NULL,
    chat_id   uuid NOT NULL,
    word      text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, chat_id, word),
    FOREIGN KEY (tenant_id, chat_id) REFERENCES chats (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX chat_words_beginning ON chat_words (tenant_id, word, chat_id);

-- A migrating role that is no superuser sees no tenant's rows while row-level security binds the owner too.
ALTER TABLE chats NO FORCE ROW LEVEL SECURITY;
INSERT INTO chat_words (tenant_id, chat_id, word)
SELECT c.tenant_id, c.id, w.word FROM chats c CROSS JOIN LATERAL (
    SELECT words_of(concat_ws(' ', c.profile_name, c.name)) AS word
    UNION SELECT digits_of(c.phone) UNION SELECT digits_of(c.profile_phone)) w
WHERE w.word IS NOT NULL;
ALTER TABLE chats FORCE ROW LEVEL SECURITY;
SELECT keep_tenants_apart('chat_words');

CREATE FUNCTION note_chat_words() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM chat_words WHERE tenant_id = NEW.tenant_id AND chat_id = NEW.id;
    END IF;
    INSERT INTO chat_words (tenant_id, chat_id, word)
    SELECT NEW.tenant_id, NEW.id, w.word FROM (
        SELECT words_of(concat_ws(' ', NEW.profile_name, NEW.name)) AS word
        UNION SELECT digits_of(NEW.phone) UNION SELECT digits_of(NEW.profile_phone)) w
    WHERE w.word IS NOT NULL;
    RETURN NULL;
END
$$;
CREATE TRIGGER chats_new_words AFTER INSERT ON chats FOR EACH ROW EXECUTE FUNCTION note_chat_words();
-- A chat is updated with every message, and people seldom change their names.
CREATE TRIGGER chats_other_words AFTER UPDATE OF name, profile_name, phone, profile_phone ON chats FOR EACH ROW
    WHEN (OLD.name IS DISTINCT FROM NEW.name OR OLD.profile_name IS DISTINCT FROM NEW.profile_name
        OR OLD.phone IS DISTINCT FROM NEW.phone OR OLD.profile_phone IS DISTINCT FROM NEW.profile_phone)
    EXECUTE FUNCTION note_chat_words();

-- The chats in which somebody waits to be read, newest first.
CREATE INDEX chats_unread ON chats (tenant_id, last_message_at DESC) WHERE unread > 0;
