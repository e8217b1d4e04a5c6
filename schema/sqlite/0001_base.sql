-- Rows carry a body (JSON) and a MAC over table, key and body under the
-- integrity key, which is derived in the token. Columns beside them are copies
-- of members of the body, for look-up and order; the reader compares them.

CREATE TABLE settings (
  name TEXT PRIMARY KEY,
  body TEXT NOT NULL,
  mac  BLOB NOT NULL
) STRICT;

CREATE TABLE secrets (
  id                TEXT PRIMARY KEY,
  name              TEXT NOT NULL UNIQUE,
  revision          INTEGER NOT NULL,
  next_rotation_ms  INTEGER,
  planned_delete_ms INTEGER,
  -- Instance, user and kind of an ECS secret, for a key also the first one: two
  -- secrets for the same credential would spoil each other's value at every rotation.
  target            TEXT UNIQUE,
  body              TEXT NOT NULL,
  mac               BLOB NOT NULL
) STRICT;
CREATE INDEX secrets_due ON secrets (next_rotation_ms) WHERE next_rotation_ms IS NOT NULL;
CREATE INDEX secrets_planned_delete ON secrets (planned_delete_ms) WHERE planned_delete_ms IS NOT NULL;

-- A sealed value is authentic by itself: it opens only for its own secret and version.
CREATE TABLE versions (
  secret_id  TEXT NOT NULL REFERENCES secrets (id) ON DELETE CASCADE,
  version_id TEXT NOT NULL,
  sealed     BLOB NOT NULL,
  PRIMARY KEY (secret_id, version_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE rotations (
  id           TEXT PRIMARY KEY,
  secret_id    TEXT NOT NULL,
  target       TEXT NOT NULL,
  over         INTEGER NOT NULL,
  next_try_ms  INTEGER NOT NULL,
  started_ms   INTEGER NOT NULL,
  revision     INTEGER NOT NULL,
  body         TEXT NOT NULL,
  mac          BLOB NOT NULL
) STRICT;
-- At most one unresolved rotation for a secret, and one for a user of an instance
-- (cloud-assistant.md section 5.7).
CREATE UNIQUE INDEX rotations_one_per_secret ON rotations (secret_id) WHERE over = 0;
CREATE UNIQUE INDEX rotations_one_per_target ON rotations (target) WHERE over = 0;
CREATE INDEX rotations_open ON rotations (next_try_ms) WHERE over = 0;
CREATE INDEX rotations_started ON rotations (started_ms);
CREATE INDEX rotations_of_secret ON rotations (secret_id, started_ms);

CREATE TABLE users (
  key  TEXT PRIMARY KEY,
  body TEXT NOT NULL,
  mac  BLOB NOT NULL
) STRICT;

CREATE TABLE access_keys (
  key  TEXT PRIMARY KEY,
  body TEXT NOT NULL,
  mac  BLOB NOT NULL
) STRICT;

CREATE TABLE policies (
  key  TEXT PRIMARY KEY,
  body TEXT NOT NULL,
  mac  BLOB NOT NULL
) STRICT;

CREATE TABLE attachments (
  key  TEXT PRIMARY KEY,
  body TEXT NOT NULL,
  mac  BLOB NOT NULL
) STRICT;
