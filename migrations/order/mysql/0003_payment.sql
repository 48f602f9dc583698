-- An order remembers the payment that it was paid by, so that its money goes back where it is. Orders that were paid
-- without a payment service name none, and neither do those that were paid before.
alter table orders add column payment_no varchar(64);
