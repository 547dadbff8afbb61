-- How each worker finds each endpoint. The newest change of a breaker is everybody's; counts and scores
-- are a worker's own. No reference to contract: a row is a note, and locks nothing of the trade.
CREATE TABLE endpoint_health (
  contract_id int NOT NULL,
  call text NOT NULL CHECK (call IN ('ping', 'post')),
  worker int NOT NULL,                        -- 0: an operator closed it
  open boolean NOT NULL,                      -- an open one is half-open once retry_at is past
  since timestamptz,                          -- when it opened or closed; null: it never opened
  retry_at timestamptz,                       -- open: when it may be tried
  openings int NOT NULL,                      -- without a healthy spell between them
  good bigint NOT NULL, bad bigint NOT NULL,  -- results in the window; while open, what opened it
  score float8 NOT NULL,                      -- the throttle's, 0 to 1
  results int NOT NULL,                       -- that the score is made of
  share float8 NOT NULL,                      -- of pings that are, or in a dry run would be, skipped
  dry_run boolean NOT NULL,
  failures jsonb NOT NULL,                    -- the last few: reason and at
  at timestamptz NOT NULL,                    -- when this row was written
  told_at timestamptz NOT NULL,               -- when `since` was
  PRIMARY KEY (contract_id, call, worker));
CREATE INDEX endpoint_health_at ON endpoint_health (at);
CREATE INDEX endpoint_health_told ON endpoint_health (told_at);
