//! Which layer wins, and what is said when one of them is wrong.

use super::*;

/// Settings over this environment and this file.
fn settings(env: &[(&str, &str)], file: Option<&str>) -> Result<Settings, SettingsError> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("amends.toml");
    // Without a file of its own a test would read one of the working directory.
    std::fs::write(&path, file.unwrap_or_default()).expect("the file is written");
    Settings::read(Some(&path), |name| {
        env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_defaults() {
    let file = Some("coordinator = \"http://file:1\"\n[serve]\nlisten = \"127.0.0.1:1\"");
    let env = [("AMENDS_COORDINATOR", "http://env:2")];
    let flag: BaseUrl = "http://flag:3".parse().expect("a URL");
    for (env, file, flag, expected) in [
        (&env[..], file, Some(flag), "http://flag:3"),
        (&env[..], file, None, "http://env:2"),
        (&[][..], file, None, "http://file:1"),
        (&[][..], None, None, "http://127.0.0.1:7070"),
        (&[("AMENDS_COORDINATOR", "")][..], file, None, "http://file:1"),
    ] {
        let settings = settings(env, file).expect("good settings");
        let value = settings.require(&keys::COORDINATOR, flag).expect("a good value");
        assert_eq!(value.to_string(), expected);
    }
}

#[test]
fn the_environment_speaks_for_every_service_and_the_file_for_one() {
    let settings = settings(&[("AMENDS_STORE", "sqlite:env.db")], Some("[order]\nlisten = \"127.0.0.1:9\""));
    let settings = settings.expect("good settings");
    for key in [&keys::SERVE_STORE, keys::INVENTORY.store, keys::ORDER.store] {
        assert_eq!(settings.text(key), Some(("sqlite:env.db", Source::Env("AMENDS_STORE"))));
    }
    let listen: Listen = settings.require(keys::ORDER.listen, None).expect("an address");
    assert_eq!(listen.to_string(), "127.0.0.1:9");
    let listen: Listen = settings.require(keys::PRODUCT.listen, None).expect("an address");
    assert_eq!(listen.to_string(), "127.0.0.1:7103");
}

/// Expects that a file is refused with these words.
fn refused(file: &str, words: &str) {
    let error = settings(&[], Some(file)).expect_err(file).to_string();
    assert!(error.contains(words), "{file:?}: {error}");
}

#[test]
fn what_a_file_must_not_hold_is_refused_with_what_was_meant() {
    refused(
        "cordinator = \"http://x\"",
        "\"cordinator\" is not a known setting; did you mean \"coordinator\"?",
    );
    refused("[server]\nlisten = \"x\"", "the table [server] is not a known table; did you mean \"serve\"?");
    refused(
        "[serve]\nsagas-max = 7",
        "\"sagas-max\" in [serve] is not a known setting; did you mean \"sagas_max\"?",
    );
    refused(
        "[serve]\ncolour = \"red\"",
        "\"colour\" in [serve] is not a known setting; `amends config` lists",
    );
    refused("[serve]\nlisten = [\"x\"]", "serve.listen is one text, number or truth value, not array");
    refused("listen = ", "amends.toml: ");
    refused("listen = \"127.0.0.1:1\"", "\"listen\" is not a known setting");
}

/// Expects that a text does not fit a setting, and that these words say where it stands.
fn misfit<T: FromStr<Err: fmt::Display> + fmt::Debug>(settings: &Settings, key: &Key, words: &str) {
    let error = settings.get::<T>(key, None).expect_err("a misfit").to_string();
    assert!(error.contains(words), "{error}");
}

#[test]
fn a_value_that_does_not_fit_says_where_it_stands() {
    let settings = settings(
        &[
            ("AMENDS_SAGAS_MAX", "many"),
            ("AMENDS_STORE", "postgres://host/db"),
            ("AMENDS_TOKEN", "two words"),
        ],
        Some("[serve]\nlisten = \"7070\""),
    );
    let settings = settings.expect("good settings");
    misfit::<std::num::NonZeroUsize>(
        &settings,
        &keys::SERVE_SAGAS_MAX,
        "AMENDS_SAGAS_MAX is \"many\": invalid digit",
    );
    misfit::<Store>(&settings, &keys::SERVE_STORE, "this version keeps its data in SQLite");
    misfit::<Listen>(
        &settings,
        &keys::SERVE_LISTEN,
        "amends.toml is \"7070\": expected an address and a port",
    );
    misfit::<Token>(&settings, &keys::TOKEN, "AMENDS_TOKEN is \"…\": a token has no spaces");
}

#[test]
fn every_default_fits_its_setting() {
    let settings = settings(&[], None).expect("good settings");
    settings.require::<BaseUrl>(&keys::COORDINATOR, None).expect("a URL");
    settings.require::<LogFormat>(&keys::LOG_FORMAT, None).expect("a format");
    settings.require::<Switch>(&keys::SERVE_SHARED, None).expect("a switch");
    settings.require::<std::num::NonZeroUsize>(&keys::SERVE_THREADS, None).expect("a number");
    settings.require::<std::num::NonZeroUsize>(&keys::SERVE_SAGAS_MAX, None).expect("a number");
    for keys in [&keys::INVENTORY, &keys::ORDER, &keys::PRODUCT] {
        settings.require::<Listen>(keys.listen, None).expect("an address");
        settings.require::<Store>(keys.store, None).expect("a store");
    }
}

/// Expects what a text is read as, or the words it is refused with.
fn reads<T: FromStr<Err: fmt::Display> + fmt::Display>(text: &str, expected: Result<&str, &str>) {
    match (text.parse::<T>(), expected) {
        (Ok(read), Ok(expected)) => assert_eq!(read.to_string(), expected, "{text}"),
        (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{text}: {error}"),
        (Ok(read), Err(_)) => panic!("{text} was read as {read}"),
        (Err(error), Ok(_)) => panic!("{text} was refused: {error}"),
    }
}

#[test]
fn texts_are_read_or_refused_with_what_is_expected() {
    reads::<BaseUrl>("http://10.0.0.5:7070/", Ok("http://10.0.0.5:7070"));
    reads::<BaseUrl>("https://amends.example/saga", Ok("https://amends.example/saga"));
    reads::<BaseUrl>("127.0.0.1:7070", Err("expected an address such as http://"));
    reads::<BaseUrl>("ftp://host", Err("expected an address such as http://"));
    reads::<BaseUrl>("http://me:pw@host", Err("without user"));
    reads::<Listen>("localhost:0", Ok("127.0.0.1:0"));
    reads::<Listen>("[::1]:80", Ok("[::1]:80"));
    reads::<Listen>(":7070", Err("port 0 picks a free one"));
    reads::<Store>("sqlite:./a/b.db", Ok("sqlite:./a/b.db"));
    reads::<Store>("sqlite:///var/a.db", Ok("sqlite:/var/a.db"));
    reads::<Store>("sqlite::memory:", Err("data must outlive the process"));
    reads::<Store>("mysql://host/db", Err("not behind mysql://"));
    reads::<Store>("a.db", Err("expected sqlite:PATH"));
}
