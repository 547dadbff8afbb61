-- What certification found out about a contract's endpoint, the last time it was asked.
CREATE TABLE certificate (
  contract_id int PRIMARY KEY REFERENCES contract,
  endpoint bytea NOT NULL,                    -- digest of what was certified: vertical, dialect, addresses, idempotent; keyed by the secret
  passed boolean NOT NULL,
  repeats text NOT NULL CHECK (repeats IN ('same_answer', 'conflict', 'sold_twice', 'unknown')),
  at timestamptz NOT NULL DEFAULT now(),
  report jsonb NOT NULL);                     -- every check with its verdict, both exchanges; test data only
CREATE TRIGGER told AFTER INSERT OR UPDATE OR DELETE ON certificate FOR EACH STATEMENT EXECUTE FUNCTION tell_change();
