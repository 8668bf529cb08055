//! What must hold of any text that is read as brindle.yaml: shared with the fuzz target.

use brindle_config::Config;

/// Reads a text; what it means can be shown and read again, and what is wrong has a place.
pub(crate) fn check(text: &str) {
    match Config::from_yaml("f", text) {
        Ok(config) => {
            let shown = config.to_yaml();
            let again = Config::from_yaml("shown", &shown);
            assert!(again.as_ref() == Ok(&config), "{shown}\n{again:?}");
        }
        Err(errors) => {
            assert!(!errors.problems().is_empty(), "{text:?}");
            for line in errors.to_string().lines() {
                assert!(line.starts_with("f:") || line.starts_with("f  "), "{line:?}");
                assert!(!line.chars().any(char::is_control), "{line:?}");
            }
        }
    }
}
