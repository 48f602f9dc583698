//! What a mix may say, and what is told when it says something else.

use super::{written::WORDS, *};

#[test]
fn every_preset_is_read_and_written_alike() {
    for (name, faults) in PRESETS {
        let mix: Mix = name.parse().expect(name);
        assert_eq!(mix, faults.parse().expect(faults), "{name}");
        assert_eq!(mix.to_string().parse::<Mix>().expect(name), mix, "{name}");
    }
    assert_eq!(Mix::default().to_string(), "none");
}

#[test]
fn every_word_is_read_and_written_alike() {
    for (word, example) in WORDS {
        let mix: Mix = example.parse().expect(example);
        assert_eq!(mix.to_string(), example, "{word}");
    }
    let short: Mix = "delay=0.1, undo_fails=1 ,duplicate=0".parse().expect("times may be left out");
    assert_eq!(short.to_string(), "delay=0.1:100ms,undo_fails=1:1");
}

#[test]
fn a_preset_may_be_added_to() {
    let mix: Mix = "mild,refuse=0.5,down=inventory@1s+2s,down=*@5s+500ms".parse().expect("a mix");
    assert_eq!(mix.refuse, Share::per_thousand(500));
    assert_eq!(mix.drop_before, Mix::mild().drop_before);
    assert_eq!(mix.down.len(), 2);
}

#[test]
fn what_is_no_mix_says_what_to_write() {
    let check = |text: &str, said: &str| {
        let error = text.parse::<Mix>().expect_err(text).to_string();
        assert!(error.contains(said), "{text}: {error}");
    };
    check("ruogh", "\"ruogh\" is no fault; write a preset (none, mild, rough, reversals, outage), or faults");
    check("dely=0.1", "\"dely\" is no fault");
    check("refuse=0.1,rough", "\"rough\" is no fault");
    check(
        "refuse",
        "\"refuse\" cannot be read as \"refuse\"; write a share from 0 to 1, such as refuse=0.05",
    );
    check("refuse=2", "write a share from 0 to 1, such as refuse=0.05");
    check("refuse=NaN", "write a share from 0 to 1");
    check("delay=0.1:soon", "a share from 0 to 1 and a time of at most 1h, such as delay=0.1:200ms");
    check("delay=0.1:2h", "a time of at most 1h");
    check("undo_fails=0.1:0", "a number of times from 1 to 100, such as undo_fails=0.2:3");
    check("down=inventory", "when it goes and for how long, at most 1h each, such as down=inventory@10s+5s");
    check("down=In Ventory@1s+1s", "such as down=inventory@10s+5s");
    check("crash=0.2+", "shares from 0 to 1 of the sagas started, separated by +, such as crash=0.3+0.6");
    check("drop_before=0.6,drop_after=0.5", "together exceed 1");
}

#[test]
fn a_share_of_some_sagas_is_a_number_of_them() {
    for (share, whole, expected) in
        [("0.5", 200, 100), ("0", 200, 1), ("1", 7, 7), ("0.3", 10, 3), ("0.3", 1, 1)]
    {
        let share: Share = share.parse().expect("a share");
        assert_eq!(share.of(whole), expected, "{share} of {whole}");
    }
}
