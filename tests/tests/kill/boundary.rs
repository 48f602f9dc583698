//! Killed at every boundary of a journal: one saga at a time, whose coordinator dies by SIGKILL before or after its
//! first commit, its second, and so on to its last; the next process goes on, and the books are as if nothing had been.
//!
//! Where [`super::language`] meets most moments by chance and under load, this meets every one, of everything that the
//! language has.

use crate::{
    check::Books,
    dying::{Moment, Side},
    language::{ask, balance, prepare},
    load::{Seen, client},
    one_at_a_time, process,
    process::{Process, Sides},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// What happens to one saga, from its beginning to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Story {
    /// Conditions, a list, a child, a wait, a pivot and a step after it.
    Completes,
    /// The pivot is refused.
    IsRefused,
    /// The child is refused.
    IsRefusedInItsChild,
    /// It completes and is sent back.
    IsSentBack,
    /// An open saga that is committed.
    IsCommitted,
    /// An open saga that is rolled back.
    IsRolledBack,
    /// An open saga that nobody decides.
    TimesOut,
    /// A wait that a signal ends.
    IsSignalled,
    /// A call that is pending, and answered by a callback.
    IsCalledBack,
}

const STORIES: [Story; 9] = [
    Story::Completes,
    Story::IsRefused,
    Story::IsRefusedInItsChild,
    Story::IsSentBack,
    Story::IsCommitted,
    Story::IsRolledBack,
    Story::TimesOut,
    Story::IsSignalled,
    Story::IsCalledBack,
];

/// A saga has fewer commits than this, or something goes round in circles.
const COMMITS_MAX: u64 = 60;

/// How long one story may take, with its coordinator dying once.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn every_story_survives_a_kill_at_every_boundary_of_its_journal() {
    let _one = one_at_a_time();
    process::install_tls();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let begin = Instant::now();
        let folder = tempfile::tempdir().expect("a folder");
        let sides = Sides::in_folder(folder.path(), 1);
        let mut coordinator = Process::start(&sides.coordinators[0]).await;
        let participant = Process::start(&sides.participant).await;
        prepare(&sides).await;
        let (mut deaths, mut told) = (BTreeMap::new(), BTreeMap::new());
        for story in STORIES {
            for side in [Side::Before, Side::After] {
                let count = every_boundary(&mut coordinator, &sides, story, side, &mut told).await;
                deaths.insert(format!("{story:?}, {side:?}"), count);
            }
        }
        coordinator.until_it_listens().await;
        let books = Books::read(&sides).await;
        drop((coordinator, participant));
        balance(&books, &[Seen::default()], &told);
        println!("{:.1} s, deaths: {deaths:#?}", begin.elapsed().as_secs_f64());
        assert!(deaths.values().all(|count| *count >= 2), "too few boundaries were met: {deaths:?}");
    });
}

/// Runs a story again and again, with its coordinator dying one commit later each time, until it does not die any
/// more; says how often it did.
async fn every_boundary(
    coordinator: &mut Process,
    sides: &Sides,
    story: Story,
    side: Side,
    told: &mut BTreeMap<String, bool>,
) -> u64 {
    for commit in 1..COMMITS_MAX {
        coordinator.kill();
        let moment = Moment { side, commit };
        coordinator.restart_to_die(moment);
        coordinator.until_it_listens().await;
        let telling = tokio::spawn(tell(sides.coordinators[0].url(), story, format!("{story:?} {moment}")));
        let (begin, mut has_died) = (Instant::now(), false);
        while !telling.is_finished() {
            if !has_died && coordinator.has_died() {
                has_died = true;
                coordinator.restart();
            }
            assert!(begin.elapsed() < PATIENCE, "{story:?} with a kill {moment} does not end");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        told.extend(telling.await.expect("the story is told to its end"));
        if !has_died && !coordinator.has_died() {
            return commit - 1;
        }
        if !has_died {
            // It died after the last word of the story, in a commit nobody waited for.
            coordinator.restart();
        }
        coordinator.until_it_listens().await;
    }
    panic!("{story:?} has more than {COMMITS_MAX} commits");
}

/// Tells one story under a key of its own; returns of an open saga whether it was committed.
async fn tell(url: String, story: Story, key: String) -> Option<(String, bool)> {
    let teller = Teller { url, key };
    let list = |refuse: bool, refuse_part: bool| json!({ "never": false, "list": [1, 2], "refuse": refuse, "refuse_part": refuse_part });
    match story {
        Story::Completes => teller.starts("whole", list(false, false), "completed").await,
        Story::IsRefused => teller.starts("whole", list(true, false), "compensated").await,
        Story::IsRefusedInItsChild => teller.starts("whole", list(false, true), "compensated").await,
        Story::IsCalledBack => teller.starts("later", json!({}), "completed").await,
        Story::IsSentBack => {
            let id = teller.starts("returned", list(false, false), "completed").await;
            teller.says(&id, "revert", json!({ "reason": "sent back" })).await;
            teller.ends(&id, "compensated").await;
            id
        }
        Story::IsSignalled => {
            let id = teller.begins("signalled", json!({})).await;
            teller.says(&id, "signals/go", json!({ "id": "one", "payload": {} })).await;
            teller.ends(&id, "completed").await;
            id
        }
        Story::IsCommitted | Story::IsRolledBack | Story::TimesOut => return Some(teller.opens(story).await),
    };
    None
}

/// Who starts a saga and asks for it.
struct Teller {
    url: String,
    key: String,
}

impl Teller {
    async fn begins(&self, definition: &str, input: Value) -> String {
        let body = json!({ "definition": definition, "input": input, "key": self.key });
        let saga = ask(&client(), &format!("{}/v1/sagas", self.url), &body).await;
        saga["id"].as_str().expect("an id").to_owned()
    }

    async fn starts(&self, definition: &str, input: Value, end: &str) -> String {
        let id = self.begins(definition, input).await;
        self.ends(&id, end).await;
        id
    }

    async fn says(&self, id: &str, verb: &str, body: Value) {
        ask(&client(), &format!("{}/v1/sagas/{id}/{verb}", self.url), &body).await;
    }

    /// Waits for a saga's end.
    async fn ends(&self, id: &str, status: &str) {
        let (http, url) = (client(), format!("{}/v1/sagas/{id}?wait=1s", self.url));
        loop {
            if let Ok(answer) = http.get(&url).send().await
                && let Ok(saga) = answer.json::<Value>().await
                && saga["status"] == status
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// An open saga of two branches.
    async fn opens(&self, story: Story) -> (String, bool) {
        let timeout = if story == Story::TimesOut { "1s" } else { "60s" };
        let begin = json!({ "timeout": timeout, "key": self.key });
        let saga = ask(&client(), &format!("{}/v1/sagas/open", self.url), &begin).await;
        let id = saga["id"].as_str().expect("an id").to_owned();
        if story == Story::TimesOut {
            self.ends(&id, "compensated").await;
            return (id, false);
        }
        for name in ["one", "two"] {
            let branch = json!({
                "name": name, "compensation": "ledger.revert", "confirm": "ledger.apply", "with": { "refuse": false },
            });
            self.says(&id, "branches", branch).await;
        }
        let commits = story == Story::IsCommitted;
        self.says(&id, if commits { "commit" } else { "rollback" }, json!({})).await;
        self.ends(&id, if commits { "completed" } else { "compensated" }).await;
        (id, commits)
    }
}
