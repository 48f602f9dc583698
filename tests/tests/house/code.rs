//! Just enough Rust to count lines and to look for words: what is code, and where functions begin and end.

/// Source text with comments and the insides of texts and characters replaced by blanks. Lines stay where they are.
pub(crate) fn blank(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < bytes.len() {
        let length = foreign(source, at);
        if length == 0 {
            let letter = source[at..].chars().next().expect("a character starts here");
            out.push(letter);
            at += letter.len_utf8();
        } else {
            out.extend(source[at..at + length].chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
            at += length;
        }
    }
    out
}

/// How many bytes from here on are comment, text or character; 0 when this is code.
fn foreign(source: &str, at: usize) -> usize {
    let rest = &source[at..];
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if rest.starts_with('"') {
        return quoted(rest, 1);
    }
    let in_word = source[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
    if !in_word {
        let prefix = ["br", "cr", "r", "b", "c"].iter().find(|prefix| rest.starts_with(**prefix));
        let after = prefix.map_or(rest, |prefix| &rest[prefix.len()..]);
        let prefix_length = rest.len() - after.len();
        if prefix.is_some_and(|prefix| prefix.ends_with('r'))
            && let Some(length) = raw(after)
        {
            return prefix_length + length;
        }
        if prefix_length > 0 && after.starts_with('"') {
            return prefix_length + quoted(after, 1);
        }
    }
    if rest.starts_with('\'') { character(rest) } else { 0 }
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// The length of a text that is open since `at`, up to and with its closing quote.
fn quoted(rest: &str, mut at: usize) -> usize {
    let bytes = rest.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of `#"…"#` with as many marks on either side; `None` when this is none.
fn raw(rest: &str) -> Option<usize> {
    let marks = rest.bytes().take_while(|byte| *byte == b'#').count();
    let inside = rest[marks..].strip_prefix('"')?;
    let closing = format!("\"{}", "#".repeat(marks));
    Some(inside.find(&closing).map_or(rest.len(), |end| marks + 1 + end + closing.len()))
}

/// The length of a character; 0 when the quote starts a lifetime.
fn character(rest: &str) -> usize {
    let mut letters = rest.char_indices().skip(1);
    match letters.next() {
        Some((_, '\\')) => rest[3.min(rest.len())..].find('\'').map_or(0, |end| end + 4),
        Some(_) => match letters.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}

/// A function's first line, counted from 1, its name, and how many lines it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) line: usize,
    pub(crate) name: String,
    pub(crate) lines: usize,
}

/// Every function with a body, from source text that was blanked. A function within a function counts for both.
pub(crate) fn functions(blanked: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in blanked.match_indices("fn ") {
        let in_word = blanked[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
        let rest = &blanked[at + 3..];
        let name: String =
            rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
        if in_word || name.is_empty() {
            continue;
        }
        if let Some(end) = body_end(rest) {
            found.push(Function {
                line: blanked[..at].matches('\n').count() + 1,
                name,
                lines: rest[..end].matches('\n').count() + 1,
            });
        }
    }
    found
}

/// Where the body's closing brace is; `None` for a declaration, which ends with a semicolon instead.
fn body_end(rest: &str) -> Option<usize> {
    let (mut braces, mut brackets) = (0_usize, 0_usize);
    for (at, letter) in rest.char_indices() {
        match letter {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            ';' if braces == 0 && brackets == 0 => return None,
            '{' if braces > 0 || brackets == 0 => braces += 1,
            '}' if braces > 0 => {
                braces -= 1;
                if braces == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// Whether `word` stands in the text with no letter or digit against either end.
pub(crate) fn has_word(blanked: &str, word: &str) -> bool {
    let joins = |letter: char| letter.is_alphanumeric() || letter == '_';
    blanked
        .match_indices(word)
        .any(|(at, _)| !blanked[..at].ends_with(joins) && !blanked[at + word.len()..].starts_with(joins))
}

#[test]
fn comments_and_texts_are_no_code() {
    fn check(source: &str, expected: &str) {
        let code: String = blank(source).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(code, expected, "{source:?}");
    }
    check("a // b\nc", "a c");
    check("a /* b /* c */ d */ e", "a e");
    check(r#"a("b \" c") d"#, "a( ) d");
    check(r##"a(r#"b " c"#) d"##, "a( ) d");
    check(r#"a(b"x", br"y\") d"#, "a( , ) d");
    check("fn a<'b>(c: &'b str) { '{'; '\\''; '\\u{7d}' }", "fn a<'b>(c: &'b str) { ; ; }");
    check("for r in b { c }", "for r in b { c }");
    assert_eq!(blank("a /* b\nc */ d\n").matches('\n').count(), 2);
}

#[test]
fn functions_are_counted_from_their_first_line_to_their_last() {
    let source =
        "trait A { fn a(&self, b: [u8; 3]); }\n\nfn b() -> [u8; 2] {\n    if c { d }\n}\nconst fn e() {}\n";
    let found: Vec<(usize, String, usize)> =
        functions(&blank(source)).into_iter().map(|one| (one.line, one.name, one.lines)).collect();
    assert_eq!(found, [(3, "b".to_owned(), 3), (6, "e".to_owned(), 1)]);
}

#[test]
fn words_are_whole() {
    assert!(has_word("use std::env;", "std::env"));
    assert!(!has_word("mod tokios;", "tokio"));
}
