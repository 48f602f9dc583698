-- The audit reads what changed since a moment. Rows are kept for weeks, and it is asked for minutes.
create index saga_barrier_by_time on saga_barrier (created_at, saga_id, step, op);
