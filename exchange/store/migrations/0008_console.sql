-- Who may use the console: people with a login, what their browsers hold, and what they did there.
CREATE TABLE console_user (
  login text PRIMARY KEY CHECK (login ~ '^[a-z0-9][a-z0-9._@-]{0,63}$'),
  role text NOT NULL CHECK (role IN ('admin', 'operator', 'viewer', 'buyer', 'seller')),
  owner text,                                 -- a buyer's or seller's slug; null for the house's own people
  password text,                              -- scrypt with its salt; null: enters by a one-time link only
  totp bytea,                                 -- the secret of the one-time codes, sealed; null: none
  totp_step bigint NOT NULL DEFAULT 0,        -- of the last code that was used: none is used twice
  created_at timestamptz NOT NULL DEFAULT now(),
  retired_at timestamptz,                     -- a login is never used again
  CHECK ((owner IS NULL) = (role IN ('admin', 'operator', 'viewer'))));
CREATE TABLE console_recovery (               -- codes for who has lost the device; each once
  login text NOT NULL REFERENCES console_user,
  digest bytea NOT NULL,
  PRIMARY KEY (login, digest));

CREATE TABLE console_session (
  id text PRIMARY KEY,
  digest bytea NOT NULL UNIQUE,               -- keyed HMAC of the token in the cookie
  login text REFERENCES console_user,         -- a person, or
  key_id text REFERENCES api_key,             -- whoever holds this key, for as long as it lives
  address text NOT NULL,
  agent text NOT NULL,                        -- what the browser calls itself
  began_at timestamptz NOT NULL DEFAULT now(),
  seen_at timestamptz NOT NULL DEFAULT now(), -- to the minute
  ends_at timestamptz NOT NULL,
  CHECK (num_nonnulls(login, key_id) = 1));
CREATE INDEX console_session_login ON console_session (login) WHERE login IS NOT NULL;
CREATE INDEX console_session_key ON console_session (key_id) WHERE key_id IS NOT NULL;
CREATE INDEX console_session_ends ON console_session (ends_at);

CREATE TABLE console_once (                   -- links that let somebody in once, and half of a sign-in with a code
  digest bytea PRIMARY KEY,
  purpose text NOT NULL CHECK (purpose IN ('enter', 'code')),
  login text NOT NULL REFERENCES console_user,
  ends_at timestamptz NOT NULL);
CREATE INDEX console_once_login ON console_once (login);
CREATE INDEX console_once_ends ON console_once (ends_at);

CREATE TABLE console_try (                    -- tries to sign in, before they are judged
  what bytea PRIMARY KEY,                     -- keyed HMAC of a login, an address, or both
  since timestamptz NOT NULL DEFAULT now(),
  count int NOT NULL DEFAULT 1);

CREATE TABLE console_event (                  -- what people did that is in no other history
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT now(),
  by text NOT NULL,                           -- user:LOGIN, key:ID, or the command line
  what text NOT NULL,
  subject text NOT NULL DEFAULT '',
  detail jsonb NOT NULL DEFAULT '{}');        -- no secret and no person
CREATE INDEX console_event_by ON console_event (by, id DESC);
CREATE INDEX console_event_what ON console_event (what, id DESC);

-- Who changed what, newest first, also by whom.
CREATE INDEX document_history_version ON document_history (version DESC);
CREATE INDEX document_history_by ON document_history (changed_by, version DESC);
