-- Who was erased, and until when what happened is nobody's any more: an event that is still on its way brings nothing back. Of a
-- person a keyed hash of a name, of a whole tenant an empty one. They go when no event can be as old any more.
CREATE TABLE erasures (
    tenant_id text NOT NULL,
    who       bytea NOT NULL,
    erased_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, who)
);
CREATE INDEX erasures_age ON erasures (erased_at);
SELECT keep_tenants_apart('erasures');
