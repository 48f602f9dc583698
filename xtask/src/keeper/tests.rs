//! What the keeper remembers.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Duties, Farewell, end, is_alive};

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
    let script = "sleep 60 & echo $!; exec sleep 60";
    let mut shell = Command::new("/bin/sh");
    let mut leader =
        shell.args(["-c", script]).process_group(0).stdout(Stdio::piped()).spawn().expect("there is a shell");
    let mut line = String::new();
    BufReader::new(leader.stdout.take().expect("a pipe")).read_line(&mut line).expect("the child's number");
    let (group, child) = (leader.id(), line.trim().parse().expect("a number"));
    assert!(is_alive(group) && is_alive(child));
    end(group, Farewell::Terminate.signal());
    assert!(!is_alive(group), "the leader has ended when this returns");
    let begun = Instant::now();
    while is_alive(child) {
        assert!(begun.elapsed() < Duration::from_secs(10), "its child was left behind");
        std::thread::sleep(Duration::from_millis(1));
    }
    leader.wait().expect("the leader is reaped");
}
