-- The file of a message: what was said of it, what became of it, and where it lies.
CREATE TABLE media (
    tenant_id     text NOT NULL,
    message_id    uuid NOT NULL,
    kind          text NOT NULL,
    state         text NOT NULL,
    declared_type text,
    declared_size bigint,
    file_name     text,
    mime_type     text,
    size          bigint,
    sha256        text,
    object_key    text,
    attempts      integer NOT NULL DEFAULT 0,
    reason        text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, message_id),
    -- Who deletes a message deletes its file.
    FOREIGN KEY (tenant_id, message_id) REFERENCES messages (tenant_id, id) ON DELETE CASCADE,
    CHECK ((state = 'stored') = (object_key IS NOT NULL))
);
CREATE INDEX media_objects ON media (tenant_id, object_key) WHERE object_key IS NOT NULL;
SELECT keep_tenants_apart('media');

-- Objects that nothing refers to any more: the store is no part of a transaction, so they are deleted afterwards.
CREATE TABLE media_garbage (
    tenant_id  text NOT NULL,
    object_key text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, object_key)
);
SELECT keep_tenants_apart('media_garbage');

CREATE FUNCTION throw_object_away() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO media_garbage (tenant_id, object_key) VALUES (OLD.tenant_id, OLD.object_key)
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
CREATE TRIGGER media_object_is_garbage AFTER DELETE ON media
    FOR EACH ROW WHEN (OLD.object_key IS NOT NULL) EXECUTE FUNCTION throw_object_away();
