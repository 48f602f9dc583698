-- The coordinator's store: journals, ownership, definitions and registrations.
--
-- The journal is the truth; a saga's row is what is found and guarded by. Ids are the 16 bytes of a UUID
-- v7, so they sort by time of creation; times are milliseconds since 1970, leases by the database's clock.
-- Status: 0 running, 1 compensating, 2 repair, 3 completed, 4 compensated, 5 abandoned; 3 and above have
-- ended.
--
-- The same tables as for SQLite. A batch is written here by several statements in one transaction, not
-- through a view. Names, keys and labels are compared byte for byte.

create table store (
  one tinyint not null primary key,
  instance binary(16) not null,
  pinged_at bigint not null,
  constraint there_is_one_store check (one = 1)
) engine = innodb;
insert into store values (1, unhex(replace(uuid(), '-', '')), 0);

-- A coordinator process. Whoever owns a saga and has no living row here owns it no longer.
create table node (
  owner bigint not null primary key,
  incarnation binary(16) not null unique,
  name varchar(255) character set utf8mb4 collate utf8mb4_bin not null,
  ttl_ms bigint not null,
  lease_until bigint not null,
  replaced boolean not null
) engine = innodb;

-- Only registered versions have a slot: null is never equal to null, so the others may repeat.
create table definition (
  n bigint not null auto_increment primary key,
  hash varchar(128) character set ascii collate ascii_bin not null unique,
  name varchar(63) character set ascii collate ascii_bin not null,
  version int not null,
  registered boolean not null,
  registered_slot tinyint generated always as (case when registered then 1 end) virtual,
  text longtext character set utf8mb4 collate utf8mb4_bin not null,
  created_at bigint not null,
  unique key a_version_is_registered_once (name, version, registered_slot)
) engine = innodb;

-- What sagas refer to; a number instead of a name and a hash keeps their rows small.
create table saga_definition (
  n bigint not null auto_increment primary key,
  name varchar(63) character set ascii collate ascii_bin not null,
  version int not null,
  hash varchar(128) character set ascii collate ascii_bin not null,
  unique key (name, version, hash)
) engine = innodb;

create table participant (
  name varchar(63) character set ascii collate ascii_bin not null primary key,
  registration longtext character set utf8mb4 collate utf8mb4_bin not null
) engine = innodb;

create table saga (
  id binary(16) not null primary key,
  status tinyint not null,
  owner bigint,
  epoch bigint not null,
  seq bigint not null,
  definition bigint not null,
  created_at bigint not null,
  updated_at bigint not null,
  ended_at bigint,
  wake_at bigint,
  at_steps text character set ascii collate ascii_bin,
  at_participants text character set ascii collate ascii_bin,
  `key` varbinary(256),
  fingerprint binary(32) not null,
  labels text character set utf8mb4 collate utf8mb4_bin,
  constraint status_is_known check (status between 0 and 5),
  constraint epochs_start_at_1 check (epoch >= 1),
  constraint a_saga_has_begun check (seq >= 1),
  constraint only_a_live_saga_is_owned check ((owner is null) = (status >= 3)),
  unique key a_key_starts_one_saga (`key`),
  key saga_by_owner (status, owner, id),
  key saga_by_definition (definition, status, id)
) engine = innodb;

create table saga_label (
  name varbinary(64) not null,
  value varbinary(256) not null,
  saga_id binary(16) not null,
  primary key (name, value, saga_id)
) engine = innodb;

-- One row for each append, with its events as a JSON array.
create table journal (
  saga_id binary(16) not null,
  seq_first bigint not null,
  seq_last bigint not null,
  events longtext character set utf8mb4 collate utf8mb4_bin not null,
  constraint an_append_has_events check (seq_last >= seq_first),
  primary key a_sequence_number_is_used_once (saga_id, seq_first)
) engine = innodb;

-- How many sagas there are of each status, so that nobody has to count them. In slots, so that several
-- coordinators do not wait for one row; the count is the sum.
create table tally (
  status tinyint not null,
  slot tinyint not null,
  sagas bigint not null,
  primary key (status, slot)
) engine = innodb;
insert into tally (status, slot, sagas)
select status.n, slot.n, 0
from (select 0 n union select 1 union select 2 union select 3 union select 4 union select 5) status
cross join (
  select 0 n union select 1 union select 2 union select 3 union select 4 union select 5 union select 6
  union select 7 union select 8 union select 9 union select 10 union select 11 union select 12
  union select 13 union select 14 union select 15) slot;
