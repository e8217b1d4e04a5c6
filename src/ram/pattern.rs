//! Patterns with `*` and `?` (rule M1), matched without backtracking.
//!
//! A pattern is split at its stars. The first piece must stand at the
//! beginning and the last one at the end; those between are looked for from
//! left to right, each in what the one before has left. That is correct since
//! a piece has a fixed number of characters: an earlier occurrence never
//! leaves less to the pieces that follow.

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Pattern(Shape);

#[derive(Debug)]
enum Shape {
    /// `*`
    Any,
    /// No star: the piece is the whole text.
    Whole(Piece),
    /// A literal and a star after it.
    Prefix(Box<str>),
    Starred {
        first: Piece,
        middle: Box<[Piece]>,
        last: Piece,
    },
}

/// What stands between two stars.
#[derive(Debug)]
enum Piece {
    Literal(Box<str>),
    Gapped(Gapped),
}

/// A piece with question marks in it.
///
/// To find it, all its beginnings are followed at once, one bit each
/// (Baeza-Yates and Gonnet, "A new approach to text searching", 1992), so that
/// the time is the length of the text times a 64th of that of the piece.
#[derive(Debug)]
struct Gapped {
    /// The characters; `None` is a question mark.
    letters: Box<[Option<char>]>,
    /// Which characters of the piece are question marks, a bit each.
    any: Box<[u64]>,
    /// Where each letter stands, by letter and word; words without it are left out.
    places: Box<[Places]>,
    /// The bit of the last character, in the last word.
    last_bit: u64,
}

#[derive(Debug)]
struct Places {
    letter: char,
    word: usize,
    bits: u64,
}

/// Words of 64 characters that a search follows without asking for memory.
const WORDS_ON_STACK: usize = 4;

/// Beginnings of a piece that are tried one by one.
const TRIED_ONE_BY_ONE: usize = 8;

impl Pattern {
    /// Compiles a pattern. Every text is one.
    pub(super) fn new(text: &str) -> Self {
        let Some((first, rest)) = text.split_once('*') else {
            return Self(Shape::Whole(Piece::new(text)));
        };
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        let middle: Box<[Piece]> =
            middle.split('*').filter(|piece| !piece.is_empty()).map(Piece::new).collect();
        Self(match (Piece::new(first), Piece::new(last)) {
            (Piece::Literal(first), Piece::Literal(last)) if middle.is_empty() && last.is_empty() => {
                if first.is_empty() { Shape::Any } else { Shape::Prefix(first) }
            }
            (first, last) => Shape::Starred { first, middle, last },
        })
    }

    /// Whether the whole of `text` fits.
    pub(super) fn matches(&self, text: &str) -> bool {
        match &self.0 {
            Shape::Any => true,
            Shape::Whole(piece) => piece.after_prefix(text).is_some_and(str::is_empty),
            Shape::Prefix(prefix) => text.starts_with(&**prefix),
            Shape::Starred { first, middle, last } => first
                .after_prefix(text)
                .and_then(|rest| last.before_suffix(rest))
                .and_then(|rest| middle.iter().try_fold(rest, |rest, piece| piece.after_first(rest)))
                .is_some(),
        }
    }

    /// The only text that fits, if there is but one.
    pub(super) fn literal(&self) -> Option<&str> {
        match &self.0 {
            Shape::Whole(Piece::Literal(text)) => Some(text),
            Shape::Whole(Piece::Gapped(_)) | Shape::Any | Shape::Prefix(_) | Shape::Starred { .. } => None,
        }
    }

    /// A text with which every fitting text begins; it may be empty.
    pub(super) fn literal_prefix(&self) -> &str {
        match &self.0 {
            Shape::Whole(Piece::Literal(text))
            | Shape::Prefix(text)
            | Shape::Starred { first: Piece::Literal(text), .. } => text,
            Shape::Any | Shape::Whole(Piece::Gapped(_)) | Shape::Starred { first: Piece::Gapped(_), .. } => {
                ""
            }
        }
    }
}

impl Piece {
    fn new(text: &str) -> Self {
        if text.contains('?') { Self::Gapped(Gapped::new(text)) } else { Self::Literal(text.into()) }
    }

    /// What follows this piece at the beginning of `text`.
    fn after_prefix<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Literal(literal) => text.strip_prefix(&**literal),
            Self::Gapped(gapped) => gapped.after_prefix(text),
        }
    }

    /// What precedes this piece at the end of `text`.
    fn before_suffix<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Literal(literal) => text.strip_suffix(&**literal),
            Self::Gapped(gapped) => gapped.before_suffix(text),
        }
    }

    /// What follows the first occurrence of this piece in `text`.
    ///
    /// A few beginnings are tried one by one, since most texts are short and
    /// setting up a search takes longer than that; then a search that never
    /// looks back takes over.
    fn after_first<'t>(&self, text: &'t str) -> Option<&'t str> {
        let mut rest = text;
        if let Some(first) = self.first_byte() {
            for _ in 0..TRIED_ONE_BY_ONE {
                let (_, from_first) = rest.split_at_checked(rest.bytes().position(|b| b == first)?)?;
                if let Some(after) = self.after_prefix(from_first) {
                    return Some(after);
                }
                rest = from_first.strip_prefix(char::from(first))?;
            }
        }
        match self {
            Self::Literal(literal) => rest.split_once(&**literal).map(|(_, after)| after),
            Self::Gapped(gapped) => gapped.after_first(rest),
        }
    }

    /// The byte with which the piece begins, if it begins with an ASCII character.
    fn first_byte(&self) -> Option<u8> {
        let first = match self {
            Self::Literal(literal) => literal.chars().next(),
            Self::Gapped(gapped) => gapped.letters.first().copied().flatten(),
        };
        first.filter(char::is_ascii).and_then(|first| u8::try_from(first).ok())
    }
}

impl Gapped {
    fn new(text: &str) -> Self {
        let letters: Box<[Option<char>]> = text.chars().map(|c| (c != '?').then_some(c)).collect();
        let mut any = vec![0_u64; letters.len().div_ceil(64)];
        let mut bits = std::collections::BTreeMap::<(char, usize), u64>::new();
        let mut last_bit = 0;
        for (at, letter) in letters.iter().enumerate() {
            last_bit = 1_u64 << (at % 64);
            match (letter, any.get_mut(at / 64)) {
                (Some(letter), _) => *bits.entry((*letter, at / 64)).or_default() |= last_bit,
                (None, Some(word)) => *word |= last_bit,
                (None, None) => {}
            }
        }
        let places = bits.into_iter().map(|((letter, word), bits)| Places { letter, word, bits }).collect();
        Self { letters, any: any.into(), places, last_bit }
    }

    fn after_prefix<'t>(&self, text: &'t str) -> Option<&'t str> {
        let mut rest = text.chars();
        let fits =
            self.letters.iter().all(|letter| rest.next().is_some_and(|c| letter.is_none_or(|l| l == c)));
        fits.then_some(rest.as_str())
    }

    fn before_suffix<'t>(&self, text: &'t str) -> Option<&'t str> {
        let mut rest = text.chars();
        let fits = self
            .letters
            .iter()
            .rev()
            .all(|letter| rest.next_back().is_some_and(|c| letter.is_none_or(|l| l == c)));
        fits.then_some(rest.as_str())
    }

    fn after_first<'t>(&self, text: &'t str) -> Option<&'t str> {
        let mut short = [0_u64; WORDS_ON_STACK];
        let mut long = Vec::new();
        // Bit n is set when the last n + 1 characters are the first n + 1 of the piece.
        let begun: &mut [u64] = match short.get_mut(..self.any.len()) {
            Some(short) => short,
            None => {
                long.resize(self.any.len(), 0);
                &mut long
            }
        };
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            let from = self.places.partition_point(|places| places.letter < c);
            let mut places = self.places.iter().skip(from).take_while(|places| places.letter == c).peekable();
            let mut carry = 1;
            for (word, (begun, any)) in begun.iter_mut().zip(&self.any).enumerate() {
                let here = places.next_if(|places| places.word == word).map_or(0, |places| places.bits);
                let carried = *begun >> 63;
                *begun = ((*begun << 1) | carry) & (here | any);
                carry = carried;
            }
            if begun.last().is_some_and(|word| word & self.last_bit != 0) {
                return Some(rest.as_str());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every prefix of the pattern against every prefix of the text.
    fn by_table(pattern: &str, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let mut row: Vec<bool> = (0..=text.len()).map(|at| at == 0).collect();
        for p in pattern.chars() {
            let before = row.clone();
            row[0] = before[0] && p == '*';
            for at in 1..=text.len() {
                row[at] = match p {
                    '*' => before[at] || row[at - 1],
                    '?' => before[at - 1],
                    _ => before[at - 1] && p == text[at - 1],
                };
            }
        }
        row[text.len()]
    }

    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.0 >> 33).unwrap() % sides
        }

        fn text(&mut self, alphabet: &[char], longest: usize) -> String {
            (0..self.roll(longest + 1)).map(|_| alphabet[self.roll(alphabet.len())]).collect()
        }
    }

    #[test]
    fn patterns_agree_with_a_table_of_all_prefixes() {
        let mut dice = Dice(7);
        for round in 0..60_000 {
            let pattern = dice.text(&['a', 'b', '密', '*', '*', '?'], 12);
            let text = dice.text(&['a', 'a', 'b', '密'], 14);
            assert_eq!(
                Pattern::new(&pattern).matches(&text),
                by_table(&pattern, &text),
                "{round}: {pattern} {text}"
            );
        }
    }

    #[test]
    fn long_pieces_with_question_marks_agree_too() {
        let mut dice = Dice(11);
        let mut matched = 0;
        for _ in 0..300 {
            let core = dice.text(&['a', 'b'], 600);
            let gapped: String = core.chars().map(|c| if dice.roll(3) == 0 { '?' } else { c }).collect();
            let text = format!("{}{core}{}", dice.text(&['a', 'b'], 90), dice.text(&['a', 'b'], 90));
            let pattern = format!("*{gapped}{}*", if dice.roll(2) == 0 { "" } else { "?b" });
            matched += usize::from(by_table(&pattern, &text));
            assert_eq!(Pattern::new(&pattern).matches(&text), by_table(&pattern, &text), "{pattern} {text}");
        }
        assert!(matched > 150);
    }

    #[test]
    fn the_prefix_that_every_text_has_is_known() {
        for (pattern, literal, prefix) in [
            ("*", None, ""),
            ("a", Some("a"), "a"),
            ("a*", None, "a"),
            ("a*b", None, "a"),
            ("a?", None, ""),
            ("", Some(""), ""),
        ] {
            let pattern = Pattern::new(pattern);
            assert_eq!((pattern.literal(), pattern.literal_prefix()), (literal, prefix));
        }
    }

    #[test]
    fn a_pattern_made_to_explode_takes_no_time() {
        let text = "a".repeat(8_000);
        let started = std::time::Instant::now();
        for pattern in
            ["a*".repeat(3_000) + "b", "*a?".repeat(2_000) + "b", format!("*{}b*", "a?".repeat(2_000))]
        {
            assert!(!Pattern::new(&pattern).matches(&text));
        }
        assert!(started.elapsed() < std::time::Duration::from_secs(1), "{:?}", started.elapsed());
    }
}
