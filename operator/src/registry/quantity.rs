//! Kubernetes quantities, only as far as telling that two spellings mean the same: the API server rewrites `0.5` to `500m`.

/// The value in billionths, if `text` is a quantity that fits. Source: `k8s.io/apimachinery/pkg/api/resource`.
pub fn nano(text: &str) -> Option<i128> {
    let number_end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(number_end);
    let (numerator, exponent): (i128, i32) = match suffix {
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "" => (1, 0),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        scientific => (1, scientific.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    let (negative, digits) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let power = 9 + exponent - i32::try_from(fraction.len()).ok()?;
    let scaled = mantissa.checked_mul(numerator)?;
    let ten = |power: i32| 10_i128.checked_pow(power.unsigned_abs());
    let value = if power >= 0 { scaled.checked_mul(ten(power)?)? } else { scaled.checked_div(ten(power)?)? };
    Some(if negative { -value } else { value })
}

/// Whether two texts are quantities of the same value.
pub fn same(a: &str, b: &str) -> bool {
    a == b || nano(a).is_some_and(|a| nano(b) == Some(a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_value_are_the_same() {
        for (a, b) in
            [("0.5", "500m"), ("1", "1000m"), ("1.5Gi", "1536Mi"), ("1024", "1Ki"), ("1e3", "1k"), ("5E", "5000P")]
        {
            assert!(same(a, b), "{a} {b}: {:?} {:?}", nano(a), nano(b));
        }
    }

    #[test]
    fn other_values_and_words_are_not() {
        for (a, b) in [("1", "1m"), ("1G", "1Gi"), ("-1", "1"), ("abc", "abcd"), ("", "0"), ("1x", "1"), ("..", "0")] {
            assert!(!same(a, b), "{a} {b}: {:?} {:?}", nano(a), nano(b));
        }
    }
}
