//! The laws of activities, for the audit.

use amends_sdk::audit::Law;

/// What the tables of activities must keep at every commit.
pub(crate) const LAWS: [Law; 3] = [
    Law {
        name: "a_transfer_adds_up_to_nothing",
        law: "what a step moves between ordinary sales and an activity leaves one record and arrives in the other",
        broken: "select f.saga, f.step, f.op, s.sku_id as sku, sum(f.d_usable) as too_much
            from inv_flow f cross join inv_stock s on s.stock_id = f.stock_id
            where f.op in (11, 12) group by f.saga, f.step, f.op, s.sku_id
            having sum(f.d_usable) <> 0 or sum(f.d_held) <> 0 or sum(f.d_shipped) <> 0 limit ?1",
    },
    Law {
        name: "quotas_are_what_was_moved",
        law: "a customer has of an activity what was taken less what was returned",
        broken: "select q.activity_id as activity, q.user_id as user, q.bought, coalesce(m.moved, 0) as moved
            from inv_quota q
            left join (select activity_id, user_id, sum(delta) as moved from inv_quota_move
                group by activity_id, user_id) m on m.activity_id = q.activity_id and m.user_id = q.user_id
            where q.bought < 0 or q.bought <> coalesce(m.moved, 0) limit ?1",
    },
    Law {
        name: "what_is_undone_is_the_opposite",
        law: "undoing a step's change of a quota changes the same quota by as much the other way",
        broken: "select u.saga, u.step, u.activity_id as activity, u.user_id as user, u.delta
            from inv_quota_move u
            left join inv_quota_move d on d.saga = u.saga and d.step = u.step and d.undo = 0
                and d.activity_id = u.activity_id and d.user_id = u.user_id and d.delta = -u.delta
            where u.undo = 1 and d.saga is null limit ?1",
    },
];
