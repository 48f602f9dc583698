-- Sagas that sleep, sagas that are brought back, and the store's secret.
--
-- A saga that only waits is put back as nobody's with the time at which it wakes and the owner that put it to
-- sleep, who wakes it unless it is gone by then. One that has completed is owned again from when it is brought back
-- until it is written to. SQLite cannot change a constraint, so the table of sagas is made anew, and with it
-- the view through which batches are written; so is the table of piles, which now knows one more call.

alter table store add column secret blob
  constraint a_secret_has_32_bytes check (secret is null or length(secret) = 32);

drop view append;

create table saga_anew (
  id blob not null unique,
  status integer not null constraint status_is_known check (status between 0 and 5),
  owner integer,
  sleeper integer,
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
  constraint only_what_completed_is_revived check (owner is null or status <= 3),
  constraint a_sleeper_is_nobodys
    check (sleeper is null or owner is null and status < 3 and wake_at is not null),
  constraint a_saga_that_moves_is_owned
    check (owner is not null or sleeper is not null or status >= 3 or wake_at is null)
) strict;
insert into saga_anew
select id, status, owner, null, epoch, seq, definition, created_at, updated_at, ended_at, wake_at, at_steps,
  at_participants, key, fingerprint, labels
from saga order by rowid;
drop table saga;
alter table saga_anew rename to saga;
create unique index a_key_starts_one_saga on saga (key) where key is not null;
create index saga_by_owner on saga (status, owner, id);
create index saga_by_definition on saga (definition, status, id);
-- What sleeps is found by who put it to sleep and when it wakes. What is awake is not in here, so its appends do
-- not pay for it.
create index saga_asleep on saga (status, sleeper, wake_at, id) where sleeper is not null;

create trigger saga_tally after update of status on saga when new.status <> old.status
begin
  update tally set sagas = sagas - 1 where status = old.status;
  update tally set sagas = sagas + 1 where status = new.status;
end;

-- As before, but op: 0 action, 1 compensation, 2 confirm.
create table pile_anew (
  n integer primary key,
  participant text not null,
  definition text not null,
  step text not null,
  op integer not null constraint op_is_known check (op between 0 and 2),
  operation text not null,
  reason integer not null constraint reason_is_known check (reason between 0 and 3),
  is_anomaly integer not null constraint is_anomaly_is_yes_or_no check (is_anomaly in (0, 1)),
  finding text not null,
  unique (participant, definition, step, op, operation, reason, is_anomaly, finding)
) strict;
insert into pile_anew
select n, participant, definition, step, op, operation, reason, is_anomaly, finding from pile;
drop table pile;
alter table pile_anew rename to pile;

-- Writing is inserting into this view: a whole batch of conditional writes is one statement, and one that
-- does not hit its row undoes them all. A row that is all null is padding and does nothing.
create view append (
  id, owner, epoch, after_seq, seq, events, status, updated_at, ended_at, wake_at, asleep, at_steps,
  at_participants, repairs, definition, created_at, key, fingerprint, labels
) as
select null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
  null, null;

create trigger append_first instead of insert on append when new.after_seq = 0
begin
  select raise(abort, 'fenced')
  where not exists (select 1 from node where owner = new.owner and replaced = 0);
  insert into saga (id, status, owner, sleeper, epoch, seq, definition, created_at, updated_at, ended_at,
    wake_at, at_steps, at_participants, key, fingerprint, labels)
  values (new.id, new.status,
    case when new.status < 3 and new.wake_at is not null and new.asleep = 0 then new.owner end,
    case when new.status < 3 and new.wake_at is not null and new.asleep = 1 then new.owner end, 1, new.seq,
    new.definition, new.created_at, new.updated_at, new.ended_at, new.wake_at, new.at_steps,
    new.at_participants, new.key, new.fingerprint, new.labels);
  insert into journal (saga_id, seq_first, seq_last, events) values (new.id, 1, new.seq, new.events);
  insert into saga_label (name, value, saga_id)
  select label.key, label.value, new.id from json_each(new.labels) label where new.labels is not null;
  update tally set sagas = sagas + 1 where status = new.status;
end;

-- Of a saga that is shelved or asleep, which nobody owns, its last owner knows the epoch and may go on. One
-- that has completed is written to by whoever has brought it back, and is owned by it until then.
create trigger append_more instead of insert on append when new.after_seq > 0
begin
  update saga
  set status = new.status,
    owner = case when new.status < 3 and new.wake_at is not null and new.asleep = 0 then new.owner end,
    sleeper = case when new.status < 3 and new.wake_at is not null and new.asleep = 1 then new.owner end,
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
