-- People who use the dashboard. Signing in comes before it is known for whom somebody works, so these are the
-- platform's tables: no tenant role sees them.
CREATE TABLE users (
    id            uuid PRIMARY KEY,
    email         text NOT NULL UNIQUE,
    name          text,
    role          text NOT NULL,
    -- The one tenant of a tenant admin; none for a superadmin.
    works_for     text,
    password_hash text NOT NULL,
    disabled      boolean NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    CHECK ((role = 'superadmin') = (works_for IS NULL))
);
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
ALTER TABLE users FORCE ROW LEVEL SECURITY;
CREATE POLICY platform_work ON users TO channel_platform USING (true) WITH CHECK (true);

-- Who is signed in. Only the hash of a token is kept: whoever reads this table cannot sign in with it.
CREATE TABLE user_sessions (
    token_hash  bytea PRIMARY KEY,
    user_id     uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at  timestamptz NOT NULL DEFAULT now(),
    -- The end, which use does not move.
    expires_at  timestamptz NOT NULL,
    -- When the token was replaced by a younger one; it is good for a moment more, for requests that were under way.
    replaced_at timestamptz
);
CREATE INDEX user_sessions_of_user ON user_sessions (user_id);
CREATE INDEX user_sessions_age ON user_sessions (expires_at);
ALTER TABLE user_sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE user_sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY platform_work ON user_sessions TO channel_platform USING (true) WITH CHECK (true);
