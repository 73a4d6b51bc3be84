//! `supercargo-registry config`.

use clap::Args;

use super::say;
use crate::config::keys::{self, KEYS, Kind};

/// Arguments of `config`.
#[derive(Debug, Args)]
pub(super) struct Keys {
    /// As a Markdown table
    #[arg(long)]
    markdown: bool,
}

impl Keys {
    pub(super) fn run(&self) {
        if self.markdown {
            return say(keys::markdown().trim_end());
        }
        say(
            "Keys of the TOML file, [section] key = value. Each is also an environment variable, which wins over the file.\n",
        );
        for key in KEYS {
            let default = match key.default {
                Some("") => "\"\"",
                Some(value) => value,
                None => "none",
            };
            let words = match key.kind {
                Kind::OneOf(words) => format!("{}. ", words.join(" | ")),
                _ => String::new(),
            };
            say(&format!(
                "{}\n    {words}{}\n    default: {default}    environment: {}\n",
                key.name,
                key.meaning,
                key.variable()
            ));
        }
    }
}
