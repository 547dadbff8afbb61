-- Sellers' callbacks: who was answered 202, or could not be answered any more, and is still owed the final word.
-- A new table and nothing else: no other table is locked or rewritten, and sales go on.
CREATE TABLE callback (
  lead_id uuid PRIMARY KEY,
  seller int NOT NULL,
  state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'delivered', 'given_up')),
  told int,                                   -- posts without an outcome in what he was last told; null: that all of it is pending
  due_at timestamptz NOT NULL DEFAULT now(),  -- the next try, once there is something to tell; taken: until when
  tries int NOT NULL DEFAULT 0,               -- of what is told now
  fence int NOT NULL DEFAULT 0,               -- whoever has an older one has lost the row
  last_status int,                            -- HTTP
  last_reason text,                           -- why the last try failed; null: it did not
  last_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX callback_due ON callback (seller, due_at, lead_id) WHERE state = 'open';
CREATE INDEX callback_of_seller ON callback (seller, created_at DESC, lead_id);
CREATE INDEX callback_given_up ON callback (seller) WHERE state = 'given_up';
CREATE INDEX callback_old ON callback (last_at) WHERE state <> 'open';
