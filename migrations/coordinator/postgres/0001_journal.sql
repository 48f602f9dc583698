-- The coordinator's store: journals, ownership, definitions and registrations.
--
-- The journal is the truth; a saga's row is what is found and guarded by. Ids are UUIDs v7, so they sort by
-- time of creation; times are milliseconds since 1970, leases by the database's clock. Status: 0 running,
-- 1 compensating, 2 repair, 3 completed, 4 compensated, 5 abandoned; 3 and above have ended.
--
-- The same tables as for SQLite. A batch is written here by statements over arrays, not through a view.

create table store (
  one smallint primary key constraint there_is_one_store check (one = 1),
  instance uuid not null,
  pinged_at bigint not null
);
insert into store values (1, gen_random_uuid(), 0);

-- A coordinator process. Whoever owns a saga and has no living row here owns it no longer.
create table node (
  owner bigint primary key,
  incarnation uuid not null unique,
  name text not null,
  ttl_ms bigint not null,
  lease_until bigint not null,
  replaced boolean not null
);

create table definition (
  n bigint generated always as identity primary key,
  hash text not null unique,
  name text not null,
  version integer not null,
  registered boolean not null,
  text text not null,
  created_at bigint not null
);
create unique index a_version_is_registered_once on definition (name, version) where registered;

-- What sagas refer to; a number instead of a name and a hash keeps their rows small.
create table saga_definition (
  n bigint generated always as identity primary key,
  name text not null,
  version integer not null,
  hash text not null,
  unique (name, version, hash)
);

create table participant (
  name text primary key,
  registration text not null
);

-- Rows are updated a few times soon after they are made; the free space keeps that on their page.
create table saga (
  id uuid primary key,
  status smallint not null constraint status_is_known check (status between 0 and 5),
  owner bigint,
  epoch bigint not null constraint epochs_start_at_1 check (epoch >= 1),
  seq bigint not null constraint a_saga_has_begun check (seq >= 1),
  definition bigint not null,
  created_at bigint not null,
  updated_at bigint not null,
  ended_at bigint,
  wake_at bigint,
  at_steps text,
  at_participants text,
  key text,
  fingerprint bytea not null,
  labels text,
  constraint only_a_live_saga_is_owned check ((owner is null) = (status >= 3))
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
create unique index a_key_starts_one_saga on saga (key) where key is not null;
create index saga_by_owner on saga (status, owner, id);
create index saga_by_definition on saga (definition, status, id);

create table saga_label (
  name text not null,
  value text not null,
  saga_id uuid not null,
  primary key (name, value, saga_id)
);

-- One row for each append, with its events as a JSON array.
create table journal (
  saga_id uuid not null,
  seq_first bigint not null,
  seq_last bigint not null constraint an_append_has_events check (seq_last >= seq_first),
  events text not null,
  constraint a_sequence_number_is_used_once primary key (saga_id, seq_first)
);

-- How many sagas there are of each status, so that nobody has to count them. In slots, so that several
-- coordinators do not wait for one row; the count is the sum.
create table tally (
  status smallint not null,
  slot smallint not null,
  sagas bigint not null,
  primary key (status, slot)
);
insert into tally select status, slot, 0 from generate_series(0, 5) status, generate_series(0, 15) slot;
