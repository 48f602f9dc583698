-- What is kept back of a record, and at how many it is low, changes what can be had of it and what is said of it. So a change of
-- either is a flow, which moves no counter: whoever reads on in the flows hears of it, and of what was kept back at any flow.
--
-- Flow op: 1 replenish, 2 hold, 3 deduct, 4 confirm, 5 release, 6 restore, 7 reinstate, 8 ship, 9 refund, 10 adjust,
-- 11 activity_allocate, 12 activity_return, 13 sync, 14 keep back, 15 let go, 16 threshold.
alter table inv_flow drop constraint inv_flow_op_is_known;
alter table inv_flow add constraint inv_flow_op_is_known check (op between 1 and 16);
