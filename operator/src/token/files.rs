//! The contents of a token's Secret: files that are ready to mount as `$CARGO_HOME`. Pure.
//!
//! Source: the Cargo book, "Configuration" and "Registry Authentication".

use std::collections::BTreeMap;

use k8s_openapi::ByteString;

use super::mint::Token;

/// Key of the token alone, for `CARGO_REGISTRIES_<NAME>_TOKEN`.
pub const TOKEN_KEY: &str = "token";
/// Key of what belongs into `$CARGO_HOME/config.toml`.
pub const CONFIG_KEY: &str = "config.toml";
/// Key of what belongs into `$CARGO_HOME/credentials.toml`.
pub const CREDENTIALS_KEY: &str = "credentials.toml";

/// The three files. `registry` is a DNS label, so it is a bare key of TOML; `index` is written as a TOML string.
pub fn files(registry: &str, index: &str, token: &Token) -> BTreeMap<String, ByteString> {
    let index = toml::Value::from(index);
    let config = format!(
        "[registries.{registry}]\nindex = {index}\n\n\
         # A private index asks for the token with every request, and Cargo wants to be told who may hand it out.\n\
         [registry]\nglobal-credential-providers = [\"cargo:token\"]\n"
    );
    let credentials = format!("[registries.{registry}]\ntoken = \"{}\"\n", token.expose());
    [(TOKEN_KEY, token.expose().to_owned()), (CONFIG_KEY, config), (CREDENTIALS_KEY, credentials)]
        .map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes())))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_reads_what_is_written() {
        let token = Token::mint(|bytes| bytes.fill(9));
        let files = files("company", "sparse+http://h:80/a\"b/index/", &token);
        let parse =
            |key: &str| -> toml::Table { std::str::from_utf8(&files[key].0).expect("text").parse().expect("TOML") };
        let config = parse(CONFIG_KEY);
        assert_eq!(config["registries"]["company"]["index"].as_str(), Some("sparse+http://h:80/a\"b/index/"));
        assert_eq!(config["registry"]["global-credential-providers"][0].as_str(), Some("cargo:token"));
        assert_eq!(parse(CREDENTIALS_KEY)["registries"]["company"]["token"].as_str(), Some(token.expose()));
        assert_eq!(files[TOKEN_KEY].0, token.expose().as_bytes());
    }
}
