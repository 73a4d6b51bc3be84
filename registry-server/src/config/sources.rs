//! From the file and the environment to one value per key, every problem collected. Knows the shape of values, not their
//! meaning.

use std::collections::BTreeMap;

use super::base_url::masked;
use super::keys::{self, KEYS, Key, Kind, PREFIX};
use super::{ConfigError, Problem};

/// One value that somebody gave, and where, for error texts.
#[derive(Debug, Clone)]
struct Given {
    text: String,
    place: String,
}

/// The TOML parser's message, whose excerpt may show a line with a URL.
fn masked_lines(text: &str) -> String {
    text.trim_end().lines().map(masked).collect::<Vec<_>>().join("\n")
}

/// The values of all keys that somebody gave; [`Values::text`] falls back to the table's default.
#[derive(Debug, Default)]
pub(super) struct Values {
    given: BTreeMap<&'static str, Given>,
    /// What is wrong so far.
    pub(super) problems: Vec<Problem>,
}

impl Values {
    /// Reads the file's text and then the environment, which wins.
    pub(super) fn read(
        toml_text: Option<&str>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut values = Self::default();
        if let Some(text) = toml_text {
            let table: toml::Table = toml::from_str(text).map_err(|error| ConfigError {
                problems: vec![Problem { place: "the file".into(), text: masked_lines(&error.to_string()) }],
            })?;
            values.read_file(&table);
        }
        values.read_environment(environment);
        Ok(values)
    }

    fn read_file(&mut self, file: &toml::Table) {
        for (section, content) in file {
            let Some(content) = content.as_table() else {
                self.problem(
                    format!("the key \"{section}\""),
                    format!("keys stand in a section: write [section] above it; {}", nearest(section)),
                );
                continue;
            };
            for (name, value) in content {
                let name = format!("{section}.{name}");
                match keys::find(&name) {
                    Some(key) => self.take_toml(key, value),
                    None => self.problem(format!("the key \"{name}\""), format!("is unknown; {}", nearest(&name))),
                }
            }
        }
    }

    fn take_toml(&mut self, key: &'static Key, value: &toml::Value) {
        let place = format!("the key \"{}\"", key.name);
        let text = match (key.kind, value) {
            (kind, toml::Value::Integer(number)) if kind.is_number() => number.to_string(),
            (Kind::Switch, toml::Value::Boolean(switch)) => switch.to_string(),
            (kind, toml::Value::String(text)) if !kind.is_number() && kind != Kind::Switch => text.clone(),
            (kind, other) => {
                // The value is not repeated: it may be a secret that landed under the wrong key.
                return self.problem(place, format!("is {}, but has to be {}", of_type(other), kind.expected()));
            }
        };
        self.given.insert(key.name, Given { text, place });
    }

    fn read_environment(&mut self, environment: impl IntoIterator<Item = (String, String)>) {
        let by_variable: BTreeMap<String, &'static Key> = KEYS.iter().map(|key| (key.variable(), key)).collect();
        let mut variables: Vec<_> = environment.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
        variables.sort();
        for (variable, text) in variables {
            let place = format!("the environment variable {variable}");
            match by_variable.get(&variable) {
                Some(key) => {
                    self.given.insert(key.name, Given { text, place });
                }
                None if is_foreign(&variable) => {}
                None => {
                    let near = closest(&variable, by_variable.keys().map(String::as_str));
                    self.problem(place, format!("is unknown; the nearest known one is {near}"));
                }
            }
        }
    }

    /// Notes a problem.
    pub(super) fn problem(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.problems.push(Problem { place: place.into(), text: text.into() });
    }

    /// Where the value of `name` was written.
    pub(super) fn place(&self, name: &str) -> String {
        self.given.get(name).map_or_else(|| format!("the key \"{name}\""), |given| given.place.clone())
    }

    /// Whether anybody gave the key.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The text of a key, given or by default. An empty text from the environment counts as not given where the table has
    /// no default, because `VARIABLE=` is how one unsets it in many places.
    pub(super) fn text(&self, name: &'static str) -> Option<String> {
        let key = keys::find(name).expect("the parser asks only for keys of the table");
        match self.given.get(name) {
            Some(given) if given.text.is_empty() && key.default.is_none() => None,
            Some(given) => Some(given.text.clone()),
            None => key.default.map(str::to_owned),
        }
    }

    /// The value of a key, parsed; a text that does not parse is a problem and gives `None`.
    pub(super) fn parse<T>(&mut self, name: &'static str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.text(name)?;
        let parsed = parse(&text);
        if parsed.is_none() {
            let expected = keys::find(name).expect("looked up above").kind.expected();
            self.problem(self.place(name), format!("is \"{text}\", but has to be {expected}"));
        }
        parsed
    }
}

/// Variables with our prefix that belong to somebody else: the other programs of the project, its simulation, and those that Kubernetes
/// puts into a pod for each Service whose name begins with `supercargo-` (`SUPERCARGO_X_SERVICE_HOST`,
/// `SUPERCARGO_X_PORT_80_TCP_ADDR`; Kubernetes, "Accessing the Service", environment variables).
fn is_foreign(variable: &str) -> bool {
    let rest = variable.strip_prefix(PREFIX).unwrap_or(variable);
    if ["OPERATOR_", "DEV_", "TESTS_", "SEED", "MUTANT"].iter().any(|program| rest.starts_with(program)) {
        return true;
    }
    rest.ends_with("_SERVICE_HOST")
        || rest.contains("_SERVICE_PORT")
        || rest.ends_with("_PORT")
        || ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| rest.contains(protocol) && rest.contains("_PORT_"))
}

fn of_type(value: &toml::Value) -> &'static str {
    match value {
        toml::Value::String(_) => "a text",
        toml::Value::Integer(_) => "a whole number",
        toml::Value::Float(_) => "a number with a fraction",
        toml::Value::Boolean(_) => "true or false",
        toml::Value::Datetime(_) => "a date",
        toml::Value::Array(_) => "a list",
        toml::Value::Table(_) => "a table",
    }
}

fn nearest(name: &str) -> String {
    format!("the nearest known one is \"{}\"", closest(name, KEYS.iter().map(|key| key.name)))
}

fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> &'a str {
    known
        .max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)))
        .expect("the table is not empty")
}
