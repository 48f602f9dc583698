//! Where inputs begin: the definitions that come along, and the faulty ones of the reader's own tests.

use crate::{bomb, dice::Dice, mutate};
use amends_wire::definition::Text;
use serde_json::Value;
use std::{fs, path::Path};

pub(crate) struct Corpus {
    /// As they are written.
    pub(crate) texts: Vec<String>,
    /// The sound ones, as JSON.
    pub(crate) trees: Vec<Value>,
}

impl Corpus {
    pub(crate) fn load() -> Corpus {
        let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut texts = files(&crate_dir.join("../../sagas"), "yaml");
        assert!(texts.len() > 5, "the definitions that come along are not where they were");
        let faulty = files(&crate_dir.join("src/definition/tests/faulty"), "txt");
        assert!(faulty.len() > 5, "the faulty definitions are not where they were");
        for file in faulty {
            let (head, cases) = file.split_once("####\n").unwrap_or(("", &file));
            let sources = cases.split_terminator("====\n").filter_map(|case| case.split_once("----\n"));
            texts.extend(sources.map(|(source, _)| format!("{head}{source}")));
        }
        let trees = texts.iter().filter_map(|text| Some(Text::read(text).ok()?.to_json().clone())).collect();
        Corpus { texts, trees }
    }

    /// Makes one input.
    pub(crate) fn text(&self, dice: &mut Dice) -> String {
        match dice.below(10) {
            0 => bomb::text(dice),
            1..=3 => mutate::bytes(self, dice),
            4 | 5 => mutate::lines(self, dice),
            _ => mutate::tree(self, dice),
        }
    }
}

fn files(dir: &Path, ending: &str) -> Vec<String> {
    let mut paths: Vec<_> =
        fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == ending));
    // The order of a directory differs between machines.
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).expect("a text")).collect()
}
