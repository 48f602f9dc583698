-- The repair queue: items for finding, what the outside is told of them, and work in the background.
--
-- A saga that waits for an operator only is put back as nobody's, so ownership no longer follows from the
-- status alone.
--
-- Item status: 0 open, 1 assigned, 2 retrying, 3 settled. Told: 0 opened, 1 escalated, 2 settled.
--
-- Here no trigger fills the outbox: to make one takes a privilege that hosted servers with a binary log do
-- not give. The store inserts the events in the transaction of the change.

alter table saga drop constraint only_a_live_saga_is_owned;
alter table saga add constraint an_ended_saga_is_nobodys check (owner is null or status < 3);
alter table saga add constraint a_saga_that_moves_is_owned
  check (owner is not null or status >= 3 or wake_at is null);

-- What many items have in common; a number instead of it keeps their rows small, and every filter by name
-- comes down to a few of these. Empty where there is none. Op: 0 action, 1 compensation. Reason: 0 none,
-- 1 exhausted, 2 refused, 3 contract. Of an anomaly, its finding's name.
create table pile (
  n bigint not null auto_increment primary key,
  participant varchar(63) character set ascii collate ascii_bin not null,
  definition varchar(63) character set ascii collate ascii_bin not null,
  step varchar(80) character set ascii collate ascii_bin not null,
  op tinyint not null,
  operation varchar(63) character set ascii collate ascii_bin not null,
  reason tinyint not null,
  is_anomaly boolean not null,
  finding varchar(80) character set utf8mb4 collate utf8mb4_bin not null,
  constraint op_is_known check (op between 0 and 1),
  constraint reason_is_known check (reason between 0 and 3),
  unique key (participant, definition, step, op, operation, reason, is_anomaly, finding)
) engine = innodb;

-- One row for each item, stuck steps and anomalies alike. Settled how: 0 retried, 1 parked again,
-- 2 resolved, 3 proven, 4 skipped, 5 abandoned. There are no partial indexes here; the slot of what is not
-- settled is null once it is.
create table repair (
  item binary(16) not null primary key,
  saga_id binary(16),
  pile bigint not null,
  status tinyint not null,
  unsettled tinyint generated always as (case when status < 3 then status end) virtual,
  number int not null,
  opened_at bigint not null,
  first_opened_at bigint not null,
  updated_at bigint not null,
  assignee varchar(255) character set utf8mb4 collate utf8mb4_bin,
  settled_by varchar(255) character set utf8mb4 collate utf8mb4_bin,
  settled_how tinyint,
  seq bigint not null,
  level tinyint unsigned not null,
  anomaly longtext character set utf8mb4 collate utf8mb4_bin,
  constraint repair_status_is_known check (status between 0 and 3),
  constraint items_are_numbered_from_1 check (number >= 1),
  constraint settled_how_is_known check (settled_how between 0 and 5),
  constraint what_is_settled_says_how check ((status = 3) = (settled_how is not null)),
  key repair_by_time (status, opened_at, item),
  key repair_by_pile (pile, status, opened_at, item),
  key repair_by_assignee (assignee, pile, status, opened_at, item),
  key repair_by_saga (saga_id, opened_at, item),
  key repair_by_age (pile, unsettled, first_opened_at),
  key repair_by_level (unsettled, level, first_opened_at, item)
) engine = innodb;

-- Who is told: the sum of 1 for opened, 2 for escalated, 4 for settled.
create table hook (
  name varchar(255) character set utf8mb4 collate utf8mb4_bin not null primary key,
  wants tinyint not null,
  constraint wants_are_known check (wants between 0 and 7)
) engine = innodb;

-- Numbers are never used again: whoever ends a delivery late must not end another one.
create table outbox (
  n bigint not null auto_increment primary key,
  event binary(16) not null,
  hook varchar(255) character set utf8mb4 collate utf8mb4_bin not null,
  told tinyint not null,
  item binary(16) not null,
  level tinyint unsigned not null,
  at bigint not null,
  attempts int not null,
  due_at bigint not null,
  constraint told_is_known check (told between 0 and 2),
  key outbox_by_hook (hook, due_at, n)
) engine = innodb;

-- Work that goes on in the background until it is done.
create table job (
  id binary(16) not null primary key,
  text longtext character set utf8mb4 collate utf8mb4_bin not null,
  running boolean not null,
  version bigint not null,
  owner bigint not null,
  updated_at bigint not null,
  constraint versions_start_at_1 check (version >= 1),
  key job_by_age (running, updated_at)
) engine = innodb;
