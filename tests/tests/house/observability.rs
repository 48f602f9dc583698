//! What tells the people on call: alert rules, dashboard, and how both are wired.
//!
//! The rules are checked, and their tests run, by Prometheus' own `promtool`, of which `cargo xtask test` says where it
//! is. A missing promtool is a failure: rules that nobody has run are a promise that nobody keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::delivery::compose;
use crate::tree::{files, list, none, read, root, text};

/// Where everything of this kind is.
const DIRECTORY: &str = "coordinator/observability";

/// The guide for the people on call.
const GUIDE: &str = "coordinator/OPERATING.md";

/// Where the source files are that export metrics: those whose path speaks of them.
const EXPORTERS: [&str; 2] = ["coordinator/server/src", "participants"];

/// The dashboards: the coordinator's, and that of participants and shop.
const DASHBOARDS: [&str; 2] = ["amends.json", "shop.json"];

/// The two ways in which an alert reaches somebody.
const SEVERITIES: [&str; 2] = ["page", "warn"];

/// What Prometheus makes of a histogram's name.
const HISTOGRAM_PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];

/// What bounds the number of series that an expression yields.
const AGGREGATIONS: [&str; 7] = ["sum", "max", "min", "count", "topk", "histogram_quantile", "sort_desc"];

/// Runs promtool in the directory of the rules and returns what it said.
fn promtool(arguments: &[&str]) -> String {
    let program = std::env::var_os("AMENDS_TEST_PROMTOOL").map_or_else(|| "promtool".into(), PathBuf::from);
    let output = Command::new(&program).args(arguments).current_dir(root().join(DIRECTORY)).output();
    let output = output.unwrap_or_else(|error| {
        panic!(
            "{} cannot be run ({error}): `cargo xtask test` provides it; or name it in AMENDS_TEST_PROMTOOL",
            program.display()
        )
    });
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {}:\n{said}", arguments.join(" "));
    said
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every alert of the rules.
fn alerts() -> Vec<Value> {
    let rules = yaml(&format!("{DIRECTORY}/alerts.yml"));
    let found: Vec<Value> =
        list(&rules, "groups").iter().flat_map(|group| list(group, "rules")).cloned().collect();
    assert!(found.iter().all(|rule| rule["alert"].is_string()), "every rule is an alert");
    found
}

fn dashboard_path(name: &str) -> String {
    format!("{DIRECTORY}/grafana/dashboards/{name}")
}

fn dashboards() -> [Value; 2] {
    DASHBOARDS.map(|name| serde_json::from_str(&read(&dashboard_path(name))).expect("a dashboard is JSON"))
}

/// The panels, rows included, in their order.
fn panels(dashboard: &Value) -> &[Value] {
    list(dashboard, "panels")
}

/// Every query of a dashboard, with the title of its panel.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let of_panel = |panel: &Value| -> Vec<(String, String)> {
        let title = text(panel, "title").to_owned();
        list(panel, "targets").iter().map(|target| (title.clone(), text(target, "expr").to_owned())).collect()
    };
    panels(dashboard).iter().flat_map(of_panel).collect()
}

/// The words of ours in a text: names of metrics.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.split(|letter| !is_letter(letter))
        .filter(|word| word.starts_with("amends_") && *word != "amends_token")
        .map(|word| {
            HISTOGRAM_PARTS.iter().find_map(|part| word.strip_suffix(part)).unwrap_or(word).to_owned()
        })
        .collect()
}

/// What is exported: every name that stands in quotes where metrics are made.
fn exported() -> BTreeSet<String> {
    let makes_metrics =
        |path: &String, from: &str| path[from.len()..].contains("metrics") && !path.ends_with("tests.rs");
    let sources = EXPORTERS
        .iter()
        .flat_map(|from| files(from, "rs").into_iter().filter(move |path| makes_metrics(path, from)));
    let found: BTreeSet<String> = sources
        .flat_map(|path| {
            let source = read(&path);
            source.split('"').skip(1).step_by(2).flat_map(metrics_in).collect::<Vec<_>>()
        })
        .collect();
    assert!(found.len() > 10, "metrics were found in the sources");
    found
}

/// The anchors of a Markdown text's headings, as they are made for links: lower case, without signs, hyphens for spaces.
fn anchors(markdown: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut found = BTreeSet::new();
    for line in markdown.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if let (false, Some(heading)) = (fenced, line.strip_prefix('#')) {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
            found.insert(kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect());
        }
    }
    found
}

#[test]
fn promtool_finds_nothing_wrong_with_rules_and_configuration() {
    promtool(&["check", "rules", "alerts.yml"]);
    promtool(&["check", "config", "--syntax-only", "prometheus.yml"]);
}

#[test]
fn alerts_fire_where_they_should_and_nowhere_else() {
    promtool(&["test", "rules", "alerts_test.yml"]);
}

#[test]
fn every_alert_is_tested_firing_and_silent() {
    let tests = yaml(&format!("{DIRECTORY}/alerts_test.yml"));
    let mut expected: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    for case in list(&tests, "tests").iter().flat_map(|test| list(test, "alert_rule_test")) {
        let (fires, is_silent) = expected.entry(text(case, "alertname").to_owned()).or_default();
        *fires |= !list(case, "exp_alerts").is_empty();
        *is_silent |= list(case, "exp_alerts").is_empty();
    }
    let complaints: Vec<String> = alerts()
        .iter()
        .map(|alert| text(alert, "alert").to_owned())
        .filter(|name| expected.get(name) != Some(&(true, true)))
        .map(|name| format!("alerts_test.yml does not see {name} both firing and silent"))
        .collect();
    none("an alert of which nobody knows when it fires", &complaints);
}

#[test]
fn every_alert_says_what_it_means_and_where_help_is() {
    let guide = anchors(&read(GUIDE));
    let mut complaints = Vec::new();
    let mut names = BTreeSet::new();
    for alert in alerts() {
        let name = text(&alert, "alert").to_owned();
        let notes = &alert["annotations"];
        for member in ["summary", "description"] {
            if text(notes, member).is_empty() {
                complaints.push(format!("{name} has no {member}"));
            }
        }
        if !SEVERITIES.contains(&text(&alert["labels"], "severity")) {
            complaints.push(format!("{name} has no severity of {SEVERITIES:?}"));
        }
        match text(notes, "runbook").split_once('#') {
            Some((GUIDE, anchor)) if guide.contains(anchor) && anchor == name.to_lowercase() => {}
            _ => complaints.push(format!("{name}: \"{}\" is no place of the guide", text(notes, "runbook"))),
        }
        if !names.insert(name.to_lowercase()) {
            complaints.push(format!("{name} is there twice"));
        }
    }
    let orphans = guide.iter().filter(|anchor| anchor.starts_with("amends") && !names.contains(*anchor));
    complaints.extend(orphans.map(|anchor| format!("{GUIDE}#{anchor} explains an alert that is not there")));
    none("an alert that leaves people alone", &complaints);
}

#[test]
fn every_alert_has_a_reason_above_it() {
    let source = read(&format!("{DIRECTORY}/alerts.yml"));
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let complaints: Vec<String> = (1..lines.len())
        .filter(|at| lines[*at].starts_with("- alert:") && !lines[*at - 1].starts_with('#'))
        .map(|at| format!("{} stands there without a comment", lines[at]))
        .collect();
    none("a threshold without its reason", &complaints);
}

#[test]
fn rules_dashboard_and_guide_name_only_metrics_that_exist() {
    let exported = exported();
    let mut complaints = Vec::new();
    let rules = ["alerts.yml", "alerts_test.yml"].map(|name| format!("{DIRECTORY}/{name}"));
    let paths = rules.into_iter().chain(DASHBOARDS.map(dashboard_path)).chain([GUIDE.to_owned()]);
    for path in paths {
        let named = metrics_in(&read(&path)).into_iter();
        let unknown = named.filter(|name| !exported.contains(name));
        complaints.extend(unknown.map(|name| format!("{path}: {name}")));
    }
    none("a metric that nobody exports", &complaints);
}

#[test]
fn everything_exported_is_shown() {
    let shown: BTreeSet<String> =
        dashboards().iter().flat_map(queries).flat_map(|(_, query)| metrics_in(&query)).collect();
    let complaints: Vec<String> = exported().into_iter().filter(|name| !shown.contains(name)).collect();
    none("a metric that no panel of a dashboard shows", &complaints);
}

#[test]
fn the_dashboards_ask_the_chosen_source_and_never_without_bound() {
    dashboards().iter().for_each(asks_the_chosen_source);
}

fn asks_the_chosen_source(dashboard: &Value) {
    let mut complaints = Vec::new();
    for panel in panels(dashboard).iter().filter(|panel| text(panel, "type") != "row") {
        let title = text(panel, "title");
        let sources = list(panel, "targets").iter().map(|target| &target["datasource"]);
        if sources.chain([&panel["datasource"]]).any(|source| text(source, "uid") != "${datasource}") {
            complaints.push(format!("{title} asks a data source of its own"));
        }
        if text(panel, "description").is_empty() || title.is_empty() {
            complaints.push(format!("\"{title}\" does not say what it shows"));
        }
        if list(panel, "targets").is_empty() {
            complaints.push(format!("{title} asks nothing"));
        }
    }
    for (title, query) in queries(dashboard) {
        let words: Vec<&str> =
            query.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').collect();
        if !words.iter().any(|word| AGGREGATIONS.contains(word)) {
            complaints.push(format!("{title} shows every series there is: {query}"));
        }
        if !query.contains("$job") && !query.contains("ALERTS") {
            complaints.push(format!("{title} mixes installations: {query}"));
        }
    }
    none("a panel that is not as the others", &complaints);
    assert!(dashboard["schemaVersion"].as_u64() >= Some(41), "the dashboard is of the current format");
    let variables = list(&dashboard["templating"], "list");
    assert_eq!(text(&variables[0], "name"), "datasource");
    assert_eq!(text(&variables[0], "type"), "datasource");
}

#[test]
fn panels_have_a_place_of_their_own() {
    dashboards().iter().for_each(each_panel_has_its_place);
}

fn each_panel_has_its_place(dashboard: &Value) {
    let mut taken: BTreeMap<(u64, u64), &str> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    let mut complaints = Vec::new();
    for panel in panels(dashboard) {
        let title = text(panel, "title");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect("a place"));
        assert!(x + w <= 24, "{title} is within the grid");
        if !ids.insert(panel["id"].as_u64()) {
            complaints.push(format!("{title} has another panel's id"));
        }
        for cell in (x..x + w).flat_map(|column| (y..y + h).map(move |line| (column, line))) {
            if let Some(other) = taken.insert(cell, title) {
                complaints.push(format!("{title} lies over {other}"));
                break;
            }
        }
    }
    none("panels in each other's place", &complaints);
}

#[test]
fn promtool_can_read_every_query_of_the_dashboards() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let rules: Vec<Value> = dashboards()
        .iter()
        .flat_map(queries)
        .enumerate()
        .map(|(number, (title, query))| {
            let query = query.replace("$__rate_interval", "1m");
            assert!(!query.replace("$job", "").replace("$participant", "").contains('$'), "{title}: {query}");
            serde_json::json!({ "record": format!("query:{number}"), "expr": query })
        })
        .collect();
    let count = rules.len();
    let file = directory.path().join("queries.yml");
    let groups = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    std::fs::write(&file, groups.to_string()).expect("a file");
    let said = promtool(&["check", "rules", "--lint=none", &file.display().to_string()]);
    assert!(said.contains(&format!("{count} rules found")), "{said}");
}

#[test]
fn prometheus_and_grafana_find_what_is_here() {
    let compose = compose();
    let services = &compose["services"];
    let mut complaints = Vec::new();
    for name in ["prometheus", "grafana"] {
        let image = text(&services[name], "image");
        if !image.split_once(':').is_some_and(|(_, tag)| tag.contains('.') && tag != "latest") {
            complaints.push(format!("{name} is not of one version: {image}"));
        }
        for mount in list(&services[name], "volumes").iter().filter_map(Value::as_str) {
            let source = mount.split(':').next().unwrap_or_default();
            if let Some(path) = source.strip_prefix("./")
                && (!root().join(path).exists() || !mount.ends_with(":ro"))
            {
                complaints.push(format!("{name} mounts {mount}"));
            }
        }
    }
    none("what docker-compose.yml wires is not there", &complaints);

    let prometheus = yaml(&format!("{DIRECTORY}/prometheus.yml"));
    let job = &list(&prometheus, "scrape_configs")[0];
    assert_eq!(text(job, "job_name"), "amends", "the job that the rules ask for");
    let target = list(&list(job, "static_configs")[0], "targets")[0].as_str().expect("a target");
    let (host, port) = target.split_once(':').expect("host and port");
    let listens = format!("--listen=0.0.0.0:{port}");
    assert!(list(&services[host], "command").iter().any(|word| *word == listens), "{target} listens");
    let token = text(&job["authorization"], "credentials_file");
    let entry = list(&services["prometheus"], "entrypoint").iter().filter_map(Value::as_str);
    assert!(entry.into_iter().any(|line| line.contains(&format!("> {token};"))), "{token} is written");
    let source = yaml(&format!("{DIRECTORY}/grafana/provisioning/datasources/prometheus.yml"));
    assert_eq!(text(&list(&source, "datasources")[0], "url"), "http://prometheus:9090");
    let provider = yaml(&format!("{DIRECTORY}/grafana/provisioning/dashboards/amends.yml"));
    let path = text(&list(&provider, "providers")[0]["options"], "path").to_owned();
    let mounts = list(&services["grafana"], "volumes").iter().filter_map(Value::as_str);
    assert!(mounts.into_iter().any(|mount| mount.contains(&format!(":{path}:"))), "{path} is mounted");
}

#[test]
fn names_and_anchors_are_read() {
    assert_eq!(
        metrics_in("rate(amends_call_seconds_bucket[5m]) / amends_up, my_amends_x"),
        BTreeSet::from(["amends_call_seconds".to_owned(), "amends_up".to_owned()])
    );
    let text = "# A `b`-c, d\n```\n# no\n```\n### AmendsX\n";
    assert_eq!(anchors(text), BTreeSet::from(["a-b-c-d".to_owned(), "amendsx".to_owned()]));
}
