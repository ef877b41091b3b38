//! Characters of foreign text that do something instead of being seen.

/// Whether a character does something to the text around it: control characters, ends of lines and paragraphs, and
/// what changes the order in which text is shown (UAX #9).
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::is_hidden;

    #[test]
    fn what_does_something_is_hidden_and_what_is_seen_is_not() {
        for hidden in "\0\n\t\u{1b}\u{7f}\u{85}\u{9b}\u{61c}\u{200f}\u{2028}\u{202e}\u{2069}".chars() {
            assert!(is_hidden(hidden), "{hidden:?}");
        }
        for seen in "a é…\u{200d}\u{2027}\u{202f}\u{fffd}".chars() {
            assert!(!is_hidden(seen), "{seen:?}");
        }
    }
}
