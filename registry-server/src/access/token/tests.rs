//! Tokens: form, check digits, and that nothing prints them.

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

/// Pinned: every token that was ever handed out must stay valid. The digits were computed apart, with Python's `zlib`.
const KNOWN: &str = "scg_0000000000000000000000000000000000000000000";

#[test]
fn generated_tokens_parse_and_differ() {
    let mut rng = StdRng::seed_from_u64(7);
    let tokens: Vec<_> = (0..50).map(|_| TokenSecret::generate(&mut rng)).collect();
    for token in &tokens {
        assert_eq!(token.expose().len(), TOKEN_CHARS);
        assert_eq!(TokenSecret::parse(token.expose()).unwrap().hash(), token.hash());
    }
    let hashes: std::collections::BTreeSet<_> = tokens.iter().map(TokenSecret::hash).collect();
    assert_eq!(hashes.len(), tokens.len());
    let seen: std::collections::BTreeSet<_> = tokens.iter().flat_map(|token| token.expose()[4..47].bytes()).collect();
    assert_eq!(seen.len(), 62, "2,150 draws meet every character");
}

#[test]
fn the_form_is_pinned() {
    let token = format!("{KNOWN}CHECKS");
    assert_eq!(TokenSecret::parse(&token).unwrap_err(), TokenError::Check);
    let token = format!("{KNOWN}{}", check_digits(KNOWN).map(char::from).iter().collect::<String>());
    assert_eq!(&token[47..], "13ldJ2");
    let hash = TokenSecret::parse(&token).unwrap().hash();
    assert_eq!(hash.to_string(), hex::encode(Sha256::digest(token.as_bytes())));
    assert_eq!(hash.to_string().parse::<TokenHash>().unwrap(), hash);
}

#[test]
fn accepted_raw_and_as_bearer() {
    let token = TokenSecret::generate(&mut StdRng::seed_from_u64(1));
    let raw = token.expose();
    for text in [format!("Bearer {raw}"), format!("bearer\t {raw}"), format!(" {raw}\n"), format!("BEARER {raw} ")] {
        assert_eq!(TokenSecret::parse(&text).unwrap().hash(), token.hash(), "{text}");
    }
    assert_eq!(TokenSecret::parse(&format!("Basic {raw}")).unwrap_err(), TokenError::Prefix);
}

#[test]
fn each_refusal_has_its_own_text_and_hides_the_token() {
    let token = TokenSecret::generate(&mut StdRng::seed_from_u64(2));
    let raw = token.expose();
    let cases = [
        (raw.replace("scg_", "scx_"), TokenError::Prefix),
        (String::new(), TokenError::Prefix),
        (raw[..52].to_owned(), TokenError::Length { chars: 52 }),
        (format!("{raw}0"), TokenError::Length { chars: 54 }),
        (format!("{}-{}", &raw[..20], &raw[21..]), TokenError::Char),
        (format!("{}é{}", &raw[..20], &raw[22..]), TokenError::Char),
    ];
    for (text, expected) in cases {
        let error = TokenSecret::parse(&text).unwrap_err();
        assert_eq!(error, expected, "{text}");
        assert!(!error.to_string().contains(&raw[4..12]));
    }
    assert_eq!(format!("{token:?}"), "TokenSecret(***)");
    assert_eq!("abc".parse::<TokenHash>().unwrap_err().to_string().matches("64").count(), 1);
    assert!(token.hash().to_string().to_uppercase().parse::<TokenHash>().is_err());
}

proptest! {
    /// A single wrong character is always found, and no text makes the parser panic.
    #[test]
    fn one_wrong_character_is_found(seed in any::<u64>(), at in 4_usize..TOKEN_CHARS, with in "[0-9A-Za-z]") {
        let token = TokenSecret::generate(&mut StdRng::seed_from_u64(seed));
        let raw = token.expose();
        let damaged = format!("{}{with}{}", &raw[..at], &raw[at + 1..]);
        prop_assume!(damaged != raw);
        prop_assert_eq!(TokenSecret::parse(&damaged).unwrap_err(), TokenError::Check);
    }

    #[test]
    fn any_text(text in any::<String>()) {
        prop_assert!(TokenSecret::parse(&text).is_err());
        let prefixed = format!("{TOKEN_PREFIX}{text}");
        prop_assert!(TokenSecret::parse(&prefixed).is_err());
    }
}
