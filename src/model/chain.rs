//! An error with its causes.

/// An error and all its causes in one line, for logs and for operators. Errors
/// of this project hold no secrets, so neither does the line.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
