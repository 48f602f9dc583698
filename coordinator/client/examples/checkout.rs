//! A checkout flow: an order is started, followed event by event, paid, and its outcome told to the customer.
