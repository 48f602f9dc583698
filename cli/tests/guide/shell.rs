//! Shell as far as a guide uses it: blocks of a Markdown text, split into commands and their words.

/// What stands for a shell variable: it fits wherever an id is wanted.
const VARIABLE: &str = "0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10";

/// The shell blocks of a Markdown text, with the files that here-documents write taken out: `(shell, files)`.
pub(crate) fn shell(markdown: &str) -> (String, Vec<(String, String)>) {
    let (mut shell, mut files, mut inside) = (String::new(), Vec::new(), false);
    let mut lines = markdown.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            inside = language == "sh";
        } else if let (true, Some((command, _))) = (inside, line.split_once(" <<'END'")) {
            let name = command.rsplit(' ').next().unwrap_or_default().to_owned();
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "END").collect();
            files.push((name, body.join("\n") + "\n"));
        } else if inside {
            shell.push_str(line);
            shell.push(if line.ends_with('\\') { ' ' } else { '\n' });
        }
    }
    (shell, files)
}

/// Splits shell text into simple commands, each a list of words, as far as a guide uses the language: quotes, `$name`,
/// `$(…)`, pipes, lists, redirections and comments.
pub(crate) fn commands(shell: &str) -> Vec<Vec<String>> {
    let mut found = vec![Vec::new()];
    let (mut word, mut quoted): (Option<String>, Option<char>) = (None, None);
    let mut letters = shell.chars().peekable();
    while let Some(letter) = letters.next() {
        let is_break = quoted.is_none() && (letter.is_whitespace() || ";|&()<>".contains(letter));
        if is_break || (quoted != Some('\'') && letter == '$' && letters.peek() == Some(&'(')) {
            found.last_mut().expect("one at least").extend(word.take());
            match letter {
                '<' | '>' => found.last_mut().expect("one at least").push(letter.to_string()),
                ' ' | '\t' => {}
                _ => found.push(Vec::new()),
            }
        } else if quoted == Some(letter) {
            quoted = None;
        } else if quoted.is_none() && (letter == '\'' || letter == '"') {
            quoted = Some(letter);
            word.get_or_insert_default();
        } else if quoted.is_none() && letter == '#' && word.is_none() {
            while letters.next_if(|letter| *letter != '\n').is_some() {}
        } else if quoted != Some('\'') && letter == '$' {
            while letters.next_if(|letter| letter.is_ascii_alphanumeric() || *letter == '_').is_some() {}
            word.get_or_insert_default().push_str(VARIABLE);
        } else if quoted.is_some() || letter != '\\' {
            word.get_or_insert_default().push(letter);
        }
    }
    found.last_mut().expect("one at least").extend(word);
    found.into_iter().map(plain).filter(|words| !words.is_empty()).collect()
}

/// A command without what stands before it and where its output goes.
fn plain(words: Vec<String>) -> Vec<String> {
    let is_before = |word: &String| matches!(word.as_str(), "do" | "then" | "!") || is_assignment(word);
    let words: Vec<String> = words.into_iter().skip_while(is_before).collect();
    let end = words.iter().position(|word| word == "<" || word == ">").unwrap_or(words.len());
    words[..end].to_vec()
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    })
}

#[test]
fn shell_is_split_into_commands() {
    let text =
        "A=$(amends a \"$X\" | jq -r .id) # no\nfor n in 1; do amends b --c 'd e' > f; done || amends g";
    let expected: [&[&str]; 5] = [
        &["amends", "a", VARIABLE],
        &["jq", "-r", ".id"],
        &["for", "n", "in", "1"],
        &["amends", "b", "--c", "d e"],
        &["done"],
    ];
    let mut found = commands(text);
    assert_eq!(found.pop().expect("the last"), ["amends", "g"]);
    assert_eq!(found, expected);
}
