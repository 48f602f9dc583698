//! Real orders, from the file to the books: how lines are read, that a replay may be run again, and that a process
//! killed in the middle leaves no trace in what the shop has to show.

use amends::{
    client::Client,
    process,
    replay::read::{self, Event, Sku, price},
};
use serde_json::Value;
use std::{
    fmt::Write,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const HEADING: &str = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a file says, one line for every cart, cancellation and reject.
fn told(bytes: &[u8]) -> String {
    let orders = read::bytes_of(bytes).expect("a file of orders");
    let mut text = String::new();
    for event in &orders.events {
        let (kind, invoice, lines): (_, _, Vec<String>) = match event {
            Event::Cart(cart) => {
                let customer = cart.customer.as_deref().unwrap_or("guest");
                let line =
                    |line: &read::Line| format!("{}x{}@{}", line.qty, line.sku.code(), line.price_minor);
                (format!("cart of {customer}"), &cart.invoice, cart.lines.iter().map(line).collect())
            }
            Event::Return(back) => {
                let line = |(sku, qty): &(Sku, i64)| format!("{qty}x{}", sku.code());
                ("return".to_owned(), &back.invoice, back.lines.iter().map(line).collect())
            }
        };
        let _ = writeln!(text, "{kind} {invoice}: {}", lines.join(" "));
    }
    for reject in &orders.rejects {
        let _ = writeln!(text, "line {}: {}", reject.line, reject.reason);
    }
    text
}

#[test]
fn every_line_ends_in_an_invoice_or_among_the_rejects() {
    for (what, lines, expected) in [
        ("one line", "1,61010A,FRAME,6,,2.55,17,UK", "cart of 17 1: 6x61010A@255"),
        ("a guest", "1,61010,FRAME,6,,2.5,,UK", "cart of guest 1: 6x61010@250"),
        ("a customer of a spreadsheet", "1,61010,FRAME,6,,2,17.0,UK", "cart of 17 1: 6x61010@200"),
        ("codes in either case", "1,61010a,F,1,,2,1,\n1,61010A ,F,2,,2.00,1,", "cart of 1 1: 3x61010A@200"),
        (
            "codes are ordered by number",
            "1,61011,F,1,,2,1,\n1,61010,F,2,,3,1,",
            "cart of 1 1: 2x61010@300 1x61011@200",
        ),
        (
            "invoices in pieces",
            "1,61010,F,1,,2,,\n2,61010,F,1,,2,,\n1,61011,F,1,,2,7,",
            "cart of 7 1: 1x61010@200 1x61011@200\ncart of guest 2: 1x61010@200",
        ),
        ("a cancellation", "C1,61010,F,-2,,2,,\nC1,61010,F,-3,,2.5,,", "return C1: 5x61010"),
        ("a cancellation in lower case", "c1,61010,F,-2,,0,,", "return C1: 2x61010"),
        ("a cancellation that takes", "C1,61010,F,2,,2,,", "line 2: positive_in_cancellation"),
        ("a gift", "1,61010,F,2,,0,17,", "cart of 17 1: 2x61010@0"),
        ("stock that was found", "1,61010,,56,,0,,", "line 2: stock_correction"),
        ("stock that was written off", "1,61010,damaged,-5,,0,,", "line 2: stock_correction"),
        ("a quantity below zero with a price", "1,61010,F,-5,,2.5,17,", "line 2: stock_correction"),
        ("nothing of it", "1,61010,F,0,,2.5,17,", "line 2: bad_quantity"),
        ("a part of it", "1,61010,F,1.5,,2.5,17,", "line 2: bad_quantity"),
        ("more than a number holds", "1,61010,F,9223372036854775808,,1,17,", "line 2: bad_quantity"),
        ("no quantity", "1,61010,F,,,2.5,17,", "line 2: bad_quantity"),
        (
            "carriage",
            "1,POST,P,1,,18,17,\n1,C2,C,1,,50,17,\n1,dot,D,1,,5,,",
            "line 2: postage\nline 3: postage\nline 4: postage",
        ),
        (
            "by hand",
            "1,M,Manual,1,,18,17,\nC1,D,Discount,-1,,5,17,",
            "line 2: manual_entry\nline 3: discount",
        ),
        ("fees", "1,BANK CHARGES,B,1,,15,,\nC1,AMAZONFEE,A,-1,,1,,", "line 2: fee\nline 3: fee"),
        (
            "samples and vouchers",
            "C1,S,S,-1,,1,,\n1,gift_0001_20,G,1,,20,,",
            "line 2: samples\nline 3: gift_voucher",
        ),
        (
            "no code",
            "1,,F,1,,2,17,\n1,F-1,F,1,,2,17,\n1,12345678901,F,1,,2,17,",
            "line 2: unknown_code\nline 3: unknown_code\nline 4: unknown_code",
        ),
        ("letters of other alphabets", "1,6101\u{e9}0,F,1,,2,17,", "line 2: unknown_code"),
        ("a bad debt", "A1,B,Adjust,1,,-11062.06,,", "line 2: bad_invoice"),
        ("no invoice", ",61010,F,1,,2,17,\nC,61010,F,-1,,2,17,", "line 2: bad_invoice\nline 3: bad_invoice"),
        (
            "a price that is none",
            "1,61010,F,1,,free,17,\n1,61010,F,1,,2.555,17,",
            "line 2: bad_price\nline 3: bad_price",
        ),
        (
            "another price",
            "1,61010,F,1,,2,,\n1,61010,F,3,,2.5,,",
            "cart of guest 1: 1x61010@200\nline 3: price_differs",
        ),
        (
            "a short row",
            "1,61010,F\n2,61010,F,1,,2,,",
            "cart of guest 2: 1x61010@200\nline 2: unreadable_row",
        ),
        (
            "a name over two lines",
            "1,61010,\"A\nB\",1,,2,,\n1,M,M,1,,2,,",
            "cart of guest 1: 1x61010@200\nline 4: manual_entry",
        ),
        (
            "too many of one",
            "1,61010,F,1000000,,0.01,1,\n2,61010,F,600000,,0.01,1,\n2,61010,F,400001,,0.01,1,",
            "cart of 1 1: 1000000x61010@1\nline 3: quantity_too_large\nline 4: quantity_too_large",
        ),
        ("too much money", "1,61010,F,1000000,,90071992.55,1,", "line 2: amount_too_large"),
    ] {
        assert_eq!(told(format!("{HEADING}{lines}\n").as_bytes()).trim_end(), expected, "{what}");
    }
}

#[test]
fn an_invoice_of_a_thousand_lines_is_a_cart_and_one_of_more_is_none() {
    let file = |lines: u32| -> String {
        (0..lines).fold(HEADING.to_owned(), |text, line| format!("{text}1,{},F,1,,1,,\n", 10_000 + line))
    };
    let good = read::bytes_of(file(1000).as_bytes()).expect("a file");
    assert_eq!((good.events.len(), good.rejects.len()), (1, 0));
    let bad = read::bytes_of(file(1001).as_bytes()).expect("a file");
    assert_eq!((bad.events.len(), bad.rejects.len(), bad.goods.len()), (0, 1001, 0));
    assert_eq!(bad.rejects[1000].line, 1002);
}

#[test]
fn encodings_line_ends_and_headings_of_both_editions_are_read() {
    let row = b"1,61010,F,1,,2,17,\r\n";
    for (what, heading) in [
        ("the first edition", &b"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\r\n"[..]),
        ("the second edition", b"Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country\r\n"),
        ("with a byte order mark", b"\xef\xbb\xbfInvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\r\n"),
    ] {
        assert_eq!(told(&[heading, row].concat()), "cart of 17 1: 1x61010@200\n", "{what}");
    }
    let pound = [HEADING.as_bytes(), b"1,61010,BOX \xa35,1,,2,17,\n"].concat();
    let names: Vec<String> =
        read::bytes_of(&pound).expect("Latin-1").goods.into_values().map(|of| of.name).collect();
    assert_eq!(names, ["BOX \u{a3}5"]);
    let error = read::bytes_of(b"InvoiceNo,Quantity\n").expect_err("columns are missing");
    assert!(error.to_string().contains("no column stockcode"), "{error}");
    assert!(read::bytes_of(b"").is_err(), "there is no heading");
}

#[test]
fn prices_become_minor_units_exactly_or_not_at_all() {
    for (text, expected) in [
        ("2.55", Ok(255)),
        ("2.5", Ok(250)),
        ("2", Ok(200)),
        (" 0.29 ", Ok(29)),
        (".07", Ok(7)),
        ("7.", Ok(700)),
        ("0", Ok(0)),
        ("1.150", Ok(115)),
        ("90071992547409.91", Ok(9_007_199_254_740_991)),
        ("90071992547409.92", Err("is too large")),
        ("99999999999999999999", Err("is too large")),
        ("0.001", Err("has a part of a minor unit")),
        ("-1", Err("is below zero")),
        ("", Err("is no decimal number")),
        (".", Err("is no decimal number")),
        ("1e3", Err("is no decimal number")),
        ("1,50", Err("is no decimal number")),
        ("+1", Err("is no decimal number")),
    ] {
        assert_eq!(price::minor(text), expected, "{text:?}");
    }
}

#[test]
fn a_stock_code_gives_the_same_number_always_and_another_code_another() {
    for (code, number) in [("61010", 70_590_564), ("061010", 2_186_906_724), ("DCGSGIRL", 3_866_980_687_617)]
    {
        let sku = Sku::read(code).expect("an item");
        assert_eq!((sku.get(), sku.code().as_str()), (number, code));
    }
    assert_eq!(Sku::read("84029e"), Sku::read(" 84029E "));
    assert!(Sku::read("ZZZZZZ9999").expect("an item").get() < 1 << 53, "every JSON reader keeps it exactly");
}

/// Runs `amends replay` and returns its exit code and its JSON.
fn replay(args: &[&str]) -> (Option<i32>, Value) {
    let output = start_replay(args).wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout);
    let said = serde_json::from_str(&text);
    (
        output.status.code(),
        said.unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr))),
    )
}

fn start_replay(args: &[&str]) -> Child {
    let mut command = amends();
    command.arg("replay").args(args).arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("amends runs")
}

/// The executable, without whatever the environment says.
fn amends() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amends"));
    command.stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AMENDS_")) {
        command.env_remove(name);
    }
    command
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of plain letters")
}

#[test]
fn the_shipped_example_completes_when_there_is_enough_of_everything() {
    let folder = tempfile::tempdir().expect("a directory");
    let rejects = folder.path().join("rejects.csv");
    let (code, said) = replay(&["--rejects", text(&rejects)]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!((&said["rows"], &said["invoices"], &said["completed"]), (&42.into(), &14.into(), &14.into()));
    assert_eq!((&said["cancellations"], &said["books"]), (&3.into(), &"balanced".into()));
    assert_eq!(said["rejected"]["stock_correction"], 2);
    let left_out: i64 =
        said["rejected"].as_object().expect("reasons").values().filter_map(Value::as_i64).sum();
    let listed = std::fs::read_to_string(&rejects).expect("the rejects");
    assert_eq!(listed.lines().count() as i64, left_out + 1, "a heading and every line");
    assert!(listed.contains("20,700008,61018,price_differs,"), "{listed}");
}

#[test]
fn scarce_stock_refuses_carts_balances_and_goes_the_same_way_one_by_one() {
    let (code, first) = replay(&["--stock", "10", "--concurrency", "1"]);
    assert_eq!(code, Some(0), "{first}");
    assert_eq!(first["books"], "balanced");
    assert!(first["compensated"].as_i64() > Some(0), "{first}");
    assert_eq!(first["compensated_by_reason"]["out_of_stock"], first["compensated"]);
    let (_, second) = replay(&["--stock", "10", "--concurrency", "1", "--run", "another"]);
    assert_eq!(first["ledger"], second["ledger"]);
    let (_, ample) = replay(&[]);
    assert_ne!(first["ledger"], ample["ledger"]);
}

#[test]
fn a_replay_that_is_run_again_does_only_what_is_missing() {
    let folder = tempfile::tempdir().expect("a directory");
    let data = text(folder.path());
    let (_, part) = replay(&["--data", data, "--limit", "5"]);
    assert_eq!(
        (&part["invoices"], &part["cancellations"], &part["books"]),
        (&4.into(), &1.into(), &"balanced".into())
    );
    let (code, whole) = replay(&["--data", data]);
    assert_eq!((code, &whole["completed"]), (Some(0), &14.into()), "{whole}");
    let (code, again) = replay(&["--data", data]);
    assert_eq!((code, &again["ledger"]), (Some(0), &whole["ledger"]), "{again}");
    let (_, elsewhere) = replay(&[]);
    assert_eq!(elsewhere["ledger"], whole["ledger"]);
}

#[test]
fn a_replay_killed_with_its_own_coordinator_and_shop_goes_on_where_it_was() {
    let folder = tempfile::tempdir().expect("a directory");
    let (file, data) = (many_orders(folder.path(), 1500), folder.path().join("data"));
    let args = [text(&file), "--data", text(&data), "--concurrency", "4"];
    let (_, peace) = replay(&[text(&file)]);
    let begun = Instant::now();
    for bytes in [400_000, 800_000] {
        let mut child = start_replay(&args);
        let size = |name: &str| std::fs::metadata(data.join(name)).map_or(0, |file| file.len());
        while size("coordinator.db") + size("coordinator.db-wal") < bytes && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(child.try_wait().expect("a child").is_none(), "carts are still under way");
        child.kill().expect("it is killed");
        child.wait().expect("it is gone");
    }
    let (code, said) = replay(&args);
    assert_eq!((code, &said["ledger"]), (Some(0), &peace["ledger"]), "{said:#}");
}

/// A process that listens, killed when it is dropped.
struct Listening {
    args: Vec<String>,
    url: String,
    child: Child,
}

impl Listening {
    fn start(args: &[&str]) -> Listening {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let (child, url) = Listening::spawn(&args, "127.0.0.1:0");
        Listening { args, url, child }
    }

    fn spawn(args: &[String], listen: &str) -> (Child, String) {
        let mut command = amends();
        command.args(args).args(["--listen", listen, "--log", "error"]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("amends runs");
        let mut line = String::new();
        let out = child.stdout.take().expect("its output");
        BufReader::new(out).read_line(&mut line).expect("its first line");
        let url = line.trim().strip_prefix("listening on ").expect("where it listens").to_owned();
        (child, url)
    }

    /// Kills it (SIGKILL) and, after a while, starts it again where it was.
    fn kill_and_start_again(&mut self, after: Duration) {
        self.kill();
        std::thread::sleep(after);
        let address = self.url.trim_start_matches("http://").to_owned();
        (self.child, self.url) = Listening::spawn(&self.args, &address);
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A file of many small invoices, every tenth a cancellation; the same every time.
fn many_orders(folder: &Path, invoices: u64) -> PathBuf {
    let mut text = HEADING.to_owned();
    for n in 0..invoices {
        let (mark, sign) = if n % 10 == 9 { ("C", "-") } else { ("", "") };
        for line in 0..=n % 4 {
            let (sku, qty) = (10_000 + (n * 7 + line * 13) % 40, 1 + (n + line) % 5);
            let _ = writeln!(
                text,
                "{mark}{},{sku},ITEM {sku},{sign}{qty},,{}.25,{},UK",
                500_000 + n,
                sku % 9,
                n % 50
            );
        }
    }
    let file = folder.join("orders.csv");
    std::fs::write(&file, text).expect("a file");
    file
}

/// Kills `victims` one after the other while carts are under way, and expects the ledger of a run in peace.
fn check_killed(victims: &[usize], down: Duration) {
    let folder = tempfile::tempdir().expect("a directory");
    let at = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let file = many_orders(folder.path(), 1500);
    let (_, peace) = replay(&[text(&file)]);
    let coordinator = Listening::start(&["serve", "--store", &at("coordinator.db")]);
    let url = coordinator.url.clone();
    let mut all = vec![coordinator];
    for name in ["inventory", "order", "product"] {
        all.push(Listening::start(&[
            "participant",
            name,
            "--store",
            &at(&format!("{name}.db")),
            "--coordinator",
            &url,
        ]));
    }
    let mut child = start_replay(&[text(&file), "--coordinator", &url, "--concurrency", "4"]);
    for (round, victim) in (1..).zip(victims) {
        await_sagas(&url, 150 * round);
        assert!(child.try_wait().expect("a child").is_none(), "carts are still under way");
        all[*victim].kill_and_start_again(down);
    }
    let output = child.wait_with_output().expect("it ends");
    let said: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(output.status.code(), Some(0), "{said:#}");
    assert_eq!((&said["completed"], &said["ledger"]), (&peace["completed"], &peace["ledger"]), "{said:#}");
}

/// Waits until the coordinator has so many sagas.
fn await_sagas(url: &str, count: usize) {
    process::install_tls();
    let runtime = process::runtime(1).expect("a runtime");
    let client = Client::new(url.parse().expect("an address"), None).expect("a client");
    let begun = Instant::now();
    let is_there = || runtime.block_on(client.every_saga(&[])).is_ok_and(|sagas| sagas.len() >= count);
    while !is_there() {
        assert!(begun.elapsed() < PATIENCE, "{count} sagas within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_coordinator_killed_in_the_middle_leaves_the_ledger_of_a_run_in_peace() {
    check_killed(&[0, 0], Duration::from_millis(300));
}

#[test]
fn participants_killed_in_the_middle_leave_the_ledger_of_a_run_in_peace() {
    check_killed(&[1, 2], Duration::from_secs(4));
}
