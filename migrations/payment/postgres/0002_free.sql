-- A charge of nothing is a payment as well: an order all of whose goods are free is placed and paid like any other.
alter table payment
    drop constraint payment_is_positive,
    add constraint payment_not_negative check (amount_minor >= 0);
