//! The generators draw what they say they draw, and draw it again.

use super::super::catalogue::SKEW;
use super::*;
use std::collections::BTreeMap;

fn mix() -> Mix {
    Mix {
        profile: Profile::Retail,
        rate: 200.0,
        step: 1.0,
        lasts: Duration::from_secs(300),
        duplicates: 5.0,
        unpaid: 12.0,
        cancels: 3.0,
        refunds: 4.0,
        ships: 20.0,
        regrets: 1.0,
        reads: 2,
        quotes: 1,
        sale: Some(Flash { peak: 500.0, limit: 2, units: None }),
    }
}

fn plan(seed: u64, skus: u32, mix: Mix) -> Plan {
    Plan::new(seed, Catalogue::new(seed, skus, SKEW), mix)
}

/// Asserts that a measured value is within so much of what it should be.
fn check(what: &str, measured: f64, expected: f64, within: f64) {
    let off = (measured - expected).abs();
    assert!(off <= within, "{what}: {measured:.4}, expected {expected:.4} within {within}");
}

#[test]
fn the_same_seed_gives_the_same_plan_and_another_seed_another() {
    let (one, again, other) = (plan(7, 1_000, mix()), plan(7, 1_000, mix()), plan(8, 1_000, mix()));
    let first = |plan: &Plan| plan.arrivals().take(5_000).collect::<Vec<_>>();
    assert_eq!(first(&one), first(&again));
    assert_ne!(first(&one), first(&other));
    let goods = |plan: &Plan| {
        let of = |sku| (plan.catalogue.price_minor(sku), plan.catalogue.stock(sku));
        (1..=plan.catalogue.all()).map(of).collect::<Vec<_>>()
    };
    assert_eq!(goods(&one), goods(&again));
    assert_ne!(goods(&one), goods(&other));
}

#[test]
fn popularity_has_the_exact_shares_of_zipf() {
    for (skus, top_1, top_10, top_percent) in
        [(10_000, 0.098, 0.29, 0.52), (100_000, 0.078, 0.23, 0.60), (1_000_000, 0.065, 0.19, 0.66)]
    {
        let catalogue = Catalogue::new(1, skus, SKEW);
        check("top 1", catalogue.shares[0], top_1, 0.0006);
        check("top 10", catalogue.shares[9], top_10, 0.006);
        check("top 1 %", catalogue.shares[skus as usize / 100 - 1], top_percent, 0.006);
    }
    let flatter = Catalogue::new(1, 100_000, 0.8);
    check("top 1 at 0.8", flatter.shares[0], 0.022, 0.0006);
    check("top 10 at 0.8", flatter.shares[9], 0.078, 0.0006);
    check("top 1 % at 0.8", flatter.shares[999], 0.34, 0.006);
}

#[test]
fn what_is_drawn_has_those_shares_and_is_scrambled() {
    let catalogue = Catalogue::new(3, 10_000, SKEW);
    let mut random = Random::of(3, "test", 0);
    let mut drawn: BTreeMap<i64, f64> = BTreeMap::new();
    let draws = 200_000;
    (0..draws).for_each(|_| *drawn.entry(catalogue.draw(&mut random)).or_default() += 1.0);
    let mut by_count: Vec<(f64, i64)> = drawn.iter().map(|(sku, count)| (*count, *sku)).collect();
    by_count.sort_by(|a, b| b.0.total_cmp(&a.0));
    let share =
        |count: usize| by_count[..count].iter().map(|(count, _)| count).sum::<f64>() / f64::from(draws);
    check("top 1", share(1), 0.098, 0.004);
    check("top 10", share(10), 0.29, 0.01);
    let first: Vec<i64> = by_count[..10].iter().map(|(_, sku)| *sku).collect();
    let neighbours = first.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) == 1).count();
    assert!(neighbours <= 1, "popular SKUs lie side by side: {first:?}");
}

#[test]
fn stock_and_prices_are_spread_as_they_should_be() {
    let catalogue = Catalogue::new(5, 20_000, SKEW);
    let stock: Vec<i64> = (1..=20_000).map(|sku| catalogue.stock(sku)).collect();
    let share = |low: i64, high: i64| {
        stock.iter().filter(|stock| (low..=high).contains(stock)).count() as f64 / stock.len() as f64
    };
    check("few", share(0, 5), 0.05, 0.006);
    check("dozens", share(20, 199), 0.70, 0.015);
    check("hundreds", share(201, 2_000), 0.25, 0.015);
    let plan = plan(5, 20_000, mix());
    assert!(plan.set_apart().all(|(_, units)| (1_000..=10_000).contains(&units)));
    assert!(plan.set_apart().all(|(sku, units)| plan.stock(sku) == catalogue.stock(sku) + units));
    assert_eq!(plan.stock(1), catalogue.stock(1));
    let mut prices: Vec<i64> = (1..=20_000).map(|sku| catalogue.price_minor(sku)).collect();
    prices.sort_unstable();
    check("the middle price", prices[10_000] as f64, 8_000.0, 300.0);
    // One deviation up is the 84th of a hundred.
    check("a deviation up", (prices[16_827] as f64 / 8_000.0).ln(), 1.1, 0.06);
}

#[test]
fn carts_have_the_sizes_of_their_profile() {
    let catalogue = Catalogue::new(9, 10_000, SKEW);
    for (profile, single, mean) in [
        (Profile::Marketplace, 0.88, 0.88 + 0.16 + 0.075 + 0.075),
        (Profile::Retail, 0.45, 0.45 + 0.44 + 0.39 + 0.32 + 0.25 + 0.48 + 0.155),
        (Profile::Grocery, 0.0, 10.0),
    ] {
        let mut random = Random::of(9, "test", 0);
        let sizes: Vec<f64> = (0..20_000).map(|_| profile.lines(&mut random) as f64).collect();
        let share = sizes.iter().filter(|size| **size == 1.0).count() as f64 / sizes.len() as f64;
        check("the mean", sizes.iter().sum::<f64>() / sizes.len() as f64, mean, mean * 0.03);
        check("single lines", share, single, 0.02);
        assert!(sizes.iter().all(|size| (1.0..=60.0).contains(size)));
    }
    let mut random = Random::of(10, "test", 0);
    let carts: Vec<Cart> =
        (0..20_000).map(|_| Cart::draw(Profile::Retail, &catalogue, &mut random)).collect();
    let twice = carts.iter().filter(|cart| cart.pieces().len() < cart.lines.len()).count();
    check("the same SKU twice", twice as f64 / carts.len() as f64, 0.02, 0.004);
    let lines: Vec<i64> = carts.iter().flat_map(|cart| &cart.lines).map(|(_, pieces)| *pieces).collect();
    let ones = lines.iter().filter(|pieces| **pieces == 1).count() as f64 / lines.len() as f64;
    check("single pieces", ones, 0.85, 0.01);
    assert!(lines.iter().all(|pieces| (1..=5).contains(pieces)));
}

#[test]
fn arrivals_keep_their_rate_and_customers_their_habits() {
    let plan = plan(11, 1_000, mix());
    let arrivals: Vec<Arrival> = plan.arrivals().collect();
    assert!(arrivals.windows(2).all(|pair| pair[0].at <= pair[1].at), "they come in order");
    let base: Vec<&Arrival> = arrivals.iter().filter(|arrival| !arrival.flash).collect();
    check("carts a second", base.len() as f64 / 300.0, 200.0, 3.0);
    let all = arrivals.len() as f64;
    let share = |is: fn(&Arrival) -> bool| arrivals.iter().filter(|arrival| is(arrival)).count() as f64 / all;
    check("duplicates", share(|arrival| arrival.again.is_some()), 0.05, 0.004);
    check("unpaid", share(|arrival| arrival.fate == Fate::Leaves), 0.12, 0.005);
    check("cancelled", share(|arrival| matches!(arrival.fate, Fate::Cancels(_))), 0.03, 0.003);
    check("refunded", share(|arrival| matches!(arrival.fate, Fate::Refunds(..))), 0.04, 0.003);
    check(
        "shipped",
        share(|arrival| matches!(arrival.fate, Fate::Ships { regrets: false, .. })),
        0.20,
        0.006,
    );
    check(
        "regretted",
        share(|arrival| matches!(arrival.fate, Fate::Ships { regrets: true, .. })),
        0.01,
        0.002,
    );
    assert!(arrivals.iter().all(|arrival| arrival.again.is_none_or(|after| after < DUPLICATE_WITHIN)));
}

#[test]
fn from_half_time_on_the_rate_is_another() {
    let plan = plan(19, 1_000, Mix { step: 1.75, sale: None, ..mix() });
    let (before, after): (Vec<Arrival>, Vec<Arrival>) =
        plan.arrivals().partition(|arrival| arrival.at < Duration::from_secs(150));
    check("carts a second before", before.len() as f64 / 150.0, 200.0, 5.0);
    check("carts a second after", after.len() as f64 / 150.0, 350.0, 6.0);
}

#[test]
fn customers_look_at_as_much_as_they_are_told_to() {
    let plan = plan(23, 1_000, Mix { reads: 20, quotes: 3, ..mix() });
    for index in 0..1_000 {
        let looks = plan.looks(index);
        assert_eq!(looks, plan.looks(index), "the same cart's customer looks at the same");
        let (reads, quotes): (Vec<Look>, Vec<Look>) =
            looks.into_iter().partition(|look| matches!(look, Look::Read(..)));
        assert_eq!((reads.len(), quotes.len()), (20, 3));
    }
}

#[test]
fn all_of_an_order_is_shipped_in_one_parcel_or_two() {
    let plan = plan(29, 1_000, Mix { ships: 100.0, unpaid: 0.0, cancels: 0.0, refunds: 0.0, ..mix() });
    let mut kinds: BTreeMap<usize, usize> = BTreeMap::new();
    for arrival in plan.arrivals().take(5_000) {
        let Fate::Ships { parts, .. } = &arrival.fate else { panic!("everything is shipped") };
        *kinds.entry(parts.len()).or_default() += 1;
        let mut sent: BTreeMap<i64, i64> = BTreeMap::new();
        parts.iter().flatten().for_each(|(sku, pieces)| *sent.entry(*sku).or_default() += pieces);
        assert_eq!(sent, arrival.cart.pieces());
        assert!(parts.iter().flatten().all(|(_, pieces)| *pieces > 0), "{arrival:?}");
    }
    assert_eq!(kinds.keys().copied().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_flash_sale_decays() {
    let plan = plan(13, 1_000, mix());
    let flash: Vec<Arrival> = plan.arrivals().filter(|arrival| arrival.flash).collect();
    check("carts in all", flash.len() as f64, 500.0 * FLASH_DECAY_S, 400.0);
    let until = |secs: f64| {
        let end = Duration::from_secs_f64(100.0 + secs);
        flash.iter().filter(|arrival| arrival.at < end).count() as f64 / flash.len() as f64
    };
    check("within 20 s", until(20.0), 1.0 - (-1.0_f64).exp(), 0.02);
    check("within 60 s", until(60.0), 1.0 - (-3.0_f64).exp(), 0.02);
    let skus: Vec<i64> = plan.catalogue.flash().collect();
    assert!(
        flash.iter().all(|arrival| arrival.cart.lines.len() == 1 && skus.contains(&arrival.cart.lines[0].0))
    );
    let mut wanted: BTreeMap<u32, i64> = BTreeMap::new();
    flash.iter().for_each(|arrival| *wanted.entry(arrival.customer).or_default() += arrival.cart.lines[0].1);
    let greedy = wanted.values().filter(|pieces| **pieces > 2).count() as f64 / wanted.len() as f64;
    assert!((0.1..0.6).contains(&greedy), "some customers want more than their share: {greedy}");
}

#[test]
fn no_refund_is_more_than_was_bought() {
    let plan = plan(17, 1_000, Mix { refunds: 100.0, unpaid: 0.0, cancels: 0.0, ..mix() });
    let mut kinds: BTreeMap<usize, usize> = BTreeMap::new();
    for arrival in plan.arrivals().take(5_000) {
        let Fate::Refunds(_, parts) = &arrival.fate else { panic!("everyone wants money back") };
        *kinds.entry(parts.len()).or_default() += 1;
        let mut left = arrival.cart.pieces();
        for (sku, pieces) in parts.iter().flatten() {
            *left.get_mut(sku).expect("it was bought") -= pieces;
        }
        assert!(left.values().all(|pieces| *pieces >= 0), "{arrival:?}");
        assert!(parts.iter().all(|part| !part.is_empty() && part.iter().all(|(_, pieces)| *pieces > 0)));
    }
    assert_eq!(kinds.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
}
