-- Sagas that sleep, sagas that are brought back, and the store's secret.
--
-- A saga that only waits is put back as nobody's with the time at which it wakes and the owner that put it to
-- sleep, who wakes it unless it is gone by then. One that has completed is owned again from when it is brought
-- back until it is written to.

alter table store add column secret varbinary(32);
alter table store add constraint a_secret_has_32_bytes check (secret is null or octet_length(secret) = 32);

alter table saga drop constraint an_ended_saga_is_nobodys;
alter table saga drop constraint a_saga_that_moves_is_owned;
alter table saga add column sleeper bigint;
alter table saga add constraint only_what_completed_is_revived check (owner is null or status <= 3);
alter table saga add constraint a_sleeper_is_nobodys
  check (sleeper is null or owner is null and status < 3 and wake_at is not null);
alter table saga add constraint a_saga_that_moves_is_owned
  check (owner is not null or sleeper is not null or status >= 3 or wake_at is null);

-- What sleeps is found by who put it to sleep and when it wakes. There are no partial indexes here; the column
-- is null for what is awake, so that its appends do not move it.
alter table saga add column sleeps_until bigint
  generated always as (case when sleeper is not null then wake_at end) virtual;
alter table saga add key saga_asleep (status, sleeper, sleeps_until, id);

-- A step that is fanned out stands at as many places as it has items.
alter table saga modify at_steps mediumtext character set ascii collate ascii_bin;

-- Op: 0 action, 1 compensation, 2 confirm.
alter table pile drop constraint op_is_known;
alter table pile add constraint op_is_known check (op between 0 and 2);
