//! What a file looks like: it says what it is for, and neither it nor a function of it is an epic.

use crate::sources::{all, none};

/// Most lines of a file, unit tests at its end not counted.
const FILE_LINES_MAX: usize = 400;
/// Most lines of a function.
const FUNCTION_LINES_MAX: usize = 70;

/// Files that may be longer, each with its reason.
const LONG_FILES: [(&str, &str); 0] = [];
/// Functions that may be longer, each with its reason.
const LONG_FUNCTIONS: [(&str, &str, &str); 0] = [];

#[test]
fn every_file_says_what_it_is_for() {
    let breaches: Vec<String> = all()
        .iter()
        // `foo/tests.rs` is the tests of `foo.rs`: its place says it.
        .filter(|source| !source.path.ends_with("/tests.rs") && !source.text.starts_with("//! "))
        .map(|source| format!("{}: open it with `//!` and a sentence", source.path))
        .collect();
    none(&breaches, "every file opens with its purpose");
}

#[test]
fn no_file_is_longer_than_one_can_read() {
    let breaches: Vec<String> = all()
        .iter()
        .filter(|source| !source.is_test() && LONG_FILES.iter().all(|(path, _)| *path != source.path))
        .map(|source| (source, source.lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(source, lines)| format!("{}: {lines} lines, at most {FILE_LINES_MAX}: divide it", source.path))
        .collect();
    none(&breaches, "no file is longer than one can read in one go");
}

#[test]
fn no_function_is_longer_than_a_screen() {
    let mut breaches = Vec::new();
    for source in all() {
        if source.is_test() && !source.path.starts_with("tests/src/") {
            continue;
        }
        for (name, first, lines) in functions(&source.lines().map(|(_, line)| line).collect::<Vec<_>>()) {
            let allowed = LONG_FUNCTIONS.iter().any(|(path, function, _)| *path == source.path && *function == name);
            if lines > FUNCTION_LINES_MAX && !allowed {
                breaches.push(format!(
                    "{}:{first}: {name} has {lines} lines, at most {FUNCTION_LINES_MAX}: divide it",
                    source.path
                ));
            }
        }
    }
    none(&breaches, "no function is longer than a screen");
}

/// Name, first line and length of each function, by the indentation that rustfmt gives: it ends at the first closing
/// brace that stands as deep as its `fn`.
fn functions(lines: &[&str]) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let body = line.trim_start();
        let indent = line.len() - body.len();
        let Some(name) = function_name(body) else { continue };
        if body.trim_end().ends_with('}') {
            found.push((name.to_owned(), index + 1, 1));
            continue;
        }
        let closing = format!("{}}}", " ".repeat(indent));
        let end = lines[index..].iter().position(|line| {
            let rest = line.strip_prefix(&closing);
            rest.is_some() || (line.trim_end().ends_with(';') && line.len() - line.trim_start().len() == indent)
        });
        if let Some(end) = end {
            found.push((name.to_owned(), index + 1, end + 1));
        }
    }
    found
}

fn function_name(body: &str) -> Option<&str> {
    let mut words = body;
    loop {
        if let Some(rest) = words.strip_prefix("fn ") {
            let end = rest.find(['(', '<'])?;
            return Some(&rest[..end]);
        }
        let qualifiers = ["pub ", "pub(crate) ", "pub(super) ", "const ", "async ", "unsafe "];
        words = qualifiers.iter().find_map(|word| words.strip_prefix(word))?;
    }
}

#[test]
fn the_measure_of_functions_measures() {
    let text = "impl A {\n    pub async fn long<T>(\n        self,\n    ) {\n        if x {\n        }\n    }\n    fn one() {}\n}\nfn two();\n";
    let lines: Vec<&str> = text.lines().collect();
    let expected = [("long".to_owned(), 2, 6), ("one".to_owned(), 8, 1), ("two".to_owned(), 10, 1)];
    assert_eq!(functions(&lines), expected);
}
