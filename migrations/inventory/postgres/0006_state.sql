-- What a hold's state may be is said as a range, as it is for SQLite, where a list costs more. It is the same law.
alter table inv_hold
    drop constraint inv_hold_state_is_known,
    add constraint inv_hold_state_is_known check (state between 1 and 3);
