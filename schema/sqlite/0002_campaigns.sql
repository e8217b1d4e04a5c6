-- The order in which due secrets are looked at is found in the index alone.
DROP INDEX secrets_due;
CREATE INDEX secrets_due ON secrets (next_rotation_ms, id, target) WHERE next_rotation_ms IS NOT NULL;

CREATE TABLE campaigns (
  id         TEXT PRIMARY KEY,
  over       INTEGER NOT NULL,
  created_ms INTEGER NOT NULL,
  revision   INTEGER NOT NULL,
  body       TEXT NOT NULL,
  mac        BLOB NOT NULL
) STRICT;
CREATE INDEX campaigns_open ON campaigns (created_ms) WHERE over = 0;

-- One row for each secret of a campaign, in the order in which they are begun.
CREATE TABLE campaign_members (
  campaign_id TEXT NOT NULL REFERENCES campaigns (id),
  position    INTEGER NOT NULL,
  revision    INTEGER NOT NULL,
  body        TEXT NOT NULL,
  mac         BLOB NOT NULL,
  PRIMARY KEY (campaign_id, position)
) STRICT, WITHOUT ROWID;
