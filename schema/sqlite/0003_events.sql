-- What operators are told of rotations. The number gives the order of the
-- commits that wrote the events, and is never given twice.
CREATE TABLE events (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  id          TEXT NOT NULL UNIQUE,
  at_ms       INTEGER NOT NULL,
  name        TEXT NOT NULL,
  secret_name TEXT NOT NULL,
  body        TEXT NOT NULL,
  mac         BLOB NOT NULL
) STRICT;
CREATE INDEX events_at ON events (at_ms);
CREATE INDEX events_of_secret ON events (secret_name, seq);
CREATE INDEX events_of_name ON events (name, seq);

-- How far each receiver of events is; guarded like all rows.
CREATE TABLE sinks (
  name TEXT PRIMARY KEY,
  body TEXT NOT NULL,
  mac  BLOB NOT NULL
) STRICT;

-- Copies for monitoring only: by when a secret must have been rotated, when its
-- current version was stored, and which missed date was told.
ALTER TABLE secrets ADD COLUMN promised_ms INTEGER;
ALTER TABLE secrets ADD COLUMN current_ms INTEGER;
ALTER TABLE secrets ADD COLUMN overdue_told_ms INTEGER;
UPDATE secrets SET
  promised_ms = coalesce(body ->> '$.schedule.last', body ->> '$.created') + 1000 * (body ->> '$.schedule.interval'),
  current_ms = (SELECT v.value ->> '$.created' FROM json_each(secrets.body, '$.versions') v
                WHERE EXISTS (SELECT 1 FROM json_each(v.value, '$.stages') s WHERE s.value = 'ACSCurrent'))
WHERE next_rotation_ms IS NOT NULL;
CREATE INDEX secrets_promised ON secrets (promised_ms, current_ms) WHERE promised_ms IS NOT NULL;
