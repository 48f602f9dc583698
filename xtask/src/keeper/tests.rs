//! What the keeper remembers.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use super::{Duties, Farewell, end, send};

fn check(orders: &[&str], groups: &[(u32, &str)], directories: &[&str]) {
    let mut duties = Duties::default();
    for order in orders {
        duties.take(order);
    }
    let expected = Duties {
        groups: groups.iter().map(|(leader, signal)| (*leader, (*signal).to_owned())).collect(),
        directories: directories.iter().map(PathBuf::from).collect(),
    };
    assert_eq!(duties, expected, "{orders:?}");
}

#[test]
fn orders_are_remembered_until_they_are_taken_back() {
    check(&["watch 7 TERM", "watch 8 QUIT"], &[(7, "TERM"), (8, "QUIT")], &[]);
    check(&["watch 7 TERM", "watch 8 KILL", "forget 7"], &[(8, "KILL")], &[]);
    check(&["remove /tmp/a b"], &[], &["/tmp/a b"]);
}

#[test]
fn half_an_order_is_no_order() {
    check(&["", "wat", "watch", "watch 7", "watch seven TERM", "remove ", "forget"], &[], &[]);
}

#[test]
fn a_group_ends_with_its_children() {
    let mut leader =
        Command::new("/bin/sh").args(["-c", "sleep 60 & wait"]).process_group(0).spawn().expect("a shell");
    let group = leader.id();
    assert!(send(group, "0"), "the group stands");
    let waiter = std::thread::spawn(move || leader.wait());
    end(group, Farewell::Terminate.signal());
    waiter.join().expect("no panic").expect("the shell is reaped");
    assert!(!send(group, "0"), "nobody is left in the group");
}
