-- Sessions of customers whose subscription has ended, which are still to be disconnected from WhatsApp. A row goes when
-- it is done, and when the customer has a subscription again.
CREATE TABLE expired_sessions (
    tenant_id   text NOT NULL,
    session     uuid NOT NULL,
    noted_at    timestamptz NOT NULL DEFAULT now(),
    next_try_at timestamptz NOT NULL DEFAULT now(),
    tries       integer NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, session),
    FOREIGN KEY (tenant_id, session) REFERENCES sessions ON DELETE CASCADE
);
CREATE INDEX expired_sessions_due ON expired_sessions (next_try_at);
SELECT keep_tenants_apart('expired_sessions');
