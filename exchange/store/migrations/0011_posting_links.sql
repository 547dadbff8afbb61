-- Links that open one seller's posting instructions of one vertical without a login, to be passed on to whoever
-- writes its programs. A new table and nothing else: no other table is locked or rewritten, and sales go on.
CREATE TABLE posting_link (
  id text PRIMARY KEY,                        -- to name it by: not what opens it
  digest bytea NOT NULL UNIQUE,               -- keyed HMAC of the token in the address
  seller text NOT NULL,                       -- slug
  vertical text NOT NULL,                     -- slug
  made_by text NOT NULL,                      -- user:LOGIN or key:ID
  made_at timestamptz NOT NULL DEFAULT now(),
  ends_at timestamptz NOT NULL,
  opened int NOT NULL DEFAULT 0,              -- how often
  opened_at timestamptz);                     -- the last time
CREATE INDEX posting_link_of ON posting_link (seller, vertical, made_at);
CREATE INDEX posting_link_ends ON posting_link (ends_at);
