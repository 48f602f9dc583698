//! Where amounts end, and what is a currency.

use super::*;

#[test]
fn an_amount_ends_where_json_readers_lose_exactness() {
    let minor = |value| Minor::new(value);
    assert_eq!(minor(-1), None);
    assert_eq!(minor(MINOR_MAX + 1), None);
    let most = minor(MINOR_MAX).expect("the largest");
    let one = minor(1).expect("one");
    assert_eq!(most.plus(one), None);
    assert_eq!(most.minus(most), minor(0));
    assert_eq!(one.minus(most), None);
    assert_eq!(one.times(MINOR_MAX), Some(most));
    assert_eq!(most.times(2), None);
    assert_eq!(most.times(i64::MAX), None, "an overflow of the machine's numbers is caught too");
    assert_eq!(minor(0).and_then(|zero| zero.times(i64::MAX)), minor(0));
}

#[test]
fn a_currency_is_three_upper_case_letters() {
    for good in ["EUR", "USD", "JPY", "XXX"] {
        assert_eq!(good.parse::<Currency>().map(|currency| currency.to_string()).as_deref(), Ok(good));
    }
    for bad in ["", "EU", "EURO", "eur", "E1R", "€UR", "\u{20ac}"] {
        assert_eq!(bad.parse::<Currency>(), Err(NotACurrency), "{bad:?}");
    }
}
