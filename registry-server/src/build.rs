//! Which build this is: shown by `--version`, at start in the log, and as the metric `supercargo_registry_build_info`.

use std::sync::LazyLock;

/// The version of the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that was built, when the builder said so (`BUILD_COMMIT` in its environment).
pub const COMMIT: &str = match option_env!("BUILD_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// Version, commit and platform in one line.
pub fn line() -> &'static str {
    static LINE: LazyLock<String> =
        LazyLock::new(|| format!("{VERSION} (commit {COMMIT}, {}-{})", std::env::consts::ARCH, std::env::consts::OS));
    &LINE
}
