//! The guide, walked from the first item to the last rehearsal: its own commands, in its own order, against a demo.
//!
//! What is changed is what a reader chooses too: the program, the ports and the directory. The live view, which a reader
//! ends with Ctrl-C, ends by itself. The tools that the commands use besides (curl, jq, openssl, python3) are provided
//! by `cargo xtask test`.

use crate::{GUIDE, read};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

/// How long the demo may take until it serves, and the walk until its end. Machines that compile at the same time are slow.
const PATIENCE: Duration = Duration::from_secs(240);

/// Chapters that are typed; the others explain.
const FROM: &str = "## An item of your own";
const TO: &str = "## Every alert, and what to do";

/// How the sagas of the walk end.
const ENDS: [(&str, usize); 2] = [("abandoned", 2), ("compensated", 23)];

/// What a reader sees on the way: each verb's effect, the bulk job's, the open breaker's, and the signature of an example.
const SAID: [&str; 8] = [
    "parked again",
    "by ada: retried",
    "by ada: resolved",
    "10 items are meant; nothing was changed",
    "retry done: 10 of 10 done, 0 failed, 0 skipped",
    "told who was first",
    "\"state\": \"open\"",
    "EoeLKn8JZU9mW7sKDqf6bez9xxdT5rW3pHzJXQeGAlg=",
];

/// A process that is not left behind, nor what it has started.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.0.wait();
    }
}

/// The guide's commands as one script.
fn script(coordinator: &str, directory: &Path, program: &Path, courier: u16) -> String {
    let guide = read(GUIDE);
    let from = guide.find(FROM).expect("the first chapter to be typed");
    let to = guide.find(TO).expect("the chapter after the last");
    let mut lines = vec!["set -euo pipefail".to_owned()];
    let mut inside = false;
    for line in guide[from..to].lines() {
        match line.strip_prefix("```") {
            Some(language) => inside = language == "sh",
            None if inside => lines.push(line.to_owned()),
            None => {}
        }
    }
    let replaced = [
        ("cargo build --release", ":".to_owned()),
        ("cargo run --release -- demo --listen 127.0.0.1:7070", ":".to_owned()),
        ("$PWD/target/release", program.parent().expect("a directory").display().to_string()),
        ("http://127.0.0.1:7070", coordinator.to_owned()),
        ("/tmp/on-call", directory.join("on-call").display().to_string()),
        ("7199", courier.to_string()),
        ("amends repair watch", "timeout 3 amends repair watch".to_owned()),
    ];
    let mut script = lines.join("\n");
    for (shown, here) in replaced {
        assert!(script.contains(shown), "the guide still says {shown}");
        script = script.replace(shown, &here);
    }
    // The status of what was ended by the clock.
    script.replace("watch --participant courier", "watch --participant courier || [ $? = 124 ]")
}

/// Starts the demo, and waits until its carts are through; its address.
fn demo(program: &Path, directory: &Path) -> (Group, String) {
    let mut child = Command::new(program)
        .args(["demo", "--listen", "127.0.0.1:0", "--data"])
        .arg(directory.join("demo"))
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("the demo starts");
    let (says, said) = mpsc::sync_channel(100);
    let output = BufReader::new(child.stdout.take().expect("its output"));
    // To the end: a demo whose output nobody reads any more ends.
    std::thread::spawn(move || output.lines().map_while(Result::ok).for_each(|line| drop(says.send(line))));
    let group = Group(child);
    let mut address = None;
    loop {
        let line = said.recv_timeout(PATIENCE).expect("the demo says that it serves");
        if let Some(url) = line.strip_prefix("listening on ") {
            address = Some(url.to_owned());
        }
        if line.starts_with("Everything goes on serving") {
            return (group, address.expect("its address"));
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its number").port()
}

/// Runs a script to its end, and returns all that it printed.
fn run(script: &str, directory: &Path) -> String {
    let output = directory.join("output");
    let file = std::fs::File::create(&output).expect("a file");
    let child = Command::new("bash")
        .args(["-c", script])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("a second handle"))
        .stderr(file)
        .process_group(0)
        .spawn()
        .expect("bash starts");
    let mut group = Group(child);
    let until = std::time::Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = group.0.try_wait().expect("a status") {
            break status;
        }
        assert!(until > std::time::Instant::now(), "the walk ends:\n{}", text(&output));
        std::thread::sleep(Duration::from_millis(50));
    };
    let said = text(&output);
    assert!(status.success(), "{status}:\n{said}");
    said
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

#[test]
fn the_guide_leads_from_an_item_to_its_end_in_every_way() {
    let program = Path::new(env!("CARGO_BIN_EXE_amends"));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (_demo, coordinator) = demo(program, directory.path());
    let said = run(&script(&coordinator, directory.path(), program, free_port()), directory.path());
    for expected in SAID {
        assert!(said.contains(expected), "\"{expected}\" is missing:\n{said}");
    }
    let list = Command::new(program)
        .args([
            "saga",
            "list",
            "--definition",
            "parcel",
            "--limit",
            "100",
            "--json",
            "--coordinator",
            &coordinator,
        ])
        .output()
        .expect("the list");
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).expect("JSON");
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    for saga in list["items"].as_array().expect("sagas") {
        *ends.entry(saga["status"].as_str().expect("a status")).or_default() += 1;
    }
    assert_eq!(ends, BTreeMap::from(ENDS), "{said}");
}
