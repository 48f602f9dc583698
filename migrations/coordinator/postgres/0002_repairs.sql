-- The repair queue: items for finding, what the outside is told of them, and work in the background.
--
-- A saga that waits for an operator only is put back as nobody's, so ownership no longer follows from the
-- status alone.
--
-- Item status: 0 open, 1 assigned, 2 retrying, 3 settled. Told: 0 opened, 1 escalated, 2 settled.

alter table saga drop constraint only_a_live_saga_is_owned;
alter table saga add constraint an_ended_saga_is_nobodys check (owner is null or status < 3);
alter table saga add constraint a_saga_that_moves_is_owned
  check (owner is not null or status >= 3 or wake_at is null);

-- What many items have in common; a number instead of it keeps their rows small, and every filter by name
-- comes down to a few of these. Empty where there is none. Op: 0 action, 1 compensation. Reason: 0 none,
-- 1 exhausted, 2 refused, 3 contract. Of an anomaly, its finding's name.
create table pile (
  n bigint generated always as identity primary key,
  participant text not null,
  definition text not null,
  step text not null,
  op smallint not null constraint op_is_known check (op between 0 and 1),
  operation text not null,
  reason smallint not null constraint reason_is_known check (reason between 0 and 3),
  is_anomaly boolean not null,
  finding text not null,
  unique (participant, definition, step, op, operation, reason, is_anomaly, finding)
);

-- One row for each item, stuck steps and anomalies alike. Settled how: 0 retried, 1 parked again,
-- 2 resolved, 3 proven, 4 skipped, 5 abandoned.
create table repair (
  item uuid primary key,
  saga_id uuid,
  pile bigint not null,
  status smallint not null constraint repair_status_is_known check (status between 0 and 3),
  number integer not null constraint items_are_numbered_from_1 check (number >= 1),
  opened_at bigint not null,
  first_opened_at bigint not null,
  updated_at bigint not null,
  assignee text,
  settled_by text,
  settled_how smallint constraint settled_how_is_known check (settled_how between 0 and 5),
  seq bigint not null,
  level smallint not null constraint levels_start_at_0 check (level >= 0),
  anomaly text,
  constraint what_is_settled_says_how check ((status = 3) = (settled_how is not null))
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
create index repair_by_time on repair (status, opened_at, item);
create index repair_by_pile on repair (pile, status, opened_at, item);
create index repair_by_assignee on repair (assignee, pile, status, opened_at, item) where assignee is not null;
create index repair_by_saga on repair (saga_id, opened_at, item) where saga_id is not null;
create index repair_by_age on repair (pile, status, first_opened_at) where status < 3;
create index repair_by_level on repair (level, first_opened_at, item) where status < 3;

-- Who is told: the sum of 1 for opened, 2 for escalated, 4 for settled.
create table hook (
  name text primary key,
  wants smallint not null constraint wants_are_known check (wants between 0 and 7)
);

-- Numbers are never used again: whoever ends a delivery late must not end another one.
create table outbox (
  n bigint generated always as identity primary key,
  event uuid not null default gen_random_uuid(),
  hook text not null,
  told smallint not null constraint told_is_known check (told between 0 and 2),
  item uuid not null,
  level smallint not null,
  at bigint not null,
  attempts integer not null,
  due_at bigint not null
) with (autovacuum_vacuum_scale_factor = 0.02);
create index outbox_by_hook on outbox (hook, due_at, n);

-- Work that goes on in the background until it is done.
create table job (
  id uuid primary key,
  text text not null,
  running boolean not null,
  version bigint not null constraint versions_start_at_1 check (version >= 1),
  owner bigint not null,
  updated_at bigint not null
);
create index job_by_age on job (updated_at) where running;

-- What an item means for the outside is put into the outbox by the change itself.
create function tell_of_repair() returns trigger language plpgsql as $$
declare
  present bigint := floor(extract(epoch from clock_timestamp()) * 1000);
begin
  if tg_op = 'INSERT' then
    insert into outbox (hook, told, item, level, at, attempts, due_at)
    select name, 0, new.item, new.level, new.opened_at, 0, present from hook where wants & 1 <> 0
    order by name;
    if new.status = 3 then
      insert into outbox (hook, told, item, level, at, attempts, due_at)
      select name, 2, new.item, new.level, new.updated_at, 0, present from hook where wants & 4 <> 0
      order by name;
    end if;
    return null;
  end if;
  if old.status = 3 and new.status < 3 then
    insert into outbox (hook, told, item, level, at, attempts, due_at)
    select name, 0, new.item, new.level, new.updated_at, 0, present from hook where wants & 1 <> 0
    order by name;
  end if;
  if new.level > old.level then
    insert into outbox (hook, told, item, level, at, attempts, due_at)
    select name, 1, new.item, new.level, present, 0, present from hook where wants & 2 <> 0
    order by name;
  end if;
  if old.status < 3 and new.status = 3 then
    insert into outbox (hook, told, item, level, at, attempts, due_at)
    select name, 2, new.item, new.level, new.updated_at, 0, present from hook where wants & 4 <> 0
    order by name;
  end if;
  return null;
end;
$$;
create trigger repair_is_new after insert on repair
  for each row execute function tell_of_repair();
create trigger repair_is_changed after update of status, level on repair
  for each row when (old.status <> new.status or old.level <> new.level) execute function tell_of_repair();
