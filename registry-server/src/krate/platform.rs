//! The `[target.…]` keys of a manifest, read by Cargo's own parser, which descends into itself once per parenthesis and knows
//! no limit: without one here, a few thousand `not(` would take the stack and with it the process.

use std::str::FromStr;

use cargo_platform::Platform;

/// Longest key, in bytes. The longest on crates.io have a few hundred.
const TARGET_BYTES_MAX: usize = 1024;
/// Most parentheses that are open at a time.
const TARGET_DEPTH_MAX: usize = 32;

/// Reads `x86_64-unknown-linux-gnu` or `cfg(…)`.
///
/// # Errors
/// It is neither, or it is longer or deeper than anything that a person writes.
pub(crate) fn parse(text: &str) -> Result<Platform, PlatformError> {
    if text.len() > TARGET_BYTES_MAX {
        return Err(PlatformError::TooLong { bytes: text.len() });
    }
    if depth(text) > TARGET_DEPTH_MAX {
        return Err(PlatformError::TooDeep);
    }
    Platform::from_str(text).map_err(|error| PlatformError::Syntax(error.to_string()))
}

/// The most parentheses that are open at a time. Those in strings are none: the parser knows no escapes in them.
fn depth(text: &str) -> usize {
    let (mut open, mut deepest, mut in_string) = (0_usize, 0, false);
    for byte in text.bytes() {
        match byte {
            b'"' => in_string = !in_string,
            b'(' if !in_string => open += 1,
            b')' if !in_string => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
    }
    deepest
}

/// Why a `[target.…]` key is refused, as the end of a sentence about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// Longer than 1 KiB.
    #[error("it has {bytes} bytes, and {TARGET_BYTES_MAX} are allowed: split it into several tables")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// More than 32 parentheses within each other.
    #[error("it opens more than {TARGET_DEPTH_MAX} parentheses within each other: write it flatter")]
    TooDeep,
    /// What the parser says.
    #[error("it is neither a platform nor a `cfg()`: {0}")]
    Syntax(String),
}

impl PlatformError {
    /// What it should have been.
    pub(crate) fn expected(&self) -> String {
        match self {
            Self::TooLong { .. } => format!("at most {TARGET_BYTES_MAX} bytes"),
            Self::TooDeep => format!("at most {TARGET_DEPTH_MAX} nested parentheses"),
            Self::Syntax(_) => "a platform or a `cfg()`".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> String {
        format!("cfg({}unix{})", "not(".repeat(depth - 1), ")".repeat(depth - 1))
    }

    #[test]
    fn what_people_write_is_read() {
        for text in [
            "x86_64-unknown-linux-gnu",
            "cfg(unix)",
            r#"cfg(all(any(target_os = "linux", target_os = ")))"), not(windows)))"#,
            &nested(TARGET_DEPTH_MAX),
            &format!("cfg(any({}))", "not(a),".repeat(100)),
        ] {
            assert_eq!(parse(text).map(drop), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_would_take_the_stack_is_not_begun() {
        assert_eq!(parse(&nested(TARGET_DEPTH_MAX + 1)), Err(PlatformError::TooDeep));
        // Closing parentheses within a string close nothing.
        let hidden = "all(a=\"))))\",".repeat(TARGET_DEPTH_MAX);
        assert_eq!(parse(&format!("cfg({hidden}")), Err(PlatformError::TooDeep));
        let bytes = 1025;
        assert_eq!(parse(&"x".repeat(bytes)), Err(PlatformError::TooLong { bytes }));
        assert!(matches!(parse("cfg("), Err(PlatformError::Syntax(_))));
    }
}
