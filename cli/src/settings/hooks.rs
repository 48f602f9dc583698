//! `[[hooks]]` of the file: who is told of repair items.

use super::near::nearest;
use amends_server::hooks::{Hook, HookEvent};
use toml::{Table, Value};

/// What a hook may say.
const MEMBERS: [&str; 3] = ["url", "secret", "events"];

/// Reads the hooks of a file.
///
/// # Errors
/// A sentence that names the hook, from 1, and what is wrong with it. It repeats neither the secret nor the address.
pub(super) fn read(value: &Value) -> Result<Vec<Hook>, String> {
    let wrong = || "hooks are written as tables, each under [[hooks]]".to_owned();
    let tables = value.as_array().ok_or_else(wrong)?;
    (1..)
        .zip(tables)
        .map(|(n, table)| {
            one(table.as_table().ok_or_else(wrong)?)
                .map_err(|error| format!("hook {n} of [[hooks]]: {error}"))
        })
        .collect()
}

fn one(table: &Table) -> Result<Hook, String> {
    if let Some(unknown) = table.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
        let near = nearest(unknown, MEMBERS).map(|near| format!("; did you mean \"{near}\"?"));
        return Err(format!("\"{unknown}\" is not a known setting{}", near.unwrap_or_default()));
    }
    let text = |name: &str| match table.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(format!("\"{name}\" is a text")),
    };
    let url = text("url")?.ok_or("it needs a \"url\"")?;
    Hook::new(url, text("secret")?, events(table.get("events"))?).map_err(|error| error.to_string())
}

fn events(value: Option<&Value>) -> Result<Vec<HookEvent>, String> {
    let wrong = || "\"events\" is a list of texts, such as [\"repair.opened\"]".to_owned();
    let Some(value) = value else { return Ok(HookEvent::ALL.to_vec()) };
    let texts = value.as_array().ok_or_else(wrong)?.iter().map(|text| text.as_str().ok_or_else(wrong));
    texts.map(|text| text?.parse()).collect()
}
