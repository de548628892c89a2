-- The picture that a person shows of themselves to the chat's account: when it is looked at next, and what was found.
CREATE TABLE chat_pictures (
    tenant_id   text NOT NULL,
    chat_id     uuid NOT NULL,
    -- Nobody asks the provider before.
    due_at      timestamptz NOT NULL,
    -- Whose look it is: one that took too long writes nothing any more.
    fence       uuid NOT NULL,
    failures    integer NOT NULL DEFAULT 0,
    -- WhatsApp's id of the picture, where the provider tells it.
    whatsapp_id text,
    -- Ours, of the file that is kept; another file has another one. By it the file is handed out.
    picture_id  uuid,
    mime_type   text,
    size        bigint,
    sha256      text,
    object_key  text,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, chat_id),
    FOREIGN KEY (tenant_id, chat_id) REFERENCES chats (tenant_id, id) ON DELETE CASCADE,
    CHECK ((picture_id IS NULL) = (object_key IS NULL) AND (picture_id IS NULL) = (sha256 IS NULL))
);
CREATE UNIQUE INDEX chat_pictures_files ON chat_pictures (tenant_id, picture_id) WHERE picture_id IS NOT NULL;
CREATE INDEX chat_pictures_objects ON chat_pictures (tenant_id, object_key) WHERE object_key IS NOT NULL;
SELECT keep_tenants_apart('chat_pictures');

-- A picture that another one follows, or whose chat goes, leaves its object behind.
CREATE TRIGGER chat_picture_is_garbage AFTER DELETE ON chat_pictures
    FOR EACH ROW WHEN (OLD.object_key IS NOT NULL) EXECUTE FUNCTION throw_object_away();
CREATE TRIGGER chat_picture_is_replaced AFTER UPDATE ON chat_pictures
    FOR EACH ROW WHEN (OLD.object_key IS NOT NULL AND OLD.object_key IS DISTINCT FROM NEW.object_key)
    EXECUTE FUNCTION throw_object_away();
