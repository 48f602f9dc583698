//! Which crate may know which: `saga <- wire <- sdk, client, server, cli`, `saga <- store <- server`,
//! `sdk <- inventory, order, payment, product`, everything `<- cli, tests`. Nothing points the other way.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{list, members, none, text};

/// The pure core, the wire, and what a participant links.
const PARTICIPANT: &[&str] = &["amends-saga", "amends-wire", "amends-sdk"];

/// Every library of the project.
const LIBRARIES: &[&str] = &[
    "amends-saga",
    "amends-wire",
    "amends-store",
    "amends-server",
    "amends-client",
    "amends-sdk",
    "amends-inventory",
    "amends-order",
    "amends-payment",
    "amends-product",
];

/// Each crate, and which of the others it may depend on, in its tests too.
const MAY_KNOW: [(&str, &[&str]); 13] = [
    ("amends-saga", &[]),
    ("amends-wire", &["amends-saga"]),
    ("amends-store", &["amends-saga"]),
    ("amends-server", &["amends-saga", "amends-wire", "amends-store"]),
    ("amends-client", &["amends-wire"]),
    ("amends-sdk", &["amends-saga", "amends-wire"]),
    ("amends-inventory", PARTICIPANT),
    ("amends-order", PARTICIPANT),
    ("amends-payment", PARTICIPANT),
    ("amends-product", PARTICIPANT),
    ("amends", LIBRARIES),
    ("amends-tests", LIBRARIES),
    ("xtask", &[]),
];

/// All that the pure core is built from, with the features that it may ask for: values, their text form, and ids that
/// are given to it. A runtime, a clock, randomness or HTTP cannot come in by a feature either.
const CORE: [(&str, &[&str]); 3] =
    [("serde", &["derive", "rc"]), ("serde_json", &["raw_value", "float_roundtrip"]), ("uuid", &["serde"])];

/// A crate's dependencies on its neighbours, itself left out.
fn neighbours(package: &serde_json::Value) -> BTreeSet<&str> {
    let own = text(package, "name");
    list(package, "dependencies")
        .iter()
        .filter(|dependency| dependency["path"].is_string())
        .map(|dependency| text(dependency, "name"))
        .filter(|name| *name != own)
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    let rules: BTreeMap<&str, &[&str]> = MAY_KNOW.into_iter().collect();
    let mut complaints = Vec::new();
    for package in members() {
        let name = text(package, "name");
        let Some(allowed) = rules.get(name) else {
            complaints.push(format!("{name} is new: say in MAY_KNOW what it may depend on"));
            continue;
        };
        for neighbour in neighbours(package).into_iter().filter(|neighbour| !allowed.contains(neighbour)) {
            complaints.push(format!("{name} depends on {neighbour}"));
        }
    }
    none("a crate knows what it must not", &complaints);
    assert_eq!(rules.len(), members().len(), "a crate of MAY_KNOW is gone");
}

#[test]
fn the_core_depends_on_values_alone() {
    let saga =
        members().iter().find(|package| text(package, "name") == "amends-saga").expect("there is a core");
    let mut found: Vec<(&str, Vec<&str>)> = list(saga, "dependencies")
        .iter()
        .filter(|dependency| dependency["kind"].is_null())
        .map(|dependency| {
            let features =
                list(dependency, "features").iter().filter_map(serde_json::Value::as_str).collect();
            (text(dependency, "name"), features)
        })
        .collect();
    found.sort_unstable();
    assert_eq!(found.iter().map(|(name, _)| *name).collect::<Vec<_>>(), CORE.map(|(name, _)| name));
    for ((name, features), (_, allowed)) in found.into_iter().zip(CORE) {
        let excess: Vec<&str> = features.into_iter().filter(|feature| !allowed.contains(feature)).collect();
        assert!(excess.is_empty(), "amends-saga asks {name} for {excess:?}; it may ask for {allowed:?}");
    }
}
