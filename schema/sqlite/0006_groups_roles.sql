-- Groups, who is in them, and roles; guarded like users, and in the same digest.

CREATE TABLE user_groups (
  key  TEXT PRIMARY KEY,
  body TEXT NOT NULL,
  mac  BLOB NOT NULL
) STRICT;

CREATE TABLE group_members (
  key  TEXT PRIMARY KEY,
  body TEXT NOT NULL,
  mac  BLOB NOT NULL
) STRICT;

CREATE TABLE roles (
  key  TEXT PRIMARY KEY,
  body TEXT NOT NULL,
  mac  BLOB NOT NULL
) STRICT;
