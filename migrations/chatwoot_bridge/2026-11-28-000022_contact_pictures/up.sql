-- Contacts whose picture is ours: the SHA-256 of the one that we put up, or null where we asked and nobody knows. Of a
-- contact that is not here, the picture is somebody's choice.
CREATE TABLE contact_pictures (
    tenant_id           text NOT NULL,
    inbox_id            uuid NOT NULL,
    chatwoot_contact_id bigint NOT NULL,
    sha256              text,
    updated_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, inbox_id, chatwoot_contact_id)
);
SELECT keep_tenants_apart('contact_pictures');
