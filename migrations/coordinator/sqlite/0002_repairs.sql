-- The repair queue: items for finding, what the outside is told of them, and work in the background.
--
-- A saga that waits for an operator only is put back as nobody's, so ownership no longer follows from the
-- status alone. SQLite cannot change a constraint, so the table of sagas is made anew, and with it the view
-- through which batches are written: it takes the repair items of an append as well.
--
-- Item status: 0 open, 1 assigned, 2 retrying, 3 settled. Told: 0 opened, 1 escalated, 2 settled.

drop view append;

create table saga_anew (
  id blob not null unique,
  status integer not null constraint status_is_known check (status between 0 and 5),
  owner integer,
  epoch integer not null constraint epochs_start_at_1 check (epoch >= 1),
  seq integer not null constraint a_saga_has_begun check (seq >= 1),
  definition integer not null,
  created_at integer not null,
  updated_at integer not null,
  ended_at integer,
  wake_at integer,
  at_steps text,
  at_participants text,
  key text,
  fingerprint blob not null,
  labels text,
  constraint an_ended_saga_is_nobodys check (owner is null or status < 3),
  constraint a_saga_that_moves_is_owned check (owner is not null or status >= 3 or wake_at is null)
) strict;
insert into saga_anew
select id, status, case when status < 3 and wake_at is not null then owner end, epoch, seq, definition,
  created_at, updated_at, ended_at, wake_at, at_steps, at_participants, key, fingerprint, labels
from saga order by rowid;
drop table saga;
alter table saga_anew rename to saga;
create unique index a_key_starts_one_saga on saga (key) where key is not null;
create index saga_by_owner on saga (status, owner, id);
create index saga_by_definition on saga (definition, status, id);

create trigger saga_tally after update of status on saga when new.status <> old.status
begin
  update tally set sagas = sagas - 1 where status = old.status;
  update tally set sagas = sagas + 1 where status = new.status;
end;

-- What many items have in common; a number instead of it keeps their rows small, and every filter by name
-- comes down to a few of these. Empty where there is none. Op: 0 action, 1 compensation. Reason: 0 none,
-- 1 exhausted, 2 refused, 3 contract. Of an anomaly, its finding's name.
create table pile (
  n integer primary key,
  participant text not null,
  definition text not null,
  step text not null,
  op integer not null constraint op_is_known check (op between 0 and 1),
  operation text not null,
  reason integer not null constraint reason_is_known check (reason between 0 and 3),
  is_anomaly integer not null constraint is_anomaly_is_yes_or_no check (is_anomaly in (0, 1)),
  finding text not null,
  unique (participant, definition, step, op, operation, reason, is_anomaly, finding)
) strict;

-- One row for each item, stuck steps and anomalies alike. Settled how: 0 retried, 1 parked again,
-- 2 resolved, 3 proven, 4 skipped, 5 abandoned.
create table repair (
  item blob not null unique,
  saga_id blob,
  pile integer not null,
  status integer not null constraint repair_status_is_known check (status between 0 and 3),
  number integer not null constraint items_are_numbered_from_1 check (number >= 1),
  opened_at integer not null,
  first_opened_at integer not null,
  updated_at integer not null,
  assignee text,
  settled_by text,
  settled_how integer constraint settled_how_is_known check (settled_how between 0 and 5),
  seq integer not null,
  level integer not null constraint levels_start_at_0 check (level >= 0),
  anomaly text,
  constraint what_is_settled_says_how check ((status = 3) = (settled_how is not null))
) strict;
create index repair_by_time on repair (status, opened_at, item);
create index repair_by_pile on repair (pile, status, opened_at, item);
create index repair_by_assignee on repair (assignee, pile, status, opened_at, item) where assignee is not null;
create index repair_by_saga on repair (saga_id, opened_at, item) where saga_id is not null;
create index repair_by_age on repair (pile, status, first_opened_at) where status < 3;
create index repair_by_level on repair (level, first_opened_at, item) where status < 3;

-- Who is told: the sum of 1 for opened, 2 for escalated, 4 for settled.
create table hook (
  name text primary key,
  wants integer not null constraint wants_are_known check (wants between 0 and 7)
) strict, without rowid;

-- Numbers are never used again: whoever ends a delivery late must not end another one.
create table outbox (
  n integer primary key autoincrement,
  event blob not null,
  hook text not null,
  told integer not null constraint told_is_known check (told between 0 and 2),
  item blob not null,
  level integer not null,
  at integer not null,
  attempts integer not null,
  due_at integer not null
) strict;
create index outbox_by_hook on outbox (hook, due_at, n);

create trigger repair_is_new after insert on repair
begin
  insert into outbox (event, hook, told, item, level, at, attempts, due_at)
  select randomblob(16), name, 0, new.item, new.level, new.opened_at, 0,
    cast(round(unixepoch('subsec') * 1000) as integer)
  from hook where wants & 1;
  insert into outbox (event, hook, told, item, level, at, attempts, due_at)
  select randomblob(16), name, 2, new.item, new.level, new.updated_at, 0,
    cast(round(unixepoch('subsec') * 1000) as integer)
  from hook where wants & 4 and new.status = 3;
end;

create trigger repair_is_opened_again after update of status on repair when old.status = 3 and new.status < 3
begin
  insert into outbox (event, hook, told, item, level, at, attempts, due_at)
  select randomblob(16), name, 0, new.item, new.level, new.updated_at, 0,
    cast(round(unixepoch('subsec') * 1000) as integer)
  from hook where wants & 1;
end;

create trigger repair_is_escalated after update of level on repair when new.level > old.level
begin
  insert into outbox (event, hook, told, item, level, at, attempts, due_at)
  select randomblob(16), name, 1, new.item, new.level, cast(round(unixepoch('subsec') * 1000) as integer), 0,
    cast(round(unixepoch('subsec') * 1000) as integer)
  from hook where wants & 2;
end;

create trigger repair_is_settled after update of status on repair when old.status < 3 and new.status = 3
begin
  insert into outbox (event, hook, told, item, level, at, attempts, due_at)
  select randomblob(16), name, 2, new.item, new.level, new.updated_at, 0,
    cast(round(unixepoch('subsec') * 1000) as integer)
  from hook where wants & 4;
end;

-- Work that goes on in the background until it is done.
create table job (
  id blob not null unique,
  text text not null,
  running integer not null constraint running_is_yes_or_no check (running in (0, 1)),
  version integer not null constraint versions_start_at_1 check (version >= 1),
  owner integer not null,
  updated_at integer not null
) strict;
create index job_by_age on job (updated_at) where running = 1;

-- Writing is inserting into this view: a whole batch of conditional writes is one statement, and one that
-- does not hit its row undoes them all. A row that is all null is padding and does nothing.
create view append (
  id, owner, epoch, after_seq, seq, events, status, updated_at, ended_at, wake_at, at_steps, at_participants,
  repairs, definition, created_at, key, fingerprint, labels
) as
select null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
  null;

create trigger append_first instead of insert on append when new.after_seq = 0
begin
  select raise(abort, 'fenced')
  where not exists (select 1 from node where owner = new.owner and replaced = 0);
  insert into saga (id, status, owner, epoch, seq, definition, created_at, updated_at, ended_at, wake_at,
    at_steps, at_participants, key, fingerprint, labels)
  values (new.id, new.status, case when new.status < 3 and new.wake_at is not null then new.owner end, 1,
    new.seq, new.definition, new.created_at, new.updated_at, new.ended_at, new.wake_at, new.at_steps,
    new.at_participants, new.key, new.fingerprint, new.labels);
  insert into journal (saga_id, seq_first, seq_last, events) values (new.id, 1, new.seq, new.events);
  insert into saga_label (name, value, saga_id)
  select label.key, label.value, new.id from json_each(new.labels) label where new.labels is not null;
  update tally set sagas = sagas + 1 where status = new.status;
end;

-- Of a shelved saga, which nobody owns, its last owner knows the epoch and may go on.
create trigger append_more instead of insert on append when new.after_seq > 0
begin
  update saga
  set status = new.status, owner = case when new.status < 3 and new.wake_at is not null then new.owner end,
    seq = new.seq, updated_at = new.updated_at, ended_at = new.ended_at, wake_at = new.wake_at,
    at_steps = new.at_steps, at_participants = new.at_participants
  where id = new.id and epoch = new.epoch and seq = new.after_seq
    and (owner = new.owner or owner is null and status < 3)
    and exists (select 1 from node where owner = new.owner and replaced = 0);
  select raise(abort, 'fenced') where changes() <> 1;
  insert into journal (saga_id, seq_first, seq_last, events)
  values (new.id, new.after_seq + 1, new.seq, new.events);
end;

-- Each item is an array: item, definition, step, op, participant, operation, status, reason, number, opened,
-- first opened, updated, assignee, settled by, settled how, seq. An item that follows others of its step is
-- as loud as they were.
create trigger append_repairs instead of insert on append when new.repairs is not null
begin
  insert into pile (participant, definition, step, op, operation, reason, is_anomaly, finding)
  select value ->> 4, value ->> 1, value ->> 2, value ->> 3, value ->> 5, value ->> 7, 0, ''
  from json_each(new.repairs) where true
  on conflict do nothing;
  insert into repair (item, saga_id, pile, status, number, opened_at, first_opened_at, updated_at, assignee,
    settled_by, settled_how, seq, level)
  select unhex(value ->> 0), new.id, pile.n, value ->> 6, value ->> 8, value ->> 9, value ->> 10, value ->> 11,
    value ->> 12, value ->> 13, value ->> 14, value ->> 15,
    case when value ->> 8 = 1 then 0 else coalesce((
      select max(older.level) from repair older join pile its on its.n = older.pile
      where older.saga_id = new.id and older.number < value ->> 8 and its.is_anomaly = 0
        and its.step = value ->> 2 and its.op = value ->> 3), 0) end
  from json_each(new.repairs) changed cross join pile
  where pile.participant = value ->> 4 and pile.definition = value ->> 1 and pile.step = value ->> 2
    and pile.op = value ->> 3 and pile.operation = value ->> 5 and pile.reason = value ->> 7
    and pile.is_anomaly = 0 and pile.finding = ''
  order by changed.key
  on conflict (item) do update set status = excluded.status, updated_at = excluded.updated_at,
    assignee = excluded.assignee, settled_by = excluded.settled_by, settled_how = excluded.settled_how,
    seq = excluded.seq;
end;
